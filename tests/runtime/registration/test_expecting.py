"""How soon something is expected of a webhook that only subscribers want."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow import App, SetupError, dynamic, trigger
from trigflow.core.jobs import Options
from trigflow.runtime import records as r
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow_github import GitHub

pytestmark = pytest.mark.anyio
ME = ("s", "k", "c")
github = GitHub()
repos = dynamic("user-repos", github.issues)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def app_of(store: str, expect_every: timedelta | None, **more: Any) -> App:
    @trigger(repos, id="told", expect_every=expect_every, **more)
    async def job(payload: dict[str, object]) -> None: ...

    keys = {github: "token"}
    return App([job], store=store, register="off", url="https://h.example.com", connections=keys)


async def expected(app: App, repo: str = "acme/web") -> int | None:
    identity = ("github.webhook", f"repo:{repo}", "github")
    return (await app.opened.rows.wanted([identity], timedelta(minutes=10)))[identity].expect_every


@pytest.mark.parametrize(
    ("job", "subscriber", "shortest"),
    [
        (None, None, None),
        (HOUR, None, HOUR),
        (None, HOUR, HOUR),
        (HOUR, MINUTE, MINUTE),
        (MINUTE, HOUR, MINUTE),
    ],
)
async def test_the_shortest_of_the_job_and_the_subscriber_counts_in_every_process_and_after_a_restart(
    tmp_path: Path, job: timedelta | None, subscriber: timedelta | None, shortest: timedelta | None
) -> None:
    store = str(tmp_path / "t.db")
    told = None if shortest is None else int(shortest.total_seconds() * 1000)
    async with app_of(store, job) as first:
        await first.subscribe(repos(repo="acme/web"), key="ada", expect_every=subscriber)
        assert await expected(first) == told
        async with App([], store=store, register="off").inspect() as beside:
            assert await expected(beside) == told
    async with app_of(store, job) as again:
        assert await expected(again) == told


async def test_the_strictest_of_all_who_share_a_webhook_wins_and_goes_with_its_subscriber(
    tmp_path: Path,
) -> None:
    async with app_of(str(tmp_path / "t.db"), HOUR) as app:
        await app.subscribe(repos(repo="acme/web"), key="ada", expect_every=2 * MINUTE)
        await app.subscribe(repos(repo="acme/web"), key="bob", expect_every=MINUTE)
        assert await expected(app) == 60_000
        await app.unsubscribe(repos, key="bob")
        assert await expected(app) == 120_000
        await app.subscribe(repos(repo="acme/web"), key="ada")
        assert await expected(app) == 3_600_000


async def test_a_disabled_job_expects_nothing_and_less_than_a_minute_is_refused(tmp_path: Path) -> None:
    async with app_of(str(tmp_path / "t.db"), HOUR, enabled=False) as app:
        with pytest.raises(SetupError, match="a minute or more"):
            await app.subscribe(repos(repo="acme/web"), key="ada", expect_every=timedelta(seconds=59))
        assert not await app.subscribers(repos)
        await app.subscribe(repos(repo="acme/web"), key="ada")
        assert await expected(app) is None
    assert Options().expect_every is None


times = st.none() | st.integers(60_000, 90_000)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(["p", "q"]), st.tuples(st.integers(0, 3), st.dictionaries(
        st.sampled_from(["d", "e"]), st.integers(60_000, 90_000)))),
    st.dictionaries(st.tuples(st.sampled_from(["d", "e"]), st.sampled_from(["1", "2"])), times, min_size=1),
    st.integers(0, 3),
)  # fmt: skip
async def test_both_stores_find_the_shortest_that_is_fresh(
    tmp_path_factory: pytest.TempPathFactory,
    processes: dict[str, tuple[int, dict[str, int]]],
    subscribers: dict[tuple[str, str], int | None],
    since: int,
) -> None:
    opening: list[Callable[[], Any]] = [
        lambda: MemoryStore(store_id="s"),
        lambda: SqliteStore(tmp_path_factory.mktemp("s") / "t.db", store_id=lambda: "s"),
    ]
    fresh = [expects for at, expects in processes.values() if at >= since]
    said = [one for one in subscribers.values() if one is not None]
    said += [expects[d] for expects in fresh for d, _ in subscribers if d in expects]
    for make in opening:
        async with make() as store:
            for owner, (at, expects) in processes.items():
                await store.put_wants(owner, [], at=at, expects=expects)
            for (of, key), every in subscribers.items():
                one = r.Subscriber(of, key, *ME, b"{}", ("e",), expect_every=every)
                endpoint = r.Endpoint("end_1", "token", "s", "pending", b"{}")
                row = r.Subscription("sub_1", "end_1", *ME, b"{}")
                assert await store.subscribe(one, endpoint, row, most=0)
                assert await store.subscriber(of, key) == one
            found = await store.wanted([ME], since=since)
            assert found[ME].expect_every == min(said, default=None)
