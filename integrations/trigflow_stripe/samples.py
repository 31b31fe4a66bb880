"""Resources as events carry them; read from the package only when asked for.

"fixture"    what Stripe's OpenAPI description shows: made up, but as of today
"captured"   out of an event that was really sent, by an older API version
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import msgspec


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Envelope(msgspec.Struct):
    data: _Data


@attrs.frozen
class Fixture:
    """A resource by the name of its `object` field."""

    object: str

    def read(self) -> bytes:
        """Return its JSON text."""
        return _text("samples", f"{self.object}.json")


@attrs.frozen
class Captured:
    """An event that was sent, by its type."""

    type: str

    def read(self) -> bytes:
        """Return the JSON text of its `data.object`: what a job gets."""
        return bytes(msgspec.json.decode(self.envelope(), type=_Envelope).data.object)

    def envelope(self) -> bytes:
        """Return the JSON text of the whole event."""
        return _text("samples", "captured", f"{self.type}.json")


def samples(
    object: str,  # noqa: A002 - the field's word
    captured: str | None = None,
) -> Callable[[], Mapping[str, Fixture | Captured]]:
    """Return what gives the examples of an event: its resource, and a captured one if there is one."""

    def examples() -> Mapping[str, Fixture | Captured]:
        found: dict[str, Fixture | Captured] = {"fixture": Fixture(object)}
        return found if captured is None else found | {"captured": Captured(captured)}

    return examples


def _text(*path: str) -> bytes:
    from importlib.resources import files  # noqa: PLC0415 - only who reads pays for it

    return files("trigflow_stripe").joinpath(*path).read_bytes()
