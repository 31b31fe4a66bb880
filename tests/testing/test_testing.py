"""The testing kit, used as a user would."""

from datetime import timedelta

import pytest

from trigflow import IO, App, Retry, SetupError, trigger
from trigflow.testing import deliver, run_job
from trigflow_github import GitHubClient, github
from trigflow_github.payloads import Issues

pytestmark = pytest.mark.anyio
acme = github.issues(repo="acme/web", actions=["opened"])
OPENED = github.issues.specification.examples()["opened"].read()


async def shout(text: str) -> str:
    return text.upper()


@trigger(acme, id="job")
async def job(payload: Issues, io: IO) -> str:
    io.log("started")
    return await io.task("shout", shout, payload.issue.title)


@trigger(acme, id="labels", retry=Retry(times=2, first=timedelta(hours=1)))
async def labels(payload: Issues, hub: GitHubClient, io: IO) -> list[str]:
    return await io.task("label", hub.add_labels, "acme/web", payload.issue.number, ["bug"])


async def test_run_job_runs_a_job_with_its_tasks() -> None:
    ran = await run_job(job, OPENED)
    assert (ran.state, ran.attempts, ran.log) == ("succeeded", 1, ("started",))
    assert ran.result == ran.tasks["shout"] == "SPELLING ERROR IN THE README FILE"


async def test_run_job_takes_results_of_tasks_instead_of_calling_them() -> None:
    assert (await run_job(job, OPENED, tasks={"shout": "given"})).result == "given"
    with pytest.raises(SetupError, match="clients="):
        await run_job(labels, OPENED, tasks={"label": ["bug"]})


async def test_run_job_retries_without_waiting() -> None:
    class Flaky:
        calls = 0

        async def add_labels(self, repo: str, number: int, labels: list[str]) -> list[str]:
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("not yet")
            return labels

    ran = await run_job(labels, OPENED, clients={GitHubClient: Flaky()})
    assert (ran.state, ran.attempts, ran.result) == ("succeeded", 3, ["bug"])


async def test_run_job_says_why_a_job_failed() -> None:
    ran = await run_job(job, {"issue": {"number": "one"}})
    assert ran.state == "failed"
    assert ran.error is not None
    assert ran.error.startswith("PayloadError")


async def test_run_job_wants_a_job() -> None:
    with pytest.raises(SetupError, match="not a job"):
        await run_job(shout, {})


async def test_deliver_goes_the_whole_way_signed_by_the_source() -> None:
    async with App([job], store="memory:", register="off") as app:
        done = await deliver(app, github.issues, example="opened", id="guid-1")
        assert (done.status, done.outcome, [run.state for run in done.runs]) == (
            200,
            "accepted",
            ["succeeded"],
        )
        again = await deliver(app, acme, id="guid-1")
        assert (again.outcome, again.runs) == ("duplicate", ())


async def test_deliver_says_why_a_job_did_not_run() -> None:
    async with App([job], store="memory:", register="off") as app:
        done = await deliver(app, github.issues, example="edited")
        assert (done.outcome, done.runs) == ("accepted", ())
        assert "opened" in done.missed["job"]
        done = await deliver(app, github.issues, payload={"action": "opened", "issue": 5})
        assert [run.state for run in done.runs] == ["failed"]


async def test_deliver_names_what_is_not_there() -> None:
    async with App([job], store="memory:", register="off") as app:
        with pytest.raises(SetupError, match="opened"):
            await deliver(app, github.issues, example="nowhere")
    async with App(store="memory:") as empty:
        with pytest.raises(SetupError, match="listens"):
            await deliver(empty, github.issues)
