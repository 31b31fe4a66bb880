"""The operators of filters that need no other clause: equality, order, text, presence.

Each function takes the place and the argument as written and returns the clause,
or raises SetupError that says what the argument should be.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

from trigflow.core.filter_clauses import Clause, leaf
from trigflow.core.filter_values import (
    LONGEST_CLAUSE,
    MISSING,
    Place,
    is_array,
    is_number,
    shown,
)

LONGEST_PATTERN = 500  # characters of $regex and $glob
LONGEST_SUBJECT = 10_000  # characters: a pattern of quadratic cost takes about a second on as many

Build = Callable[[Place, object], Clause]


def is_literal(value: object) -> bool:
    """Tell whether this can be compared by equality: text, a finite number, a bool or null."""
    return value is None or isinstance(value, (str, bool)) or _is_finite(value)


def _is_finite(value: object) -> bool:
    # A comparison, not math.isfinite(): that one can't take integers beyond a float.
    return is_number(value) and (isinstance(value, int) or abs(value) < float("inf"))


def one_of(place: Place, values: Sequence[object]) -> Clause:
    """Make the clause that a value equals one of `values`, which are literals of one type."""
    for index, value in enumerate(values):
        if not is_literal(value):
            raise place.under(index).error(
                "text, a number, true, false or null", shown(value), "compare objects field by field"
            )
    kinds = {_kind(value) for value in values if value is not None}
    if not values or len(kinds) > 1:
        raise place.error(
            "values of one type, at least one",
            shown(values),
            'write {"$or": [...]} for values of different types',
        )
    known = frozenset(values)
    test = _TESTS[kinds.pop()] if kinds else _is_null
    return leaf(f"one of {shown(values, limit=LONGEST_CLAUSE)}", test(known), values=known)


def _kind(value: object) -> type:
    if isinstance(value, str):
        return str
    return bool if isinstance(value, bool) else float


def _is_text_in(known: frozenset[object]) -> Callable[[object], bool]:
    if None in known:
        return lambda value: value is None or (isinstance(value, str) and value in known)
    return lambda value: isinstance(value, str) and value in known


def _is_number_in(known: frozenset[object]) -> Callable[[object], bool]:
    null = None in known
    return lambda value: value in known if is_number(value) else null and value is None


def _is_bool_in(known: frozenset[object]) -> Callable[[object], bool]:
    null = None in known
    return lambda value: value in known if isinstance(value, bool) else null and value is None


def _is_null(_: frozenset[object]) -> Callable[[object], bool]:
    return lambda value: value is None


_TESTS: Mapping[type, Callable[[frozenset[object]], Callable[[object], bool]]] = {
    str: _is_text_in,
    bool: _is_bool_in,
    float: _is_number_in,
}


def _in(place: Place, values: object) -> Clause:
    if not is_array(values):
        raise place.error("a list of values", shown(values), f"write [{shown(values)}]")
    return one_of(place, values)


def _not_in(place: Place, values: object) -> Clause:
    return _other_than(_in(place, values), values)


def _anything_but(place: Place, values: object) -> Clause:
    return _other_than(one_of(place, values if is_array(values) else [values]), values)


def _other_than(wanted: Clause, written: object) -> Clause:
    among = wanted.holds
    kind = "none of" if is_array(written) else "anything but"
    return leaf(f"{kind} {shown(written, limit=LONGEST_CLAUSE)}", lambda value: not among(value))


def _includes(place: Place, wanted: object) -> Clause:
    if is_array(wanted):
        raise place.error("one value", shown(wanted), 'write {"$any": [...]} for one of several')
    same = one_of(place, [wanted]).holds

    def holds(value: object) -> bool:
        if is_array(value):
            for element in value:
                if same(element):
                    return True
        return False

    return leaf(f"an array that includes {shown(wanted)}", holds)


def _exists(place: Place, wanted: object) -> Clause:
    _need_bool(place, wanted)
    if wanted:
        return leaf("a value, or null", lambda value: value is not MISSING)
    return leaf("nothing", lambda value: value is MISSING)


def _null(place: Place, wanted: object) -> Clause:
    _need_bool(place, wanted)
    if wanted:
        return leaf("null", lambda value: value is None)
    return leaf("anything but null", lambda value: value is not None)


def _need_bool(place: Place, wanted: object) -> None:
    if not isinstance(wanted, bool):
        raise place.error("true or false", shown(wanted), "say which")


def _number(place: Place, wanted: object) -> int | float:
    if is_number(wanted) and _is_finite(wanted):
        return wanted
    raise place.error("a number", shown(wanted), "only numbers are compared by order")


def _greater(place: Place, wanted: object) -> Clause:
    low = _number(place, wanted)
    return leaf(f"a number > {shown(low)}", lambda value: is_number(value) and value > low)


def _at_least(place: Place, wanted: object) -> Clause:
    low = _number(place, wanted)
    return leaf(f"a number >= {shown(low)}", lambda value: is_number(value) and value >= low)


def _less(place: Place, wanted: object) -> Clause:
    high = _number(place, wanted)
    return leaf(f"a number < {shown(high)}", lambda value: is_number(value) and value < high)


def _at_most(place: Place, wanted: object) -> Clause:
    high = _number(place, wanted)
    return leaf(f"a number <= {shown(high)}", lambda value: is_number(value) and value <= high)


def _between(place: Place, wanted: object) -> Clause:
    if not is_array(wanted) or len(wanted) != 2:
        raise place.error("the lowest and the highest number", shown(wanted), "write [lowest, highest]")
    low, high = _number(place.under(0), wanted[0]), _number(place.under(1), wanted[1])
    if low > high:
        raise place.error("the lowest number first", shown(wanted), "swap the two")
    return leaf(
        f"a number from {shown(low)} to {shown(high)}",
        lambda value: is_number(value) and low <= value <= high,
    )


def _some_text(place: Place, wanted: object) -> str:
    if isinstance(wanted, str) and wanted:
        return wanted
    raise place.error("some text", shown(wanted), "give at least one character")


def _starts_with(place: Place, wanted: object) -> Clause:
    text = _some_text(place, wanted)
    said = f"text that starts with {shown(text)}"
    return leaf(said, lambda value: isinstance(value, str) and value.startswith(text))


def _ends_with(place: Place, wanted: object) -> Clause:
    text = _some_text(place, wanted)
    said = f"text that ends with {shown(text)}"
    return leaf(said, lambda value: isinstance(value, str) and value.endswith(text))


def _contains(place: Place, wanted: object) -> Clause:
    text = _some_text(place, wanted)
    said = f"text that contains {shown(text)}"
    return leaf(said, lambda value: isinstance(value, str) and text in value)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def _ignore_case_equals(place: Place, wanted: object) -> Clause:
    if not isinstance(wanted, str):
        raise place.error("text", shown(wanted), "case belongs to text only")
    folded = _folded(wanted)

    def holds(value: object) -> bool:
        # Folding never shortens: what is longer can't be equal. And it is not linear
        # in the number of combining marks, which the sender may choose.
        return isinstance(value, str) and len(value) <= len(folded) and _folded(value) == folded

    return leaf(f"{shown(wanted)} in any case", holds)


def _regex(place: Place, wanted: object) -> Clause:
    pattern = _some_text(place, wanted)
    search = _compiled(place, pattern, pattern).search
    said = f"text of at most {LONGEST_SUBJECT:,} characters in which {shown(pattern)} is found"
    return leaf(said, lambda value: _fits(value) and search(value) is not None)


def _glob(place: Place, wanted: object) -> Clause:
    pattern = _some_text(place, wanted)
    match = _compiled(place, pattern, fnmatch.translate(pattern)).match
    said = f"text of at most {LONGEST_SUBJECT:,} characters like {shown(pattern)}"
    return leaf(said, lambda value: _fits(value) and match(value) is not None)


def _fits(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= LONGEST_SUBJECT


def _compiled(place: Place, written: str, pattern: str) -> re.Pattern[str]:
    if len(written) > LONGEST_PATTERN:
        raise place.error(
            f"a pattern of at most {LONGEST_PATTERN} characters", str(len(written)), 'split it with "$or"'
        )
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise place.error("a regular expression", shown(written), f"Python says: {error}") from error


OPERATORS: Mapping[str, Build] = {
    "$exists": _exists,
    "$isNull": _null,
    "$in": _in,
    "$nin": _not_in,
    "$anythingBut": _anything_but,
    "$gt": _greater,
    "$gte": _at_least,
    "$lt": _less,
    "$lte": _at_most,
    "$between": _between,
    "$startsWith": _starts_with,
    "$endsWith": _ends_with,
    "$contains": _contains,
    "$ignoreCaseEquals": _ignore_case_equals,
    "$regex": _regex,
    "$glob": _glob,
    "$includes": _includes,
}
