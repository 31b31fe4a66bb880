"""Parts of an open app that fail: what is started again, what health says, what senders are answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from tests.web.test_asgi import BODY, call, endpoint
from trigflow import App, StoreUnavailable, opened as opened_module, trigger
from trigflow.runtime import records as r
from trigflow.runtime.health import supervise, watch
from trigflow.stores.memory import MemoryStore
from trigflow_github import github

pytestmark = pytest.mark.anyio
PATIENCE = 15  # seconds


class Faulty(MemoryStore):
    """A store whose methods raise what they are told to."""

    faults: dict[str, Exception]

    def __init__(self, *, store_id: str) -> None:
        super().__init__(store_id=store_id)
        self.faults = dict(FROM_THE_START)

    def check(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    async def beat(self, owner: str, *, now: int, listens: bool = False) -> None:
        self.check("engine's beat" if "." in owner else "process's beat")
        await super().beat(owner, now=now, listens=listens)

    async def next_due(self) -> int | None:
        self.check("next_due")
        return await super().next_due()

    async def put_wants(
        self,
        owner: str,
        wants: Sequence[r.Want],
        *,
        at: int,
        expects: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.check("put_wants")
        await super().put_wants(owner, wants, at=at, expects=expects)

    async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
        self.check("finish")
        return await super().finish(claim, finish, logs)

    async def accept(
        self, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted:
        self.check("accept")
        return await super().accept(delivery, then)


FROM_THE_START: dict[str, Exception] = {}
PARTS = (
    "app", "store", "engine", "engine beat", "engine poll", "wants", "connections", "activity", "alerts",
    "recovery", "strangers", "retention",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds, and the faulty store where an app keeps everything in memory."""
    FROM_THE_START.clear()
    monkeypatch.setattr("trigflow.opened.parts.MemoryStore", Faulty)
    monkeypatch.setattr(opened_module, "LONGEST_START", 0.05)
    monkeypatch.setattr(opened_module, "REMEMBER", 0.01)
    monkeypatch.setattr(supervise, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(supervise, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(supervise, "STEADY", 0.1)
    monkeypatch.setattr(watch, "LOOK", 0.02)
    monkeypatch.setattr(watch, "AGAIN", 0.01)


def make(done: list[str] | None = None, **settings: Any) -> App:
    @trigger(github.issues(repo="acme/web"), id="job")
    async def job(payload: dict[str, object]) -> None:
        if done is not None:
            done.append("done")

    return App([job], **{"store": "memory:", "register": "off", **settings})


def faults(app: App) -> dict[str, Exception]:
    store = app.opened.store
    assert isinstance(store, Faulty)
    return store.faults


async def probe(app: App, path: str) -> tuple[int, dict[str, Any]]:
    status, body = await call(app, path, method="GET")
    return status, json.loads(body)


async def deliver(app: App, event: str = "1") -> int:
    path, headers = await endpoint(app)
    headers = [(name, event if name == "X-GitHub-Delivery" else value) for name, value in headers]
    return (await call(app, path, BODY, headers=headers))[0]


async def until(found: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE):
        while not found():
            await anyio.sleep(0.005)


def state(app: App, name: str) -> str:
    return next((part.state for part in app.opened.parts() if part.name == name), "not there yet")


async def test_when_all_is_well_every_part_says_so() -> None:
    async with make() as app:
        await until(lambda: len(app.opened.parts()) == len(PARTS))
        for path in ("/healthz", "/readyz"):
            status, told = await probe(app, path)
            assert (status, told["status"], told["why"]) == (200, "ok", [])
            states = {name: part["state"] for name, part in told["parts"].items()}
            assert states == dict.fromkeys(PARTS, "running")


@pytest.mark.parametrize(
    ("fault", "part"),
    [("next_due", "engine poll"), ("engine's beat", "engine beat"), ("put_wants", "wants")],
)
async def test_a_loop_that_a_fault_ends_is_started_again_and_deliveries_run_meanwhile(
    fault: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigflow.engines.embedded.BEAT", 0.01)
    monkeypatch.setattr("trigflow.engines.embedded.POLL", 0.01)
    monkeypatch.setattr(supervise, "TRIES", 10_000)
    done: list[str] = []
    async with make(done) as app:
        faults(app)[fault] = KeyError("s3cret")
        await until(lambda: state(app, part) == "restarting")
        status, told = await probe(app, "/healthz")
        assert status == 200
        assert "KeyError" in told["parts"][part]["cause"] or told["parts"][part]["state"] == "running"
        assert "s3cret" not in json.dumps(told)
        assert await deliver(app) == 200
        await until(lambda: done)
        faults(app).clear()
        await anyio.sleep(supervise.STEADY)
        await until(lambda: state(app, part) == "running")


async def test_an_engine_that_is_being_restarted_refuses_no_delivery_and_runs_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervise, "TRIES", 10_000)
    FROM_THE_START["engine's beat"] = KeyError("x")
    done: list[str] = []
    async with make(done) as app:
        assert (await probe(app, "/healthz"))[0] == 200
        status, told = await probe(app, "/readyz")
        assert status == 503
        assert told["why"][0].startswith("engine: ")
        assert await deliver(app) == 200
        assert not done
        faults(app).clear()
        await until(lambda: done)
        await until(lambda: state(app, "engine") == "running")
        assert (await probe(app, "/readyz"))[0] == 200


async def test_an_engine_that_does_not_come_back_turns_health_red_and_deliveries_away() -> None:
    FROM_THE_START["engine's beat"] = KeyError("x")
    done: list[str] = []
    async with make(done) as app:
        await until(lambda: state(app, "engine") == "failed")
        assert (await probe(app, "/healthz"))[0] == 503
        assert (await probe(app, "/readyz"))[0] == 503
        assert await deliver(app) == 503  # at an endpoint that nobody has asked for yet
        (found,) = await app.opened.store.endpoints()
        assert await app.opened.routes.find(found.token) is not None
        assert await deliver(app) == 503
        assert await app.opened.store.deliveries(limit=1) == []
        faults(app).clear()
        await until(lambda: state(app, "engine") == "running")
        assert (await probe(app, "/healthz"))[0] == 200
        assert await deliver(app) == 200
        await until(lambda: done)


async def test_a_store_that_is_down_makes_the_app_unready_but_not_dead_and_comes_back() -> None:
    done: list[str] = []
    async with make(done) as app:
        full = StoreUnavailable("full: /var/secret/path")
        faults(app).update({"accept": full, "process's beat": full, "engine's beat": full})
        assert await deliver(app) == 503
        status, told = await probe(app, "/readyz")
        assert status == 503
        assert told["why"][0].startswith("store: ")
        assert "/var/secret" not in json.dumps(told)
        await anyio.sleep(0.05)
        assert (await probe(app, "/healthz"))[0] == 200
        faults(app).clear()
        await until(lambda: state(app, "store") == "running")
        assert (await probe(app, "/readyz"))[0] == 200
        assert await deliver(app) == 200
        await until(lambda: done)


async def test_a_store_that_nobody_uses_is_found_to_be_down() -> None:
    async with make() as app:
        faults(app)["process's beat"] = StoreUnavailable("read-only")
        await until(lambda: state(app, "store") == "restarting")


async def test_a_run_whose_end_can_not_be_kept_takes_no_engine_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trigflow.engines.embedded.STORE_DOWN", 0.01)
    done: list[str] = []
    async with make(done) as app:
        faults(app)["finish"] = KeyError("a bug of the store")
        assert await deliver(app) == 200
        await until(lambda: len(done) > 2)
        assert state(app, "engine") == "running"
        faults(app).clear()
        (run,) = await app.opened.store.runs(limit=9)
        ended: list[str] = []
        with anyio.fail_after(PATIENCE):
            while not ended:
                (run,) = await app.opened.store.runs(limit=9)
                ended = [run.state] if run.ended_at else []
                await anyio.sleep(0.005)
        assert ended == ["succeeded"]


async def test_an_app_that_drains_says_so_and_still_keeps_what_comes() -> None:
    async with make() as app:
        app.opened.drain()
        status, told = await probe(app, "/readyz")
        assert (status, told["why"]) == (503, ["app: it is shutting down"])
        assert (await probe(app, "/healthz"))[0] == 200
        assert await deliver(app) == 200


# --- several processes' worth of apps on one file


async def test_what_a_web_process_takes_a_worker_executes(tmp_path: Path) -> None:
    done: list[str] = []
    store = str(tmp_path / "t.db")
    async with make(done, store=store, executes=False) as web:
        await until(lambda: state(web, "store") == "running")
        assert state(web, "engine") == "off"
        assert (await probe(web, "/readyz"))[0] == 200
        assert await deliver(web) == 200
        (run,) = await web.opened.store.runs(limit=9)
        assert run.state == "queued"
        async with make(done, store=store):
            await until(lambda: done)
            assert await deliver(web, "2") == 200
            await until(lambda: len(done) == 2)


async def test_a_run_that_another_process_cancels_is_stopped_where_it_runs(tmp_path: Path) -> None:
    told: list[str] = []

    @trigger(github.issues(repo="acme/web"), id="job")
    async def job(payload: dict[str, object]) -> None:
        told.append("started")
        try:
            await anyio.sleep_forever()
        finally:
            told.append("stopped")

    def app() -> App:
        return App([job], store=str(tmp_path / "t.db"), register="off")

    async with app() as worker, app().inspect() as other:
        assert await deliver(worker) == 200
        await until(lambda: told)
        (run,) = await other.opened.store.runs(limit=9)
        assert await other.cancel(run.id)
        await until(lambda: told == ["started", "stopped"])
        (run,) = await other.opened.store.runs(limit=9)
        assert run.state == "cancelled"


async def test_a_replay_by_another_process_is_executed(tmp_path: Path) -> None:
    done: list[str] = []
    store = str(tmp_path / "t.db")
    async with make(done, store=store) as worker, make(store=store).inspect() as other:
        assert await deliver(worker) == 200
        await until(lambda: done)
        (delivery,) = await other.opened.store.deliveries(limit=9)
        assert len(await other.replay(delivery.id)) == 1
        await until(lambda: len(done) == 2)
