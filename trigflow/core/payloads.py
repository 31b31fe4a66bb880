"""JSON into what a function is annotated with, and back: strict, nothing coerced.

msgspec goes first: bytes to attrs classes, dataclasses, TypedDicts and msgspec
structs in one step. cattrs takes what msgspec cannot say (unions of classes,
custom hooks), pydantic validates its own models. Unknown fields are ignored: a
job declares only the fields that it uses.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol, cast, get_type_hints
from weakref import WeakKeyDictionary

import msgspec
import msgspec.inspect

from trigflow.core.errors import PayloadError, SetupError

if TYPE_CHECKING:
    import cattrs

_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_decode_any = msgspec.json.Decoder[Any]().decode


class Structure(Protocol):
    """Turns a payload into one annotation; PayloadError where it does not fit."""

    def __call__(self, text: bytes) -> Any:
        """Take the JSON text."""
        ...


# What says nothing, or not enough for msgspec to decode into.
_PLAIN: dict[Any, Any] = {
    object: Any,
    inspect.Parameter.empty: Any,
    dict: dict[str, Any],
    list: list[Any],
}


@cache
def structure_into(annotation: Any) -> Structure:
    """Return what structures JSON into `annotation`.

    Raises SetupError where neither msgspec, cattrs nor pydantic can.
    """
    annotation = _PLAIN.get(annotation, annotation)
    if _is_pydantic(annotation):
        return _through_pydantic(annotation)
    try:
        foreign = _has_foreign(msgspec.inspect.type_info(annotation))
    except (TypeError, NameError):
        foreign = True
    return _through_cattrs(annotation) if foreign else _through_msgspec(annotation)


def _has_foreign(info: object) -> bool:
    """Tell whether a type holds classes that msgspec takes note of but can't fill."""
    waiting: list[object] = [info]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, msgspec.inspect.CustomType) and found.cls is not object:  # object takes all
            return True
        if id(found) not in seen:  # types may hold themselves
            seen.add(id(found))
            waiting.extend(_parts(found))
    return False


def _parts(info: object) -> Iterable[object]:
    """Return the types that a type is made of."""
    if isinstance(info, tuple):
        return cast("tuple[object, ...]", info)
    if not isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field):
        return ()
    return [getattr(info, name) for name in info.__struct_fields__ if name not in ("cls", "default")]


def _through_msgspec(annotation: Any) -> Structure:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation)

    def structure(text: bytes) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError as error:
            raise _payload_error(error) from error

    return structure


def _payload_error(error: msgspec.DecodeError) -> PayloadError:
    found = _PATH.match(str(error))
    path, problem = (found["path"], found["problem"]) if found else (None, str(error))
    return PayloadError((path or "$").removeprefix("$.") or "$", problem)


def _through_pydantic(annotation: Any) -> Structure:
    def structure(text: bytes) -> Any:
        try:
            return annotation.model_validate_json(text, strict=True)
        except ValueError as error:
            raise _pydantic_error(error) from error

    return structure


def _pydantic_error(error: ValueError) -> PayloadError:
    details: list[dict[str, Any]] = getattr(error, "errors", list)()
    first = details[0] if details else {"loc": (), "msg": "invalid"}
    return PayloadError(".".join(map(str, first["loc"])) or "$", str(first["msg"]))


def _through_cattrs(annotation: Any) -> Structure:
    import cattrs  # noqa: PLC0415 - 50 ms to import, and seldom needed

    converter = _converter()
    try:
        converter.get_structure_hook(annotation)
    except (cattrs.StructureHandlerNotFoundError, TypeError, NameError) as error:
        raise SetupError(
            f"{annotation!r} can't be structured from JSON: {error}; use an attrs class, a dataclass, "
            "a TypedDict, a msgspec struct, a pydantic model or dict"
        ) from error

    def structure(text: bytes) -> Any:
        value = decode_json_text(text)
        try:
            return converter.structure(value, annotation)
        except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise _cattrs_error(error) from error

    return structure


def _cattrs_error(error: Exception) -> PayloadError:
    from cattrs import transform_error  # noqa: PLC0415 - see above

    first = (transform_error(error, path="$") or [str(error)])[0]
    problem, _, path = first.partition(" @ ")
    return PayloadError(path.removeprefix("$.") or "$", problem)


@cache
def _converter() -> cattrs.Converter:
    from cattrs.preconf.msgspec import make_converter  # noqa: PLC0415 - see above

    converter = make_converter()
    for kind in (str, int, bool, float):
        converter.register_structure_hook(kind, _strict)
    converter.register_structure_hook_func(_is_pydantic, _into_pydantic)
    return converter


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json")


def _into_pydantic(value: Any, kind: Any) -> Any:
    return kind.model_validate_json(msgspec.json.encode(value), strict=True)


def _strict(value: Any, kind: type) -> Any:
    """Accept a JSON scalar as it is; a whole number is a float, a bool is no int."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def decode_json_text(text: bytes) -> Any:
    """Decode JSON that we wrote or checked; PayloadError for what no type can hold, such as 1e999."""
    try:
        return _decode_any(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise PayloadError("$", str(error)) from error


def encode_json(value: object) -> bytes:
    """Encode what a task or a job returned.

    Raises PayloadError for what JSON cannot say.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_unstructure)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError) as error:
        raise PayloadError("result", f"{error}; return something that JSON can say") from error


def _unstructure(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON-able")


def return_structure(function: Callable[..., Any]) -> Structure:
    """Return what structures a kept result into a function's return annotation, or into a class.

    A function without a (resolvable) return annotation gives plain JSON values.
    """
    # A bound method is a new object each time that it is asked for.
    known = getattr(function, "__func__", function)
    found = _structures.get(known)
    if found is None:
        found = _structure_of_result(_annotated(known))
        with contextlib.suppress(TypeError):  # partial objects and some callables can't be weakly kept
            _structures[known] = found
    return found


# Weak: a lambda or a closure is a new function each time, and would be kept with all that it holds.
_structures: WeakKeyDictionary[Callable[..., Any], Structure] = WeakKeyDictionary()


def _annotated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function or class whose annotations say what a call gives."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - its annotations are wanted


def _structure_of_result(target: Callable[..., Any]) -> Structure:
    try:
        annotation: Any = target if inspect.isclass(target) else get_type_hints(target).get("return", Any)
        return structure_into(Any if annotation is type(None) else annotation)
    except (NameError, TypeError, SetupError):
        return structure_into(Any)


class Kept(msgspec.Struct, frozen=True):
    """JSON text, decoded on first use."""

    text: bytes

    def decoded(self) -> Any:
        """Decode the text."""
        return decode_json_text(self.text)
