"""A run that takes its process down again and again is given up; those that only waited beside it are not."""

from __future__ import annotations

from pathlib import Path

import anyio

from tests.crash.processes import await_answers, await_rest, free_port, loading, serving, until
from tests.crash.verdict import answers_in, effects_in, kept_in

KILLS = 7  # more than the processes that may end with a run
FEW = {"TRIGFLOW_CONCURRENCY": "2", "CRASH_HOLD": "600"}


def test_a_run_that_never_began_is_not_given_up_because_processes_ended(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, env=FEW) as process:
        await_answers(port, process, tmp_path)
        with loading(tmp_path, port, env={"CRASH_KINDS": "slow"}) as stop:
            until(lambda: len(answers_in(tmp_path)) > 20, lambda: f"{len(answers_in(tmp_path))} answers")
            stop()
        process.kill()
    begun = {one.run for one in effects_in(tmp_path)}
    for _ in range(KILLS):
        with serving(tmp_path, port, env=FEW) as process:
            await_answers(port, process, tmp_path)
            process.kill()
    begun |= {one.run for one in effects_in(tmp_path)}
    with serving(tmp_path, port, env={"CRASH_HOLD": "0.01"}) as process:
        await_answers(port, process, tmp_path)
        await_rest(port)
        process.terminate()
        process.wait(30)
    kept = anyio.run(lambda: kept_in(tmp_path / "s.db", details=True))
    waited = [run for run in kept.runs if run.id not in begun]
    assert waited
    assert [(run.id, run.error) for run in waited if run.state != "succeeded"] == []
