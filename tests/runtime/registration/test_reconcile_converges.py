"""Whatever goes wrong in between, the next apply brings the provider in line; one more does nothing."""

import contextlib
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow import ApiError, App, Forbidden, Trigger, Unauthorized, trigger
from trigflow.stores.sqlite import SqliteStore
from trigflow_github import GitHub, GitHubClient
from trigflow_github.testing import FakeGitHub

FOREIGN = "https://elsewhere.example.com/hook"
events = st.sets(st.sampled_from(["issues", "push", "star", "release"]))
faults = st.tuples(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    st.sampled_from([500, 502, 403, 422, 429]),
    st.booleans(),
)
# What happens between two applies: other wishes, a provider that fails, a hand at the provider.
happenings = st.lists(
    st.tuples(st.just("want"), events)
    | st.tuples(st.just("fault"), faults)
    | st.tuples(st.just("hand"), st.sampled_from(["delete", "switch off", "other events"]))
    | st.tuples(st.just("move"), st.sampled_from(["https://a.example.com", "https://b.example.com/x"])),
    max_size=6,
)


def app_for(fake: FakeGitHub, store: Path, url: str, wanted: set[str]) -> App:
    hub = GitHub(base_url=fake.url, repo="acme/web")
    triggers: list[Trigger[object]] = [getattr(hub, name)() for name in sorted(wanted)]

    async def job(payload: dict[str, object]) -> None: ...

    jobs: list[Callable[..., object]] = [trigger(*triggers)(job)] if triggers else []
    return App(jobs, url=url, store=str(store), register="off", connections={hub: "token"})


async def apply(app: App, store: Path) -> int:
    async with app.inspect():
        await let_quiet_end(store)
        return len(await app.apply(grace=timedelta(0)))


async def let_quiet_end(store: Path) -> None:
    """Let the minute go by that a 429 asks for."""
    async with SqliteStore(store, store_id=lambda: "abc") as opened:
        await opened.write(lambda connection: connection.execute("DELETE FROM quiets").fetchall())


async def by_hand(fake: FakeGitHub, what: str) -> None:
    # The hand may meet the fault that was meant for us.
    async with GitHubClient("token", base_url=fake.url) as client:
        for hook in fake.hooks("acme/web"):
            if hook.url == FOREIGN:
                continue
            with contextlib.suppress(ApiError, Forbidden, Unauthorized):
                if what == "delete":
                    await client.delete_hook(hook.id, repo="acme/web")
                elif what == "switch off":
                    await client.update_hook(hook.id, repo="acme/web", active=False)
                else:
                    await client.update_hook(hook.id, repo="acme/web", events=["watch"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(happenings, events)
def test_any_history_of_wishes_faults_and_hands_ends_in_one_webhook_with_the_wanted_events(
    history: list[tuple[str, object]], last: set[str]
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder, FakeGitHub(token="token") as fake:
            store, url, wanted = Path(folder) / "t.db", "https://a.example.com", {"push"}
            async with GitHubClient("token", base_url=fake.url) as client:
                await client.create_hook(FOREIGN, ["push"], repo="acme/web")
            for what, value in history:
                if what == "want":
                    wanted = value  # type: ignore[assignment]
                elif what == "move":
                    url = str(value)
                elif what == "hand":
                    await by_hand(fake, str(value))
                else:
                    method, status, effective = value  # type: ignore[misc]
                    fake.fail(method, r"/hooks", status, effective=effective)
                await apply(app_for(fake, store, url, wanted), store)
            await converge(fake, store, url, last)

    anyio.run(run)


async def converge(fake: FakeGitHub, store: Path, url: str, wanted: set[str]) -> None:
    """Apply until nothing is left to do; leftover faults each spoil one apply at most."""
    app = app_for(fake, store, url, wanted)
    for _ in range(12):
        if await apply(app, store) == 0:
            break
    fake.settle()
    writes = len(fake.writes)
    assert await apply(app, store) == 0
    assert len(fake.writes) == writes
    ours = [hook for hook in fake.hooks("acme/web") if hook.url != FOREIGN]
    assert [set(hook.events) for hook in ours] == ([wanted] if wanted else [])
    assert all(hook.active and hook.secret and hook.url.startswith(f"{url}/e/") for hook in ours)
    assert FOREIGN in {hook.url for hook in fake.hooks("acme/web")}
