"""Fields of a payload that nobody may read but the job: where they are, and texts without them.

    "customer.email"        a key of a key, written as `$path` in a filter
    "lines.card"            an array on the way: the field of each of its elements
    "metadata.*"            every value of an object, or every element of an array

What stands at such a path is hidden whole, whatever it is. Pure; hides rather too
much than too little, and takes any payload, however deep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence

import attrs
import msgspec

from trigflow.core.errors import SetupError
from trigflow.core.filter_clauses import POSITION
from trigflow.core.filter_grammar import STEP
from trigflow.core.filter_values import Mismatch, Path, dotted, is_array, is_object, shown
from trigflow.core.redact import HIDDEN

EACH = "*"
DEEPEST = 100  # levels below which everything is hidden: arrays may be nested as deep as a body is long
SHORT = 6  # characters; a shorter value is only replaced where it stands alone
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a field's name, hardly a person's data

Paths = Sequence[Path]
Hide = Callable[[object], object]


class Marked(msgspec.Struct, frozen=True):
    """The marked fields of one event specification; false where there are none."""

    paths: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths)

    def __or__(self, other: Marked) -> Marked:
        return Marked(tuple(dict.fromkeys((*self.paths, *other.paths))))

    def hidden(self, payload: object) -> object:
        """Return a payload with every marked value replaced; what is not marked is shared, not copied."""
        return _walked(payload, self.paths, lambda _: HIDDEN)

    def blanked(self, payload: object) -> object:
        """Return a payload with every marked value replaced by one of its kind that says nothing."""
        return _walked(payload, self.paths, _blank)

    def absent(self, payloads: Iterable[object]) -> Sequence[str]:
        """Return the paths that lead nowhere in any of these payloads, as they are written."""
        left = list(self.paths)
        for payload in payloads:
            left = [path for path in left if not _values(payload, (path,))]
        return [dotted(path) for path in left]

    def scrub(self, payload: object) -> Scrub:
        """Return what takes a payload's marked values out of texts."""
        return Scrub.of(_values(payload, self.paths))

    def told(self, mismatch: Mismatch) -> str:
        """Tell why a filter did not match, without a marked value.

        The clause goes, too, where the value is marked: what it does not equal says what it is.
        """
        rests = _below(self.paths, steps_of(mismatch.path) if mismatch.path else ())
        if () in rests:
            return f"{mismatch.path}: is marked sensitive, so neither its clause nor its value is shown"
        hidden = msgspec.structs.replace(mismatch, saw=_walked(mismatch.saw, rests, lambda _: HIDDEN))
        return Scrub.of(_values(mismatch.saw, rests)).text(str(hidden))


NOTHING = Marked()


def read_marks(paths: Iterable[str], *, where: str) -> Marked:
    """Read paths as they are written; SetupError that names the malformed one.

    where: what they belong to, such as "event charge.succeeded".
    """
    if isinstance(paths, str):
        raise SetupError(f'{where}, sensitive: expected paths, got one text; write ("{paths}",)')
    return Marked(tuple(dict.fromkeys(_read(path, where) for path in paths)))


def _read(path: object, where: str) -> Path:
    problem = f"{where}, sensitive: expected a path such as customer.email, got {shown(path)}"
    if not isinstance(path, str):
        raise SetupError(f"{problem}; write it as text")
    if path.startswith(("$", "/")):
        raise SetupError(f"{problem}; start with the key itself, with dots between keys")
    if "[" in path or "]" in path:
        raise SetupError(f"{problem}; a path through an array means all of its elements: no brackets")
    found = steps_of(path)
    if not found:
        raise SetupError(rf"{problem}; write dots between keys, \. for a dot in a key, * for every key")
    return found


def steps_of(path: str) -> Path:
    """Return the keys of a path as `$path` reads it; none where it can't be read."""
    found = list(STEP.finditer(path))
    if sum(len(step[0]) for step in found) < len(path):
        return ()
    return tuple(re.sub(r"\\(.)", r"\1", step[1]) for step in found)


def _walked(value: object, rests: Paths, hide: Hide, level: int = 0) -> object:
    """Return a value with whatever the rests of paths lead to passed through `hide`."""
    if not rests:
        return value
    if () in rests or (level > DEEPEST and (is_object(value) or is_array(value))):
        return hide(value)
    if is_object(value):
        return {
            key: _walked(item, [rest[1:] for rest in rests if rest[0] in (key, EACH)], hide, level + 1)
            for key, item in value.items()
        }
    if is_array(value):
        return [
            _walked(item, _of_element(rests, str(position)), hide, level + 1)
            for position, item in enumerate(value)
        ]
    return value


def _of_element(rests: Paths, position: str) -> Paths:
    """Say what is marked in an element: `*` and its own number lead to it, all else goes through it."""
    into = [rest[1:] for rest in rests if rest[0] in (EACH, position)]
    return [rest for rest in rests if rest[0] != EACH] + into


def _below(paths: Paths, steps: Path) -> Paths:
    """Return what is left of paths below a place; () where the place is marked or inside of it.

    Whether a number was a key or a position is not known here: it is taken for both.
    """
    rests = list(paths)
    for step in steps:
        into = [rest[1:] for rest in rests if rest and rest[0] in (EACH, step)]
        through = [rest for rest in rests if not rest or (POSITION.fullmatch(step) and rest[0] != EACH)]
        rests = into + through
    return rests


def _blank(value: object, level: int = 0) -> object:
    if level > DEEPEST:
        return None
    if is_object(value):
        return {key: _blank(item, level + 1) for key, item in value.items() if _KEY.fullmatch(key)}
    if is_array(value):
        return [_blank(item, level + 1) for item in value]
    if isinstance(value, str):
        return HIDDEN
    return type(value)() if isinstance(value, int | float) else value


def _values(payload: object, rests: Paths) -> list[object]:
    found: list[object] = []
    _walked(payload, rests, found.append)
    return found


@attrs.frozen
class Scrub:
    """Takes values out of texts; best where they stand in them as they are, in quotes or as JSON."""

    pattern: re.Pattern[str] | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, values: Iterable[object]) -> Scrub:
        """Take the values that must go: JSON, with all that is inside."""
        forms = {form for text in _texts(values) for form in _forms(text)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        return cls(re.compile("|".join(map(_alone, longest_first))) if forms else None)

    def text(self, text: str) -> str:
        """Return a text without the values."""
        return text if self.pattern is None else self.pattern.sub(HIDDEN, text)


def _alone(form: str) -> str:
    return re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"


def _texts(values: Iterable[object]) -> Iterable[str]:
    """Return every text and number of values; of keys, those that are no plain names."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if is_object(value):
            waiting.extend(value.values())
            yield from (key for key in value if key and not _KEY.fullmatch(key))
        elif is_array(value):
            waiting.extend(value)
        elif isinstance(value, str):
            if value.strip():
                yield value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield shown(value)


def _forms(text: str) -> set[str]:
    """Return a text as messages may quote it: as it is or in JSON, and either of them in a repr or JSON."""
    plain = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return plain | {form for one in plain for form in _quoted(one)}


def _quoted(text: str) -> Iterable[str]:
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    # Whether a repr escapes ' depends on what else it holds, so both are made; a \0 stands in for it.
    raw = text.replace("'", "\0")
    for form in (repr(raw)[1:-1], repr(raw.encode("utf-8", "surrogatepass"))[2:-1]):
        yield form.replace("\\x00", "'")
        yield form.replace("\\x00", "\\'")
