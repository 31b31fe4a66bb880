"""Subscriptions as people and programs read them."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

import attrs

from trigflow.app import App
from trigflow.cli.screen import Styled, clock_time, moment, say, show_fields, show_table, styled
from trigflow.core.advice import next_action
from trigflow.core.plan import renewal_at, retirement_at
from trigflow.runtime import records as r, views as v
from trigflow.runtime.connections.quiet import Quiets
from trigflow.runtime.intake.recover import BEGUN
from trigflow.runtime.registration.rows import known_of
from trigflow.runtime.registration.steering import Steering

SHOWN_ATTEMPTS = 10
SHOWN_DELIVERIES = 10
FOLLOWED = 100  # deliveries that are read at a look


@attrs.frozen
class Standing:
    """How one subscription stands, and everything that led there; times are unix milliseconds."""

    endpoint: r.Endpoint
    s: r.Subscription
    url: str
    to_do: str
    renews_at: int | None
    retires_at: int | None
    attempts: Sequence[r.RegistrationAttempt]
    coverage: Sequence[r.Recovery]
    deliveries: Sequence[v.DeliveryRow]
    quiet: str = ""  # until when its provider wants to be left alone, and why


async def to_do(app: App, s: r.Subscription) -> str:
    """Say what a person can do about a subscription; empty where nothing has to be done."""
    means = await app.opened.reconciler.means_for(s)
    return next_action(s.state, s.cause, id=s.id, key=s.key, by_hand=not means.automatic)


async def standing(app: App, endpoint: r.Endpoint, s: r.Subscription) -> Standing:
    """Read everything that is known of a subscription."""
    opened, known = app.opened, known_of(endpoint, s)
    source = opened.sources.get(s.source)
    lease = None if source is None else source.lease
    retries_for = 0 if source is None else int(source.retries_for.total_seconds() * 1000)
    return Standing(
        endpoint,
        s,
        opened.reconciler.url_of(endpoint),
        await to_do(app, s),
        renewal_at(known, None if lease is None else lease.after),
        retirement_at(known, retries_for),
        await opened.store.registrations(s.id),
        _whole(await opened.store.recoveries(s.id)),
        [
            row
            for row in await opened.store.deliveries(limit=SHOWN_DELIVERIES, endpoint=endpoint.id)
            if row.subscription_id in (None, s.id)
        ],
        quiet=await Quiets(opened.store, opened.clock, lambda: 0.0).told(s.connection),
    )


def _whole(readings: Sequence[r.Recovery]) -> Sequence[r.Recovery]:
    """Leave out what was noted as a reading began that has come to its end, the newest first."""
    ended: set[int] = set()
    kept: list[r.Recovery] = []
    for one in readings:
        if one.error == BEGUN and one.since in ended:
            continue
        ended.add(one.since)
        kept.append(one)
    return kept


def steering_of(app: App, who: str | None = None) -> Steering:
    """Return what does what somebody asks for; who: without it, this person."""
    opened = app.opened
    return Steering(
        opened.store, opened.reconciler, opened.sources, opened.vault, opened.clock, who=who or _who()
    )  # fmt: skip


def _who() -> str:
    try:
        return f"{getpass.getuser()} at the command line"
    except (KeyError, OSError):  # a container may run as a user that has no name
        return "somebody at the command line"


# --- for programs


def told_row(s: r.Subscription, advice: str) -> dict[str, object]:
    """Describe a subscription in a list."""
    return {
        "id": s.id,
        "source": s.source,
        "key": s.key,
        "connection": s.connection,
        "account": s.account,
        "state": s.state,
        "cause": s.cause,
        "next_action": advice,
        "events": list(s.registered),
        "coverage": s.coverage,
        "lease_until": moment(s.lease_until),
        "last_delivery_at": moment(s.last_at),
        "deliveries": s.seen,
    }


def told_all(one: Standing) -> dict[str, object]:
    """Describe all that is known of a subscription; no secret is in it."""
    s = one.s
    return {
        **told_row(s, one.to_do),
        "url": one.url,
        "created_at": moment(s.created_at),
        "asked": s.asked,
        "failures": s.failures,
        "next_look_at": moment(s.next_at) if s.next_at > 0 else None,
        "quiet": one.quiet or None,
        "lease": None
        if s.lease_until is None
        else {
            "since": moment(s.leased_at),
            "until": moment(s.lease_until),
            "renewed_at": moment(one.renews_at),
        },
        "keys": [_told_key(one, key) for key in one.endpoint.keys],
        "attempts": [
            {
                "at": moment(at.at),
                "action": at.action,
                "reason": at.reason,
                "outcome": at.outcome,
                "error": at.error or None,
                "took_ms": at.took_ms,
            }
            for at in one.attempts
        ],
        "coverage_timeline": [
            {
                "since": moment(stretch.since),
                "until": moment(stretch.until),
                "received": stretch.received,
                "recovered": stretch.recovered,
                "lost": stretch.lost,
                "error": stretch.error or None,
            }
            for stretch in one.coverage
        ],
        "log": [told_delivery(row) for row in one.deliveries],
    }


def _told_key(one: Standing, key: r.StoredKey) -> dict[str, object]:
    newest = key is one.endpoint.keys[0]
    return {
        "serial": key.serial,
        "created_at": moment(key.created_at),
        "first_used_at": moment(key.used_at),
        "retiring": not newest,
        "retires_at": None if newest else moment(one.retires_at),
    }


def told_delivery(row: v.DeliveryRow) -> dict[str, object]:
    """Describe one line of the request log."""
    return {
        "id": row.id,
        "received_at": moment(row.received_at),
        "outcome": row.outcome,
        "cause": row.cause,
        "status": row.status,
        "events": row.events,
        "runs": row.runs,
        "key_serial": row.key_serial,
    }


# --- for people


def show_list(rows: Sequence[tuple[r.Subscription, str]], empty: str) -> None:
    """Print subscriptions, then what is wrong with some of them and what to do."""
    show_table(
        ("subscription", "source", "key", "connection", "state", "events", "last delivery", "lease until"),
        (
            (
                s.id, s.source, s.key, s.connection, s.state, _events(s.registered), clock_time(s.last_at),
                clock_time(s.lease_until),
            )
            for s, _ in rows
        ),
        empty=empty,
    )  # fmt: skip
    for s, advice in rows:
        if s.cause or advice:
            say(styled(f"{s.source} {s.key}: ", "dim"), "; ".join(filter(None, (s.cause, advice))))


def _events(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def show_all(one: Standing) -> None:
    """Print all that is known of a subscription."""
    s = one.s
    show_fields(
        {
            "subscription": s.id,
            "source": s.source,
            "key": s.key,
            "connection": s.connection,
            "account": s.account,
            "state": styled(s.state),
            "cause": s.cause,
            "next": styled(one.to_do, "bold") if one.to_do else "",
            "url": one.url,
            "events": ", ".join(s.registered),
            "coverage": s.coverage,
            "lease": _lease(one),
            "last delivery": clock_time(s.last_at),
            "deliveries": s.seen or "",
            "asked for": s.asked,
            "next look": clock_time(s.next_at) if s.next_at > 0 else "at once",
            "its provider": one.quiet,
        }
    )
    _show_keys(one)
    _show_attempts(one.attempts)
    if one.coverage:
        say("\ncoverage")
    for stretch in one.coverage:
        counts = f"{stretch.received} received, {stretch.recovered} recovered, {stretch.lost} lost"
        error = styled(f"  {stretch.error}", "red") if stretch.error else ""
        say(f"  {clock_time(stretch.since)} to {clock_time(stretch.until)}  {counts}", error)
    say("\nlast deliveries" if one.deliveries else "\nno deliveries")
    for row in reversed(one.deliveries):
        show_delivery(row)


def show_lease_and_keys(one: Standing) -> None:
    """Print until when the provider keeps it, and its keys without their secrets."""
    show_fields({"lease": _lease(one)})
    _show_keys(one)


def _lease(one: Standing) -> str:
    if one.s.lease_until is None:
        return ""
    renewed = f", renewed about {clock_time(one.renews_at)}" if one.renews_at is not None else ""
    return f"until {clock_time(one.s.lease_until)}{renewed}"


def _show_keys(one: Standing) -> None:
    if one.endpoint.keys:
        say("\nkeys")
    for number, key in enumerate(one.endpoint.keys):
        used = f"first used {clock_time(key.used_at)}" if key.used_at is not None else "not used yet"
        end = "" if number == 0 else f"  retiring: {_retires(one)}"
        say(f"  {key.serial}  made {clock_time(key.created_at)}  {used}", styled(end, "yellow"))


def _retires(one: Standing) -> str:
    if one.retires_at is None:
        return "once the newest was used"
    return f"not before {clock_time(one.retires_at)}"


def _show_attempts(attempts: Sequence[r.RegistrationAttempt]) -> None:
    if attempts:
        say("\nattempts at registering")
    for at in attempts[:SHOWN_ATTEMPTS]:
        came_of_it: Styled = styled(at.outcome) if not at.error else styled(at.error, "red")
        say(styled(f"  {clock_time(at.at)}  ", "dim"), f"{at.action}  {at.reason}  ", came_of_it)
    if len(attempts) > SHOWN_ATTEMPTS:
        say(f"  and {len(attempts) - SHOWN_ATTEMPTS} older ones, with --json")


def show_delivery(row: v.DeliveryRow) -> None:
    """Print one line of the request log."""
    started = f"  {row.events} events, {row.runs} runs" if row.events else ""
    say(
        styled(f"  {clock_time(row.received_at)}  ", "dim"),
        styled(row.outcome),
        f"  {row.status}  {row.id}{started}  ",
        styled(row.cause, "yellow"),
    )


async def show_newer(app: App, endpoint: str, newest: str) -> str:
    """Print the deliveries at an endpoint after one of them; return the id of the newest."""
    rows = await app.opened.store.deliveries(limit=FOLLOWED, endpoint=endpoint)
    for row in reversed([row for row in rows if row.id > newest]):
        show_delivery(row)
    return rows[0].id if rows else newest
