"""A trigger whose webhooks are not known when the app is written: people subscribe while it runs.

    repos = dynamic("user-repos", github.issues)         in the code: which event
    @trigger(repos)                                       which jobs
    await app.subscribe(repos(repo="u/r"), key="user-42") at run time: whose, and where

A job that listens to it is started once for each subscriber that an event is for.
"""

from __future__ import annotations

import re
from typing import Any, Generic, ParamSpec, Protocol, TypeGuard, TypeVar

import attrs

from trigflow.core.errors import SetupError
from trigflow.core.triggers import Specification, Trigger

A = ParamSpec("A")
PayloadT_co = TypeVar("PayloadT_co", covariant=True)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Callee(Protocol[A, PayloadT_co]):
    """An event that makes triggers, such as `github.issues`."""

    @property
    def specification(self) -> Specification:
        """What can happen."""
        ...

    @property
    def integration(self) -> Any:
        """The description that it belongs to."""
        ...

    @property
    def name(self) -> str:
        """The name as a person writes it."""
        ...

    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> Trigger[PayloadT_co]:
        """Make a trigger."""
        ...


@attrs.frozen(eq=False)
class Wish(Generic[PayloadT_co]):
    """What somebody wants to subscribe to: made by calling a dynamic trigger with the event's params."""

    dynamic: str
    trigger: Trigger[PayloadT_co]


def is_wish(found: object) -> TypeGuard[Wish[object]]:
    """Tell whether something is what is subscribed to: a dynamic trigger that was called."""
    return isinstance(found, Wish)


@attrs.frozen(eq=False)
class Dynamic(Generic[A, PayloadT_co]):
    """A trigger to which people subscribe at run time; made by `dynamic`."""

    id: str
    event: Callee[A, PayloadT_co]

    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> Wish[PayloadT_co]:
        """Say what is subscribed to, with the params of the event."""
        return Wish(self.id, self.event(*args, **kwargs))

    @property
    def trigger(self) -> Trigger[PayloadT_co]:
        """What a job listens to; it has no params, for each subscriber has some."""
        event = self.event
        return Trigger(event.specification, None, event.name, event.integration)

    def is_like(self, other: Dynamic[..., object]) -> bool:
        """Tell whether both stand for the same event; names say nothing."""
        mine, others = self.event, other.event
        return mine.specification is others.specification and bool(mine.integration == others.integration)


def dynamic(id: str, event: Callee[A, PayloadT_co], /) -> Dynamic[A, PayloadT_co]:  # noqa: A002 - the field's word
    """Make a trigger to which people subscribe at run time.

    id: kept with each subscriber; renaming it parts them from the jobs.
    event: not called, such as `github.issues`; its params are given when somebody subscribes.
    """
    if not _ID.fullmatch(id):
        raise SetupError(
            f"dynamic {id[:100]!r}: use letters, digits and . _ - (up to 100, a letter or digit first)"
        )
    # A trigger has them, too; what stands on the class of an integration has no integration yet.
    if isinstance(event, Trigger):
        raise SetupError(f"dynamic {id!r}: {event!r} has params; pass {event.name} without calling it")
    if not (hasattr(event, "specification") and hasattr(event, "integration")):
        raise SetupError(
            f"dynamic {id!r}: {event!r:.100} is not an event; pass one without calling it, as github.issues"
        )
    return Dynamic(id, event)
