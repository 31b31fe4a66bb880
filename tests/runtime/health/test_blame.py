"""What is wrong with a connection's credentials is told once, however many subscriptions share them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import attrs
import pytest
from hypothesis import given, settings, strategies as st

from trigflow import App, trigger
from trigflow.core.alerts import blamed_in, blaming
from trigflow.core.errors import ApiError, Forbidden, NotConnected, NotFound, Unauthorized
from trigflow.core.waits import refusal_of
from trigflow.runtime import records as r
from trigflow.runtime.health.alerts import Alerts
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.testing import VirtualClock
from trigflow_github import GitHub
from trigflow_github.testing import FakeGitHub

REF = "github/ada"
CAUSES = ["the provider refuses them", "they lack the scope admin:repo_hook"]
SUBSCRIPTIONS = 3
# (which subscription, what is found of it, by which process): a cause of the credentials, one of its
# own, none, or it is removed.
finds = st.tuples(
    st.integers(0, SUBSCRIPTIONS - 1),
    st.sampled_from([*CAUSES, "own", "fine", "removed"]),
    st.integers(0, 1),
)


def rows_of(number: int, serial: int) -> tuple[r.Endpoint, r.Subscription]:
    name = f"{number}_{serial}"
    endpoint = r.Endpoint(f"end_{name}", f"token{name}", "github.webhook", "active", b"{}")
    return endpoint, r.Subscription(
        f"sub_{name}", endpoint.id, "github.webhook", f"repo:a/{number}", REF, b"{}", state="active"
    )


def found(s: r.Subscription, what: str) -> r.Subscription:
    if what == "fine":
        return attrs.evolve(s, state="active", cause="")
    own = f"GitHub GET /repos/{s.key}/hooks: no; a person is needed"
    cause = own if what == "own" else blaming(REF, what, own)
    return attrs.evolve(s, state="failing", cause=cause)


async def follow_history(history: list[tuple[int, str, int]], first: Store, second: Store) -> None:
    """Tell as two processes find it, and compare with who is to blame at each moment."""
    clock, told = VirtualClock(), list[str]()
    processes = (first, second)
    blamed: dict[int, str] = {}
    expected: list[str] = []
    kept: dict[int, r.Subscription] = {}
    for serial, (number, what, by) in enumerate(history):
        store = processes[by]
        alerts = Alerts(store, clock)  # each time anew: a restart knows no more than the store
        if number not in kept:
            pair = rows_of(number, serial)
            await store.create_subscriptions([pair])
            kept[number] = pair[1]
        s = kept[number]
        before = {*blamed.values()}
        blamed.pop(number, None)
        opened = await store.alerts()
        if what == "removed":
            await store.remove_subscription(s.id, at=1)
            await alerts.forget(s)
            del kept[number]
        else:
            kept[number] = found(s, what)
            await store.save_subscription(kept[number], was=s)
            await alerts.follow(kept[number])
        if what in CAUSES:
            blamed[number] = what
            expected += [what] if what not in before else []
        now = await store.alerts()
        told += [one.cause for one in now if one not in opened and one.subject == f"credentials of {REF}"]
        assert {one.cause for one in now if one.subject == f"credentials of {REF}"} == {*blamed.values()}
        own = {one.subject for one in now if one.subject.startswith("subscription ")}
        assert own == {f"subscription {one.id}" for one in kept.values() if one.cause.startswith("GitHub")}
    assert told == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(finds, max_size=14))
def test_a_cause_is_told_when_the_first_is_hit_by_it_and_anew_only_after_the_last_one_is_free_of_it(
    history: list[tuple[int, str, int]],
) -> None:
    async def run() -> None:
        memory = MemoryStore(store_id="store")
        await follow_history(history, memory, memory)

    anyio.run(run)


@settings(max_examples=10, deadline=None)
@given(st.lists(finds, max_size=10))
def test_so_it_is_with_two_processes_at_one_file(history: list[tuple[int, str, int]]) -> None:
    async def run() -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "t.db"
            one, other = (SqliteStore(path, store_id=lambda: "store") for _ in range(2))
            async with one as first, other as second:
                await follow_history(history, first, second)

    anyio.run(run)


@pytest.mark.parametrize(
    ("error", "blames"),
    [
        (Unauthorized("401"), "the provider refuses them"),
        (Forbidden("403", ("b", "a")), "they lack a or b"),
        (Forbidden("403: not an owner of this repository"), ""),
        (NotConnected("connect it again"), "they were given up"),
        (NotFound("GET /x", 404, "no"), ""),
        (ApiError("GET /x", 500, "no"), ""),
    ],
)
def test_only_what_is_wrong_wherever_they_are_used_is_blamed_on_the_credentials(
    error: Exception, blames: str
) -> None:
    assert refusal_of(error, 0, now=0, chance=0).blames == blames


@given(st.sampled_from(CAUSES), st.text())
def test_who_is_blamed_can_be_read_from_a_cause(cause: str, told: str) -> None:
    assert blamed_in(REF, blaming(REF, cause, told)) == cause
    assert blamed_in("github", blaming(REF, cause, told)) == ""


@pytest.mark.anyio
async def test_a_token_that_is_refused_is_told_once_for_all_its_webhooks_and_closed_when_it_is_mended(
    tmp_path: Path,
) -> None:
    with FakeGitHub(token="good-token") as fake:
        github = GitHub(base_url=fake.url)
        repos = ["acme/web", "acme/one", "acme/two"]
        for repo in repos[1:]:
            fake.add_repository(repo)

        @trigger(*(github.issues(repo=repo) for repo in repos))
        async def job(payload: dict[str, object]) -> None: ...

        async def open_after_applying(token: str) -> list[tuple[str, str]]:
            keys, url = {github: token}, "https://h.example.com"
            store = str(tmp_path / "t.db")
            async with App([job], store=store, register="off", url=url, connections=keys).inspect() as app:
                for _ in range(2):
                    await app.apply()
                return [(one.subject, one.cause) for one in await app.opened.store.alerts()]

        refused = [("credentials of github", "the provider refuses them")]
        for token, alerts in [("wrong-token", refused), ("good-token", []), ("bad-token", refused)]:
            assert await open_after_applying(token) == alerts
