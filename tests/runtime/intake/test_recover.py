"""What never arrived is taken from the provider's own log, once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.runtime.logged import Logged, Sent, app_of, deliver
from trigflow import App
from trigflow.core.coverage import Stretch
from trigflow.runtime import records as r
from trigflow.testing import VirtualClock


@asynccontextmanager
async def registered(app: App) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription]]:
    """Open an app without background work, its webhook made."""
    async with app.inspect():
        await app.apply()
        (endpoint,) = await app.opened.store.endpoints()
        yield endpoint, endpoint.subscriptions[0]


async def recovered(app: App, since: float | None = None) -> r.Recovery:
    (endpoint,) = await app.opened.store.endpoints()
    moment = None if since is None else datetime.fromtimestamp(since, UTC)
    return await app.opened.upkeep.recoverer.recover(endpoint, endpoint.subscriptions[0], moment)


async def known(app: App) -> set[str]:
    """Ids of all events that are kept."""
    found: set[str] = set()
    for row in await app.opened.store.deliveries(limit=1000):
        found |= {one.event_id for one in await app.opened.store.events(row.id)}
    return found


def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.mark.anyio
async def test_what_never_arrived_is_taken_and_what_did_is_counted() -> None:
    provider, time = Logged(), clock()
    app = app_of(provider, "memory:", time, [])
    async with registered(app):
        start = time.now()
        provider.sent = [Sent("a", start), Sent("b", start + 10), Sent("c", start + 20, kept=False)]
        assert await deliver(app, provider.sent[0]) == 200
        time.advance(timedelta(hours=1))
        row = await recovered(app, start)
        assert (row.received, row.recovered, row.lost, row.error) == (1, 1, 1, "")
        assert (row.since, row.until) == (int(start * 1000), int(time.now() * 1000))
        assert await known(app) == {"a", "b"}
        again = await recovered(app, start)
        assert (again.recovered, again.lost, again.error) == (0, 0, "")


@pytest.mark.anyio
async def test_a_recovered_event_runs_its_job_and_a_late_delivery_of_it_does_not() -> None:
    provider, time, seen = Logged(), clock(), list[str]()
    app = app_of(provider, "memory:", time, seen)
    async with app:
        await app.apply()
        provider.sent = [Sent("a", time.now())]
        assert (await recovered(app, time.now())).recovered == 1
        with anyio.fail_after(10):
            while not seen:
                await anyio.sleep(0.005)
        assert await deliver(app, provider.sent[0]) == 200
        row, *_ = await app.opened.store.deliveries(limit=1)
        assert (row.outcome, seen) == ("duplicate", ["a"])


histories = st.lists(
    st.tuples(
        st.sampled_from(["arrives", "does not", "is lost"]),
        st.booleans(),  # afterwards the log is read
        st.none() | st.integers(0, 4),  # which breaks off
        st.sampled_from(["newest", "oldest"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_whatever_breaks_off_the_next_whole_reading_leaves_nothing_out(
    history: list[tuple[str, bool, int | None, str]],
) -> None:
    async def run() -> None:
        provider, time = Logged(), clock()
        app = app_of(provider, "memory:", time, [])
        async with registered(app):
            for number, (what, is_read, breaks, order) in enumerate(history):
                one = Sent(f"e{number}", time.now(), kept=what != "is lost")
                provider.sent.append(one)
                if what == "arrives":
                    await deliver(app, one)
                time.advance(timedelta(hours=1))
                if is_read:
                    provider.breaks_after, provider.order = (
                        breaks,
                        "newest" if order == "newest" else "oldest",
                    )
                    row = await recovered(app, None)
                    assert bool(row.error) == (breaks is not None and row.until == row.since)
            provider.breaks_after = None
            last = await recovered(app, provider.sent[0].at if not provider.asked else None)
            assert not last.error
            first_asked = min(moment.timestamp() for moment in provider.asked)
            kept = {one.id for one in provider.sent if one.kept and one.at >= first_asked}
            assert kept <= await known(app)
            lost = [one for one in provider.sent if not one.kept and one.at >= first_asked]
            rows = await app.opened.store.recoveries(last.subscription_id)
            assert sum(row.lost for row in rows if not row.error) == len(lost)

    anyio.run(run)


@pytest.mark.anyio
@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_reading_that_breaks_off_is_continued_from_where_it_began(order: str) -> None:
    provider, time = Logged(order="newest" if order == "newest" else "oldest"), clock()
    app = app_of(provider, "memory:", time, [])
    async with registered(app):
        start = time.now()
        provider.sent = [Sent(name, start + at) for at, name in enumerate("abcd")]
        time.advance(timedelta(hours=2))
        provider.breaks_after = 2
        row = await recovered(app, start)
        assert (row.until, row.recovered) == (int(start * 1000), 2)
        assert "broke off" in row.error
        assert "hush-hush" not in row.error
        time.advance(timedelta(hours=5))
        provider.breaks_after = None
        again = await recovered(app)
        assert (again.since, again.recovered, again.error) == (int(start * 1000), 2, "")
        assert await known(app) == set("abcd")


@pytest.mark.anyio
async def test_a_process_that_is_stopped_in_the_middle_is_continued_by_the_next(tmp_path: Path) -> None:
    provider, time, store = Logged(order="newest"), clock(), str(tmp_path / "t.db")
    start = time.now()
    provider.sent = [Sent(name, start + at) for at, name in enumerate("abcd")]
    first = app_of(provider, store, time, [])
    async with registered(first):
        time.advance(timedelta(hours=1))
        with anyio.CancelScope() as scope:
            provider.stops_after, provider.on_stop = 2, scope.cancel
            await recovered(first, start)
        assert scope.cancelled_caught
    second = app_of(provider, store, time, [])
    provider.stops_after = None
    time.advance(timedelta(hours=1))
    async with second.inspect():
        row = await recovered(second)
        assert (row.since, row.error) == (int(start * 1000), "")
        assert await known(second) == set("abcd")


@pytest.mark.anyio
async def test_one_that_cannot_be_read_stops_no_other_and_is_read_again_for_a_day() -> None:
    provider, time = Logged(), clock()
    app = app_of(provider, "memory:", time, [])
    async with registered(app):
        start = time.now()
        provider.sent = [Sent("a", start), Sent("b", start + 5, readable=False), Sent("c", start + 9)]
        time.advance(timedelta(hours=1))
        row = await recovered(app, start)
        assert (row.recovered, row.until) == (2, int((start + 5) * 1000))
        assert row.error.startswith("1 could not be taken")
        time.advance(timedelta(days=1))
        assert (await recovered(app)).until == int(time.now() * 1000)
        assert await known(app) == {"a", "c"}


@pytest.mark.anyio
async def test_what_is_lost_is_told_to_people() -> None:
    provider, time = Logged(), clock()
    app = app_of(provider, "memory:", time, [])
    async with registered(app):
        provider.sent = [Sent("a", time.now(), kept=False)]
        await recovered(app, time.now())
        (alert,) = await app.opened.store.alerts()
        assert alert.subject.startswith("recovery of sub_")
        time.advance(timedelta(hours=1))
        await recovered(app, time.now())
        assert not await app.opened.store.alerts()


# --- after an outage


async def outage(store: str, provider: Logged, time: VirtualClock, seconds: float) -> None:
    """An app runs, stops, and things are sent while nobody listens."""
    app = app_of(provider, store, time, [])
    async with app:
        await app.apply()
        await app.opened.store.beat("ins_before", now=int(time.now() * 1000), listens=True)
    provider.sent = [Sent(f"e{n}", time.now() + n) for n in range(5)]
    time.advance(timedelta(seconds=seconds))


@asynccontextmanager
async def turning(time: VirtualClock) -> AsyncGenerator[None]:
    """Let time pass meanwhile."""

    async def turn() -> None:
        while True:
            time.advance(timedelta(seconds=1))
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        group.start_soon(turn)
        yield
        group.cancel_scope.cancel()


async def settled(app: App, time: VirtualClock, done: set[str]) -> None:
    with anyio.fail_after(10):
        while await known(app) != done:
            time.advance(timedelta(seconds=1))
            await anyio.sleep(0.005)


@pytest.mark.anyio
async def test_after_an_outage_an_app_reads_by_itself_what_was_sent_meanwhile(tmp_path: Path) -> None:
    provider, time, store, seen = Logged(), clock(), str(tmp_path / "t.db"), list[str]()
    await outage(store, provider, time, seconds=3 * 3600)
    app = app_of(provider, store, time, seen)
    async with app:
        app.opened.upkeep.outages.serve()
        await settled(app, time, {f"e{n}" for n in range(5)})
        with anyio.fail_after(10):
            while len(provider.asked) < 1 or len(seen) < 5:
                await anyio.sleep(0.005)
        (endpoint,) = await app.opened.store.endpoints()
        subscription = endpoint.subscriptions[0]
        with anyio.fail_after(10):
            while not (stretches := await app.opened.upkeep.recoverer.coverage(subscription)):
                await anyio.sleep(0.005)
    assert sorted(seen) == [f"e{n}" for n in range(5)]
    assert [one.known for one in stretches if one.known not in ("received", "unknown")] in (["recovered"], [])


@pytest.mark.anyio
async def test_a_short_pause_is_no_outage(tmp_path: Path) -> None:
    provider, time, store = Logged(), clock(), str(tmp_path / "t.db")
    await outage(store, provider, time, seconds=59)
    app = app_of(provider, store, time, [])
    async with app:
        app.opened.upkeep.outages.serve()
        await anyio.wait_all_tasks_blocked()
        assert await app.opened.upkeep.outages.read_left() is None
    assert not provider.asked


@pytest.mark.anyio
async def test_an_outage_whose_reading_was_cut_short_is_read_by_the_next_start(tmp_path: Path) -> None:
    provider, time, store = Logged(order="newest"), clock(), str(tmp_path / "t.db")
    await outage(store, provider, time, seconds=3 * 3600)
    first = app_of(provider, store, time, [])
    async with first.inspect():
        await first.opened.upkeep.outages.begin_listening()
        with anyio.CancelScope() as scope:
            provider.stops_after, provider.on_stop = 1, scope.cancel
            await first.opened.upkeep.outages.read_left()
        await first.opened.store.beat("ins_first", now=int(time.now() * 1000), listens=True)
        async with app_of(provider, store, time, []).inspect() as beside:
            found = await beside.opened.upkeep.outages.read_left()
            assert found is None, "the claim of the first still holds"
    provider.stops_after = None
    time.advance(timedelta(seconds=30))
    second = app_of(provider, store, time, [])
    async with second.inspect():
        await second.opened.upkeep.outages.begin_listening()
        async with turning(time):
            found = await second.opened.upkeep.outages.read_left()
        assert found is not None
        assert (found.subscriptions, found.errors) == (1, 0)
        assert found.recovered in (3, 4), "what was being kept when the first was stopped may be kept"
        assert await known(second) == {f"e{n}" for n in range(5)}
        time.advance(timedelta(minutes=16))
        assert await second.opened.upkeep.outages.read_left() is None
        assert {one.known for one in await coverage_of(second)} == {"received", "recovered"}


async def coverage_of(app: App) -> Sequence[Stretch]:
    (endpoint,) = await app.opened.store.endpoints()
    return await app.opened.upkeep.recoverer.coverage(endpoint.subscriptions[0])


# --- asked for


async def asked_for(app: App) -> str:
    (endpoint,) = await app.opened.store.endpoints()
    return endpoint.subscriptions[0].asked


@pytest.mark.anyio
async def test_a_log_that_takes_long_is_read_without_holding_a_look_and_is_asked_for_until_it_is_read() -> (
    None
):
    provider, time = Logged(), clock()
    app = app_of(provider, "memory:", time, [])
    async with registered(app) as (endpoint, s), anyio.create_task_group() as group:
        opened = app.opened
        group.start_soon(opened.upkeep.outages.keep_up)
        await anyio.wait_all_tasks_blocked()
        time.advance(timedelta(hours=1))
        provider.sent = [Sent("a", time.now())]
        await opened.store.ask(s.id, "recover")
        provider.breaks_after = 0
        await opened.reconciler.look(s.identity)
        assert await known(app) == set(), "a look waits for a log"
        await anyio.wait_all_tasks_blocked()
        assert await asked_for(app) == "recover", "what broke off is not asked for any more"
        provider.breaks_after = None
        time.advance(timedelta(hours=1))
        await opened.reconciler.look(s.identity)
        with anyio.fail_after(10):
            while await asked_for(app):
                await anyio.sleep(0.005)
        assert await known(app) == {"a"}
        assert endpoint.subscriptions
        group.cancel_scope.cancel()
