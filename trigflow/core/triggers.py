"""Event specifications, and triggers: what a job listens to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Generic, Protocol, TypeVar

import attrs

from trigflow.core.errors import PayloadError, SetupError
from trigflow.core.filters import Filter
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.payloads import decode_json_text, encode_json, structure_into

PayloadT_co = TypeVar("PayloadT_co", covariant=True)
ParamsT_co = TypeVar("ParamsT_co", covariant=True)


class Source(Protocol):
    """Where events come from, as far as a trigger needs to know."""

    @property
    def id(self) -> str:
        """The name of the source, the same in every release."""
        ...

    def key_of(self, params: Any) -> str:
        """Name the webhook that these params need; SetupError where they name none."""
        ...


class Example(Protocol):
    """One real payload."""

    def read(self) -> bytes:
        """Return its JSON text."""
        ...


@attrs.frozen(eq=False)
class Specification:
    """What can happen at a provider, once for all jobs.

    name: as received.
    registers: the names told to the provider; mostly the same one.
    payload: the type that describes it whole; jobs may ask for less. Given as a function, it is
        asked for when it is needed: an integration has hundreds of types, a program needs a few.
    examples: real payloads by name; the first is the typical one.
    properties: facts of a payload worth a column, by label.
    marked: fields that nobody may read but the job.
    """

    name: str
    source: Source
    _payload: Any
    registers: tuple[str, ...]
    title: str = ""
    description: str = ""
    icon: str = ""
    filter: Filter | None = None
    examples: Callable[[], Mapping[str, Example]] = dict[str, Example]
    properties: Callable[[Any], Mapping[str, str]] | None = None
    marked: Marked = NOTHING

    @property
    def payload(self) -> Any:
        """The type of the whole payload."""
        return self._payload() if isinstance(self._payload, FunctionType) else self._payload

    def check(self) -> None:
        """Raise SetupError where a marked field is in none of the examples: it would hide nothing."""
        payloads = [decode_json_text(example.read()) for example in self.examples().values()]
        absent = self.marked.absent(payloads) if payloads and self.marked else ()
        if absent:
            raise SetupError(
                f"event {self.name}, sensitive: none of its examples has {', '.join(absent)}; "
                "correct the path, or add an example that has the field"
            )

    def properties_of(self, text: bytes) -> Mapping[str, str]:
        """Return the facts of a payload (JSON text) by label; none where it does not fit its type.

        `properties` never sees a marked value: texts are "[redacted]", numbers 0.
        """
        if self.properties is None:
            return {}
        if self.marked:
            text = encode_json(self.marked.blanked(decode_json_text(text)))
        try:
            return self.properties(structure_into(self.payload)(text))
        except PayloadError:
            return {}


@attrs.frozen
class When(Generic[ParamsT_co]):
    """Params, and a filter on the payload that follows from the same arguments.

    An event specification returns it where an argument narrows the event, such
    as `actions=["opened"]`, instead of choosing the webhook.
    """

    params: ParamsT_co
    filter: Filter


@attrs.frozen(eq=False)
class Trigger(Generic[PayloadT_co]):
    """An event specification with params and filter: what a job listens to.

    name: as written, such as `github.issues`.
    integration: the frozen description that it came from.
    """

    specification: Specification
    params: Any
    name: str
    integration: Any = None
    filter: Filter | None = None

    def __repr__(self) -> str:
        return f"{self.name}(...)"  # it stands in errors; the whole would fill a screen

    @property
    def source(self) -> Source:
        """Where its events come from."""
        return self.specification.source

    def only(self, filter: Filter) -> Trigger[PayloadT_co]:  # noqa: A002 - the field's word
        """Return a trigger that is narrowed further: both filters must hold."""
        return attrs.evolve(self, filter={"$and": [self.filter, filter]} if self.filter else filter)
