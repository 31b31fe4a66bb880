"""JSON into what a function is annotated with, and back: strict, nothing coerced.

msgspec goes first: bytes to attrs classes, dataclasses, TypedDicts and msgspec
structs in one step. cattrs takes what msgspec cannot say (unions of classes,
custom hooks), pydantic validates its own models. Unknown fields are ignored: a
job declares only the fields that it uses.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints

import attrs
import msgspec

from trigflow.core.errors import PayloadError, SetupError

if TYPE_CHECKING:
    import cattrs

_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_decode_any = msgspec.json.Decoder[Any]().decode


class Structure(Protocol):
    """Turns a payload into one annotation; PayloadError where it does not fit."""

    def __call__(self, text: bytes, decoded: object = ...) -> Any:
        """Take the JSON text and, where somebody has it already, the decoded value."""
        ...


_UNSET = object()


@cache
def structure_into(annotation: Any) -> Structure:
    """Return what structures JSON into `annotation`.

    Raises SetupError where neither msgspec, cattrs nor pydantic can.
    """
    if annotation in (Any, object, inspect.Parameter.empty, dict, list):
        annotation = {dict: dict[str, Any], list: list[Any]}.get(annotation, Any)
    if hasattr(annotation, "model_validate_json"):
        return _through_pydantic(annotation)
    try:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation)
    except (TypeError, NameError):
        return _through_cattrs(annotation)
    return _through_msgspec(decoder, annotation)


def _through_msgspec(decoder: msgspec.json.Decoder[Any], annotation: Any) -> Structure:
    def structure(text: bytes, decoded: object = _UNSET) -> Any:
        try:
            if decoded is not _UNSET:
                return decoded if annotation is Any else msgspec.convert(decoded, annotation)
            return decoder.decode(text)
        except msgspec.DecodeError as error:
            raise _payload_error(error) from error

    return structure


def _payload_error(error: msgspec.DecodeError) -> PayloadError:
    found = _PATH.match(str(error))
    path, problem = (found["path"], found["problem"]) if found else (None, str(error))
    return PayloadError((path or "$").removeprefix("$.") or "$", problem)


def _through_pydantic(annotation: Any) -> Structure:
    def structure(text: bytes, decoded: object = _UNSET) -> Any:
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

    def structure(text: bytes, decoded: object = _UNSET) -> Any:
        value = decode_json_text(text) if decoded is _UNSET else decoded
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
    return converter


def _strict(value: Any, kind: type) -> Any:
    """Accept a JSON scalar as it is; a whole number is a float, a bool is no int."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def decode_json_text(text: bytes) -> Any:
    """Decode JSON that we wrote or already checked."""
    return _decode_any(text)


def encode_json(value: object) -> bytes:
    """Encode what a task or a job returned.

    Raises PayloadError for what JSON cannot say.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_unstructure)
    except (TypeError, ValueError, RecursionError, msgspec.EncodeError) as error:
        raise PayloadError("result", f"{error}; return something that JSON can say") from error


def _unstructure(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON-able")


@cache
def return_structure(function: Callable[..., Any]) -> Structure:
    """Return what structures a kept result into a function's return annotation.

    A function without a (resolvable) return annotation gives plain JSON values.
    """
    target = getattr(function, "func", function)  # functools.partial
    target = inspect.unwrap(target)
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = getattr(type(target), "__call__", target)  # noqa: B004 - its annotations are wanted
    try:
        annotation = get_type_hints(target).get("return", Any)
        return structure_into(Any if annotation is type(None) else annotation)
    except (NameError, TypeError, SetupError):
        return structure_into(Any)


@attrs.frozen
class Kept:
    """JSON text, decoded on first use."""

    text: bytes

    def decoded(self) -> Any:
        """Decode the text."""
        return decode_json_text(self.text)
