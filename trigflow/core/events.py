"""What a handler may return: events, and the few other things a delivery can say."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs


class Whole(enum.Enum):
    """The payload of an event that is the whole body of its delivery."""

    WHOLE = "the whole body"


WHOLE: Final = Whole.WHOLE


@attrs.frozen
class Subscriber:
    """Who subscribed at run time, and what was kept with that; see `dynamic`.

    key: as given to `app.subscribe`. metadata: JSON-able, as it was when the event came.
    dynamic: the id of the dynamic trigger.
    """

    key: str
    metadata: Any = None
    dynamic: str = ""


@attrs.frozen
class Event:
    """One occurrence at a provider.

    name: as received; the name of an event specification.
    id: the provider's own id of the occurrence, the same on every redelivery.
        (subscription, id) is the dedupe key. Two real updates of one resource
        must differ in it.
    payload: what jobs get: JSON-able. Leave it out (or pass `delivery.payload`) where it
        is the whole body: it is then stored once, and decoded only as far as it is read.
    at: when it happened (aware), if the provider says.
    context: JSON-able facts beside the payload, such as a request id.
    subscriber: whom it is for, if somebody subscribed at run time; a handler leaves it out.
    """

    name: str
    id: str
    payload: object = WHOLE
    at: datetime | None = None
    context: Mapping[str, object] = attrs.field(factory=dict[str, object])
    subscriber: Subscriber | None = None


@attrs.frozen
class Fetch:
    """There is something new: read it with the cursor, after the answer."""

    scope: str = ""


@attrs.frozen
class Ignored:
    """Nothing that a job could want; `because` is a short stable name."""

    because: str


@attrs.frozen
class Signal:
    """The provider tells of the subscription itself, not of an event.

    accounts: at a shared webhook, that our app was installed or removed somewhere.
    """

    kind: Literal["expired", "reauthorize", "missed", "removed", "accounts"]
    detail: str = ""


@attrs.frozen
class Respond:
    """Answer the delivery with this instead of the plain acknowledgement."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class Metadata:
    """Kept with the subscription and given to the next call of the handler."""

    value: object


Outcome: TypeAlias = Event | Fetch | Ignored | Signal | Respond | Metadata
