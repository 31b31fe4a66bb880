"""Clauses: compiled predicates on one value, and the ways to combine them.

A clause is asked in two ways that always agree: `holds` is on the hot path and
answers yes or no, `explain` is on the cold one and answers with the false part.
Neither raises, whatever the value: a clause that does not understand it is false.
The stack that they need is bounded by the depth of the filter, not of the payload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce

import msgspec

from trigflow.core.filter_values import (
    LONGEST_CLAUSE,
    MISSING,
    Equality,
    Mismatch,
    Path,
    Reads,
    dotted,
    is_array,
    is_object,
    read_together,
    shown,
)

Holds = Callable[[object], bool]

# At most nine digits: int() refuses more than 4300, and no array is longer.
POSITION = re.compile("0|[1-9][0-9]{0,8}")


class Clause(msgspec.Struct, frozen=True, eq=False):
    """A predicate on one value, which may be MISSING.

    equalities: conditions that hold whenever the clause does; paths start at the value.
    reads: what of the value it looks at; the rest may as well not be there.
    """

    holds: Holds
    explain: Callable[[object, Path], Mismatch | None]
    equalities: tuple[Equality, ...] = ()
    reads: Reads = None


def read_by(clauses: Iterable[Clause]) -> Reads:
    """Return what several clauses on one value look at."""
    nothing: Reads = {}
    return reduce(read_together, (clause.reads for clause in clauses), nothing)


def leaf(expected: str, holds: Holds, *, values: frozenset[object] | None = None) -> Clause:
    """Make a clause that is explained in one sentence.

    values: the only values that can meet it, where they are known.
    """

    def explain(value: object, path: Path) -> Mismatch | None:
        return None if holds(value) else Mismatch(dotted(path), expected, value)

    return Clause(holds, explain, () if values is None else (Equality((), values),))


ALWAYS = Clause(lambda _: True, lambda _, __: None, reads={})


def every(clauses: Sequence[Clause]) -> Clause:
    """Make a clause that holds if all of these do."""
    if len(clauses) == 1:
        return clauses[0]
    checks = tuple(clause.holds for clause in clauses)

    def holds(value: object) -> bool:
        for check in checks:  # noqa: SIM110 - all() costs a generator for each event
            if not check(value):
                return False
        return True

    def explain(value: object, path: Path) -> Mismatch | None:
        found = (clause.explain(value, path) for clause in clauses)
        return next((mismatch for mismatch in found if mismatch is not None), None)

    equalities = tuple(equality for clause in clauses for equality in clause.equalities)
    return Clause(holds, explain, equalities, read_by(clauses))


def either(clauses: Sequence[Clause], written: object) -> Clause:
    """Make a clause that holds if one of these does."""
    checks = tuple(clause.holds for clause in clauses)

    def holds(value: object) -> bool:
        for check in checks:  # noqa: SIM110 - any() costs a generator for each event
            if check(value):
                return True
        return False

    found = leaf(f"one of the filters {shown(written, limit=LONGEST_CLAUSE)}", holds)
    return msgspec.structs.replace(found, equalities=_common(clauses), reads=read_by(clauses))


def _common(clauses: Sequence[Clause]) -> tuple[Equality, ...]:
    """Return what every branch of an `$or` asks of one path: one of all their values."""
    branches = [{equality.path: equality.values for equality in clause.equalities} for clause in clauses]
    paths = [path for path in branches[0] if all(path in branch for branch in branches)]
    return tuple(
        Equality(path, frozenset(value for branch in branches for value in branch[path])) for path in paths
    )


def negation(clause: Clause, written: object) -> Clause:
    """Make a clause that holds if this one does not."""
    check = clause.holds
    found = leaf(f"not {shown(written, limit=LONGEST_CLAUSE)}", lambda value: not check(value))
    return msgspec.structs.replace(found, reads=clause.reads)


def fields(wanted: Mapping[str, Clause], written: object) -> Clause:
    """Make a clause on the fields of an object, or of at least one object in an array."""
    checks = tuple((key, clause.holds) for key, clause in wanted.items())

    def met(value: dict[str, object]) -> bool:
        for key, check in checks:  # noqa: SIM110 - all() costs a generator for each event
            if not check(value.get(key, MISSING)):
                return False
        return True

    def holds(value: object) -> bool:
        if is_object(value):
            return met(value)
        if is_array(value):
            for element in value:
                if is_object(element) and met(element):
                    return True
        return False

    def explain(value: object, path: Path) -> Mismatch | None:
        if is_object(value):
            found = (clause.explain(value.get(key, MISSING), (*path, key)) for key, clause in wanted.items())
            return next((mismatch for mismatch in found if mismatch is not None), None)
        if holds(value):
            return None
        of_elements = f"an element that matches {shown(written, limit=LONGEST_CLAUSE)}"
        return Mismatch(dotted(path), of_elements if is_array(value) else "an object", value)

    equalities = tuple(
        Equality((key, *equality.path), equality.values)
        for key, clause in wanted.items()
        for equality in clause.equalities
    )
    return Clause(holds, explain, equalities, {key: clause.reads for key, clause in wanted.items()})


def any_element(clause: Clause, written: object) -> Clause:
    """Make a clause that holds if this one does for an element of an array."""
    check = clause.holds

    def holds(value: object) -> bool:
        if is_array(value):
            for element in value:
                if check(element):
                    return True
        return False

    return leaf(f"an array with an element that meets {shown(written, limit=LONGEST_CLAUSE)}", holds)


def all_elements(clause: Clause) -> Clause:
    """Make a clause that holds if this one does for each element of an array; `[]` has none."""
    check = clause.holds

    def holds(value: object) -> bool:
        if not is_array(value):
            return False
        for element in value:  # noqa: SIM110 - all() costs a generator for each event
            if not check(element):
                return False
        return True

    def explain(value: object, path: Path) -> Mismatch | None:
        if not is_array(value):
            return Mismatch(dotted(path), "an array", value)
        found = (clause.explain(element, (*path, str(index))) for index, element in enumerate(value))
        return next((mismatch for mismatch in found if mismatch is not None), None)

    return Clause(holds, explain)


def length(clause: Clause) -> Clause:
    """Make a clause that holds if this one does for the length of an array."""
    check = clause.holds

    def explain(value: object, path: Path) -> Mismatch | None:
        if not is_array(value):
            return Mismatch(dotted(path), "an array", value)
        return clause.explain(len(value), (*path, "$size"))

    return Clause(lambda value: is_array(value) and check(len(value)), explain)


def at_path(steps: Path, clause: Clause) -> Clause:
    """Make a clause on the value at a path: keys of objects, positions in arrays."""
    check = clause.holds
    route = tuple((step, int(step) if POSITION.fullmatch(step) else None) for step in steps)

    def holds(value: object) -> bool:
        return check(_value_at(value, route))

    def explain(value: object, path: Path) -> Mismatch | None:
        return clause.explain(_value_at(value, route), path + steps)

    # An index walks keys only; a number may be a position.
    known = clause.equalities if all(position is None for _, position in route) else ()
    equalities = tuple(Equality(steps + one.path, one.values) for one in known)
    return Clause(holds, explain, equalities, _read_at(route, clause.reads))


def _read_at(route: Sequence[tuple[str, int | None]], reads: Reads) -> Reads:
    if not route:
        return reads
    (key, position), *further = route
    # A number may be a position in an array, which is read whole.
    return None if position is not None else {key: _read_at(further, reads)}


def _value_at(value: object, route: Sequence[tuple[str, int | None]]) -> object:
    for key, position in route:
        if is_object(value):
            value = value.get(key, MISSING)
        elif position is not None and is_array(value) and position < len(value):
            value = value[position]
        else:
            return MISSING
    return value
