"""A webhook that its provider has switched off, where it can't or may not be switched on again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.providers import Client, Model, source_of
from trigflow import App, Integration, event, trigger
from trigflow.runtime import records as r
from trigflow.sources.credentials import Credentials
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio


def app_of(model: Model, store: Path, clock: VirtualClock) -> App:
    source = source_of(returns_secret=False, lease=None)

    class Modelled(Integration, id="model"):
        """The provider."""

        def client(self, credentials: Credentials) -> Client:
            return Client(model)

        @event("thing", dict[str, object], source=source)
        def thing(self, *, place: str) -> str:
            """Something happened."""
            return place

    modelled = Modelled()

    @trigger(modelled.thing(place="here"))
    async def job(payload: dict[str, object]) -> None: ...

    return App(
        [job], store=str(store), clock=clock, register="off", url="https://h.example.com",
        connections={modelled: "token"},
    )  # fmt: skip


async def subscription_of(app: App) -> r.Subscription:
    ((s,),) = [endpoint.subscriptions for endpoint in await app.opened.store.endpoints()]
    return s


async def test_one_that_may_not_be_switched_on_is_disabled_and_told_until_it_is_on(tmp_path: Path) -> None:
    clock = VirtualClock()
    model = Model(clock.now)
    async with app_of(model, tmp_path / "t.db", clock).inspect() as app:
        await app.apply()
        (hook,) = model.ours("here")
        hook.active, model.refuses = False, "update"
        for _ in range(3):
            await app.apply()
        s = await subscription_of(app)
        assert s.state == "disabled"
        assert s.cause.startswith("it was switched off at the provider, and could not be switched on: ")
        assert "403 not allowed" in s.cause
        (alert,) = await app.opened.store.alerts()
        assert alert.cause.startswith("disabled: it was switched off")
        hook.active = True  # a person does it
        await app.apply()
        assert (await subscription_of(app)).state == "active"
        assert not await app.opened.store.alerts()


async def test_one_that_may_be_switched_on_is_so_by_the_next_look(tmp_path: Path) -> None:
    clock = VirtualClock()
    model = Model(clock.now)
    async with app_of(model, tmp_path / "t.db", clock).inspect() as app:
        await app.apply()
        (hook,) = model.ours("here")
        hook.active = False
        (applied,) = await app.apply()
        assert applied.step.is_off
        assert hook.active
        assert (await subscription_of(app)).state == "active"


async def test_where_only_plans_are_made_it_is_disabled_until_it_is_on_and_nothing_is_done(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    model = Model(clock.now)
    async with app_of(model, tmp_path / "t.db", clock).inspect() as app:
        await app.apply()
        (hook,) = model.ours("here")
        hook.active, writes = False, model.writes
        app.opened.registering._heed = app.opened.upkeep.heed  # pyright: ignore[reportPrivateUsage]
        show = app.opened.registering._show_plan  # pyright: ignore[reportPrivateUsage]
        await show()
        s = await subscription_of(app)
        assert (s.state, s.cause) == (
            "disabled",
            'it was switched off at the provider, and register is "plan"',
        )
        model.troubles = ["refuse"]  # the provider does not answer: nothing is known
        await show()
        assert (await subscription_of(app)).state == "disabled"
        assert len(await app.opened.store.alerts()) == 1
        hook.active = True
        await show()
        assert (await subscription_of(app)).state == "active"
        assert not await app.opened.store.alerts()
        assert model.writes == writes


async def test_what_comes_after_one_was_disabled_makes_it_active(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with app_of(Model(clock.now), tmp_path / "t.db", clock).inspect() as app:
        await app.apply()
        s = await subscription_of(app)
        await app.opened.upkeep.heed(s.identity, is_off=True)
        assert (await subscription_of(app)).state == "disabled"
        now = int(clock.now() * 1000)
        for at, state in [(now - 1, "disabled"), (now + 1, "active")]:
            await app.opened.store.note_activity([r.Activity(s.id, at, at, 1, 0, s.endpoint_id)])
            assert (await subscription_of(app)).state == state
