"""Doing a delivery again because a person asked for it."""

import pytest

from trigflow import IO, App, Delivery, TrigflowError, trigger
from trigflow.testing import deliver
from trigflow_github import github
from trigflow_github.payloads import Issues

pytestmark = pytest.mark.anyio
acme = github.issues(repo="acme/web", actions=["opened"])


def app_with(*seen: list[object], more: bool = False) -> App:
    (runs,) = seen

    @trigger(acme, id="first")
    async def first(payload: Issues, delivery: Delivery[object, object], io: IO) -> None:
        runs.append(
            (
                io.run.replay_of,
                delivery.headers.get("x-github-event"),
                delivery.headers.get("x-hub-signature-256"),
            )
        )

    @trigger(acme, id="second")
    async def second(payload: Issues) -> None:
        runs.append("second")

    return App([first, second] if more else [first], store="memory:", register="off")


async def test_a_replay_starts_the_job_again_for_the_same_event() -> None:
    seen: list[object] = []
    async with app_with(seen) as app:
        done = await deliver(app, acme)
        (run,) = await app.replay(done.id)
        await settled(app, 2)
        (original,) = [row.id for row in await app.opened.store.runs(limit=5) if row.id != run]
        # What a job sees of the request has its credentials taken out.
        assert seen == [(None, "issues", "[redacted]"), (original, "issues", "[redacted]")]
        again = await deliver(app, acme, id="another")
        assert again.outcome == "accepted"


async def test_a_replay_starts_jobs_that_came_later_and_can_be_narrowed_to_one() -> None:
    seen: list[object] = []
    async with app_with(seen, more=True) as app:
        done = await deliver(app, acme)
        assert len(await app.replay(done.id)) == 2
        assert len(await app.replay(done.id, job="second")) == 1
        assert await app.replay(done.id, job="nobody") == []


async def test_what_was_rejected_or_is_unknown_can_not_be_replayed() -> None:
    seen: list[object] = []
    async with app_with(seen) as app:
        with pytest.raises(TrigflowError, match="there is no delivery"):
            await app.replay("dlv_nope")
        endpoint = (await app.opened.store.endpoints())[0]
        from trigflow import Headers, Request

        await app.opened.receive(endpoint.token, Request("POST", "https://h/", Headers(), b"{}"))
        (row,) = await app.opened.store.deliveries(limit=1)
        with pytest.raises(TrigflowError, match="rejected"):
            await app.replay(row.id)


async def settled(app: App, runs: int) -> None:
    import anyio

    with anyio.fail_after(5):
        while [row.state for row in await app.opened.store.runs(limit=9)].count("succeeded") < runs:
            await anyio.sleep(0.005)
