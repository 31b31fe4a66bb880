"""Real payloads of each event, by action; read from the package only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from trigflow_github.catalogue.facts import EVENTS


@attrs.frozen
class Sample:
    """One real payload."""

    event: str
    name: str

    def read(self) -> bytes:
        """Return its JSON text."""
        from importlib.resources import files  # noqa: PLC0415 - only who reads pays for it

        return (files("trigflow_github") / "samples" / f"{self.event}.{self.name}.json").read_bytes()


@attrs.frozen
class Samples(Mapping[str, Sample]):
    """The samples of one event; calling it returns it, as an event specification wants."""

    event: str

    def __call__(self) -> Mapping[str, Sample]:
        """Return itself."""
        return self

    def __getitem__(self, name: str) -> Sample:
        if name not in EVENTS[self.event].examples:
            raise KeyError(name)
        return Sample(self.event, name)

    def __iter__(self) -> Iterator[str]:
        return iter(EVENTS[self.event].examples)

    def __len__(self) -> int:
        return len(EVENTS[self.event].examples)


def samples(event: str) -> Samples:
    """Return the samples of an event by action, "default" where it has no actions.

    Raises ValueError for an event without samples.
    """
    if event not in EVENTS or not EVENTS[event].examples:
        there = ", ".join(name for name, fact in EVENTS.items() if fact.examples)
        raise ValueError(f"there are no samples of {event!r}; there are of {there}")
    return Samples(event)
