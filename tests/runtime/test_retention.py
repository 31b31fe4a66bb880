"""What is kept for how long, and the loop of an open app that removes what is older."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given, strategies as st

from trigflow import App, SettingsError, TrigflowError, trigger
from trigflow.core.settings import Settings, resolve
from trigflow.runtime import records as r
from trigflow.runtime.retention import STEP, Retention, Rule, prune, rules
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.testing import VirtualClock, deliver
from trigflow_github import github
from trigflow_github.payloads import Issues

DAY = timedelta(days=1)
acme = github.issues(repo="acme/web", actions=["opened"])


def delivery(number: int, *, day: int = 0) -> r.NewDelivery:
    name = f"{number:06d}"
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, ())
    return r.NewDelivery(
        f"dlv_{name}",
        "ep",
        "sub",
        day * 86_400_000,
        "accepted",
        "",
        200,
        "POST",
        b"[]",
        b"{}",
        events=(event,),
    )


# --- the rules

names = st.sampled_from(["bodies", "runs", "deliveries", "noise", "registrations", "dedupe"])


@given(st.dictionaries(names, st.integers(0, 500).map(lambda days: days * DAY)), st.integers(0, 2**31))
def test_what_is_kept_forever_has_no_rule_and_nothing_younger_may_go(
    times: Mapping[str, timedelta], now: int
) -> None:
    try:
        settings = resolve({f"keep_{name}": time for name, time in times.items()}, {}).settings
    except SettingsError:
        return
    found = {rule.kind: rule for rule in rules(settings, now=now)}
    for name, time in times.items():
        assert (name in found) == (time != timedelta(0))
    for kind, rule in found.items():
        assert rule.before == now * 1000 - rule.kept.total_seconds() * 1000
        assert times.get(kind, rule.kept) == rule.kept


def test_deliveries_are_kept_at_least_as_long_as_their_runs_and_keys_as_long_as_both() -> None:
    for wrong in (
        {"keep_runs": 91 * DAY},
        {"keep_runs": timedelta(0)},
        {"keep_deliveries": timedelta(0)},
        {"keep_dedupe": 89 * DAY},
        {
            "keep_dedupe": timedelta(hours=1),
            "keep_deliveries": timedelta(hours=1),
            "keep_runs": timedelta(hours=1),
        },
        {"keep_bodies": -DAY},
        {"keep_bodies": 30},
    ):
        with pytest.raises(SettingsError, match="keep_"):
            resolve(wrong, {})
    forever = {"keep_runs": timedelta(0), "keep_deliveries": timedelta(0), "keep_dedupe": timedelta(0)}
    assert {rule.kind for rule in rules(resolve(forever, {}).settings, now=0)} == {
        "bodies", "noise", "registrations", "recoveries", "audit", "processes",
    }  # fmt: skip


def test_times_come_from_the_environment_as_people_write_them() -> None:
    environ = {"TRIGFLOW_KEEP_BODIES": "12h", "TRIGFLOW_KEEP_NOISE": "forever"}
    settings = resolve({}, environ).settings
    assert (settings.keep_bodies, settings.keep_noise) == (timedelta(hours=12), timedelta(0))
    with pytest.raises(SettingsError, match="TRIGFLOW_KEEP_BODIES"):
        resolve({}, {"TRIGFLOW_KEEP_BODIES": "12 hours"})


# --- removing

pytestmark = pytest.mark.anyio


async def test_removing_goes_in_steps_with_a_rest_as_long_as_each_took(tmp_path: Path) -> None:
    clock, rested = VirtualClock(), list[float]()

    class Slow(SqliteStore):
        async def remove_old(self, kind: r.Kind, names: Sequence[tuple[str, ...]], *, before: int) -> int:
            assert len(names) <= STEP
            clock.advance(timedelta(seconds=2))
            return await super().remove_old(kind, names, before=before)

    async def rest(seconds: float) -> None:
        rested.append(seconds)

    async with Slow(tmp_path / "s.db", store_id=lambda: "abc") as store:
        async with anyio.create_task_group() as group:
            for number in range(3 * STEP):
                group.start_soon(store.accept, delivery(number))
        rule = Rule("deliveries", DAY, 1)
        assert await prune(store, rule, clock, dry=True) == 3 * STEP
        assert len(await store.deliveries(limit=1_000)) == 3 * STEP
        assert await prune(store, rule, clock, rest=rest) == 3 * STEP
        assert rested == [2.0, 2.0, 2.0]
        assert await store.deliveries(limit=1_000) == []


async def test_of_several_processes_one_removes_and_another_goes_on_when_its_time_has_come() -> None:
    clock = VirtualClock()
    asked: list[str] = []

    class Asked(MemoryStore):
        async def find_old(self, kind: r.Kind, *, before: int, after: str, limit: int) -> r.Old:
            asked.append(kind)
            return await super().find_old(kind, before=before, after=after, limit=limit)

    store = Asked(store_id="abc")
    first, second = (Retention(store, Settings(), clock) for _ in range(2))
    await first.prune_all()
    hourly = [
        "runs", "noise", "deliveries", "bodies", "registrations", "recoveries", "audit", "removed",
        "processes",
    ]  # fmt: skip
    assert asked == [*hourly, "dedupe"]
    await second.prune_all()
    assert len(asked) == 10
    clock.advance(timedelta(hours=1))
    await second.prune_all()
    await first.prune_all()
    assert asked[10:] == hourly
    clock.advance(timedelta(hours=23))
    await first.prune_all()
    assert asked[-1] == "dedupe"


def app_at(clock: VirtualClock) -> App:
    @trigger(acme, id="job")
    async def job(payload: Issues) -> str:
        return payload.issue.title

    return App([job], store="memory:", register="off", clock=clock)


async def turned(clock: VirtualClock, by: timedelta) -> None:
    """Turn the clock once whoever waits for it does so."""
    await anyio.wait_all_tasks_blocked()
    clock.advance(by)
    await anyio.wait_all_tasks_blocked()


async def test_an_open_app_removes_what_is_old_by_itself_and_a_replay_says_that_it_is_gone() -> None:
    clock = VirtualClock()
    async with app_at(clock) as app:
        done = await deliver(app, acme)
        await turned(clock, 29 * DAY)
        found = await app.opened.store.delivery(done.id)
        assert found is not None
        assert found[1] is not None
        await turned(clock, 2 * DAY)
        found = await app.opened.store.delivery(done.id)
        assert found is not None
        assert found[1] is None
        with pytest.raises(TrigflowError, match="no longer kept"):
            await app.replay(done.id)
        (run,) = await app.opened.store.runs(limit=9)
        assert run.state == "succeeded", "what ran is still known"
        await turned(clock, 60 * DAY)
        assert await app.opened.store.runs(limit=9) == []
        assert await app.opened.store.deliveries(limit=9) == []
        with pytest.raises(TrigflowError, match="there is no delivery"):
            await app.replay(done.id)


async def test_a_redelivery_is_known_when_all_else_is_gone() -> None:
    clock = VirtualClock()
    async with app_at(clock) as app:
        await deliver(app, acme, id="one")
        for _ in range(4):
            await turned(clock, 50 * DAY)
        assert await app.opened.store.deliveries(limit=9) == []
        assert (await deliver(app, acme, id="one")).outcome == "duplicate"
        assert await app.opened.store.runs(limit=9) == []


async def test_retention_is_a_supervised_part_of_an_open_app() -> None:
    async with app_at(VirtualClock()) as app:
        await anyio.wait_all_tasks_blocked()
        assert {part.name: part.state for part in app.opened.parts()}["retention"] == "running"


async def test_a_replay_of_what_is_removed_at_the_same_moment_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = VirtualClock()
    async with app_at(clock) as app:
        done = await deliver(app, acme)
        store = app.opened.store
        read = store.payload
        removed: list[int] = []

        async def read_just_before_it_goes(event_row: str) -> bytes | None:
            text = await read(event_row)
            later = int(clock.now() * 1000) + 1
            removed.append(await store.remove_old("bodies", [(done.id,)], before=later))
            return text

        monkeypatch.setattr(store, "payload", read_just_before_it_goes)
        with pytest.raises(TrigflowError, match="no longer kept"):
            await app.replay(done.id)
        assert removed[0] == 1
        assert len(await store.runs(limit=9)) == 1
