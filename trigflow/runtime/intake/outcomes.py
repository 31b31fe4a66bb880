"""What a handler said of a verified delivery: called, checked, encoded; nothing is kept here."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

import msgspec

from trigflow.core.errors import DecodeError
from trigflow.core.events import WHOLE, Event, Fetch, Ignored, Metadata, Outcome, Respond, Signal
from trigflow.core.http import TRIED, Request, Response
from trigflow.core.payloads import encode_json
from trigflow.core.redact import hidden_values
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt
from trigflow.runtime.intake.routes import Route
from trigflow.runtime.sealing.discreet import knowing, log_failure, place_of, problem_of
from trigflow.sources.decode import Decoded
from trigflow.sources.external import delivery_of

logger: logging.Logger = logging.getLogger("trigflow.deliveries")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # and 5.5, in Latin-1
_STARTING = (Event, Fetch, Signal)


class Said(msgspec.Struct, frozen=True):
    """An event that the handler returned, as it is kept; text is None where it is the delivery's own body.

    is_whole: its payload is the delivery's.
    """

    event: Event
    is_whole: bool
    text: bytes | None
    context: bytes | None


class Read(msgspec.Struct, frozen=True):
    """What the handler said for one subscription."""

    subscription: r.Subscription
    outcomes: Sequence[Outcome] = ()
    events: Sequence[Said] = ()
    metadata: bytes | None = None
    problem: str = ""  # what the handler raised, as it may be told


def call_handler(
    route: Route,
    request: Request,
    decoded: Decoded,
    subscription: r.Subscription,
    delivery_id: str,
    now: float,
    *,
    is_private: bool,
) -> Read:
    """Call a source's handler for one subscription, and check and encode what it returns.

    is_private: some events of the source have marked fields, so that nothing that it
        raises may be told.
    Raises DecodeError where the handler looked into a body that can't be read.
    """
    source = route.source

    def call() -> Read:
        assert source.handle is not None  # noqa: S101 - checked when the app was built
        delivery = delivery_of(
            source, request, decoded, id=delivery_id, received_at=now,
            params=subscription.params, data=subscription.data, metadata=subscription.metadata,
        )  # fmt: skip
        return _read(subscription, list(source.handle(delivery)), decoded, request.body)

    called = attempt(call)
    if isinstance(called, Raised):
        if isinstance(called.error, DecodeError):
            raise called.error
        return Read(subscription, problem=_told(route, request, called.error, is_private=is_private))
    return called.value


def _told(route: Route, request: Request, error: Exception, *, is_private: bool) -> str:
    """Log what a handler raised, and return it as it may be told."""
    if is_private:
        logger.error("the handler of %s raised %s", route.source.id, place_of(error))
        return place_of(error)
    keys = [key.secret.decode(errors="replace") for key in route.keys]
    scrub = knowing([*hidden_values(request.headers.raw), *keys])
    log_failure(logger, "the handler of %s raised", route.source.id, error=error, scrub=scrub)
    return problem_of(error, scrub)


def _read(subscription: r.Subscription, outcomes: Sequence[Outcome], decoded: Decoded, body: bytes) -> Read:
    """Check and encode what a handler returned; raises for what can't be kept."""
    events: list[Said] = []
    metadata: bytes | None = None
    for outcome in outcomes:
        if isinstance(outcome, Event):
            events.append(_said(outcome, decoded, body))
        elif isinstance(outcome, Metadata) and metadata is None:
            metadata = encode_json(outcome.value)
        elif isinstance(outcome, Respond):
            _check_answer(outcome)
    return Read(subscription, outcomes, events, metadata)


def _said(event: Event, decoded: Decoded, body: bytes) -> Said:
    if not isinstance(event.id, str) or not event.id:  # pyright: ignore[reportUnnecessaryIsInstance] - foreign code
        raise TypeError(f"event {event.name!r} has the id {event.id!r}; give the provider's own id as text")
    if event.at is not None and event.at.tzinfo is None:
        raise TypeError(f"event {event.name!r} has a time without a zone; give an aware datetime")
    context = encode_json(event.context) if event.context else None
    if event.payload is WHOLE or decoded.is_payload(event.payload):
        return Said(event, True, None if decoded.text is body else decoded.text, context)
    return Said(event, False, encode_json(event.payload), context)


def _check_answer(answer: Respond) -> None:
    """Raise TypeError for what no server can send: it would be found after the commit only."""
    if not 200 <= answer.status <= 599:
        raise TypeError(f"Respond has the status {answer.status}; give one from 200 to 599")
    for name, value in answer.headers.items():
        if not _FIELD.fullmatch(name) or not _VALUE.fullmatch(value):
            raise TypeError(f"Respond has the header field {name!r} whose name or value can't be sent")


def outcome_of(reads: Sequence[Read]) -> tuple[r.DeliveryOutcome, str]:
    """Say what became of a delivery, and why."""
    because = ""
    for read in reads:
        if read.problem:
            return "failed", f"handler: {read.problem}"
    for read in reads:
        for outcome in read.outcomes:
            if isinstance(outcome, _STARTING):
                return "accepted", ""
            if isinstance(outcome, Ignored):
                because = because or outcome.because
    return "ignored", because or "no-event"


# What a provider's signal makes of a subscription, and what it asks for; the reconciler does it.
_SIGNALLED: Mapping[str, tuple[r.SubscriptionState | None, str, str]] = {
    "expired": ("expired", "the provider let it expire", ""),
    "removed": ("failing", "the provider removed it", ""),
    "reauthorize": (None, "the provider asks for it to be renewed", "renew"),
    "missed": (None, "the provider says that events were missed", "recover"),
    "accounts": (None, "", ""),  # nothing of the subscription: its accounts are listed anew
}


def updates_of(reads: Sequence[Read], request: Request) -> tuple[r.Update, ...]:
    """Say what a delivery tells of the subscriptions themselves.

    One that trigflow sends itself is no sign that a provider's webhook works.
    """
    is_real = request.headers.get(TRIED) is None
    updates = (_update_of(read, is_real=is_real) for read in reads if not _tells_of_events_alone(read))
    return tuple(update for update in updates if update.says_something)


def _tells_of_events_alone(read: Read) -> bool:
    return len(read.events) == len(read.outcomes) and not _works_again(read.subscription)


def _works_again(s: r.Subscription) -> bool:
    """Tell whether a verified delivery is the first sign that a subscription works."""
    by_hand = s.coverage == "unknown"  # nobody else will say that it is mended
    return s.state == "pending" or (by_hand and s.state in ("failing", "expired"))


def _update_of(read: Read, *, is_real: bool) -> r.Update:
    signal = next((outcome for outcome in read.outcomes if isinstance(outcome, Signal)), None)
    state, cause, asked = (None, "", "") if signal is None else _SIGNALLED[signal.kind]
    return r.Update(
        read.subscription.id,
        tuple(outcome.scope for outcome in read.outcomes if isinstance(outcome, Fetch)),
        read.metadata,
        activates=is_real and _works_again(read.subscription),
        state=state,
        cause=f"{cause}: {signal.detail}" if cause and signal is not None and signal.detail else cause,
        gone=signal is not None and signal.kind in ("removed", "expired"),
        asked=asked,
        accounts=signal is not None and signal.kind == "accounts",
    )


def answer_of(route: Route, reads: Sequence[Read]) -> Response:
    """Return what a handler answered, or the source's own acknowledgement."""
    for read in reads:
        for outcome in read.outcomes:
            if isinstance(outcome, Respond):
                return Response(outcome.status, outcome.body, tuple(outcome.headers.items()))
    return route.source.answer
