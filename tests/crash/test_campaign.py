"""kill -9 under load, a few rounds; `nox -s crash -- --rounds 200` runs many."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import attrs
import pytest

from tests.crash.campaign import campaign
from tests.crash.processes import await_answers, await_rest, free_port, loading, serving, until
from tests.crash.verdict import Answer, Effect, Kept, answers_in, effects_in, kept_in, missing, problems
from trigflow.runtime import records as r

SEED = int(os.environ.get("CRASH_SEED", "4711"))


def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    figures = campaign(6, SEED, keep=tmp_path)
    assert figures.problems == []
    assert figures.rounds == 6
    # The campaign itself did what it is for.
    assert figures.acknowledged
    assert figures.redeliveries_acknowledged
    assert figures.left_over_runs


# --- the verdict finds what it is there to find


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Answer], list[Effect], Kept]:
    """What a series without any crash leaves."""
    folder, port = tmp_path_factory.mktemp("peaceful"), free_port()
    with serving(folder, port) as process, loading(folder, port) as stop:
        await_answers(port, process, folder)
        until(
            lambda: {"chain", "flaky", "broken", "comment"} <= {one.kind for one in answers_in(folder)},
            (folder / "load.log").read_text,
        )
        stop()
        await_rest(port)
    return answers_in(folder), effects_in(folder), anyio.run(lambda: kept_in(folder / "s.db", details=True))


Peaceful = tuple[list[Answer], list[Effect], Kept]


def test_without_a_crash_there_is_nothing_to_find(peaceful: Peaceful) -> None:
    assert problems(*peaceful) == []


def test_a_lost_delivery_is_found(peaceful: Peaceful) -> None:
    answers, _, kept = peaceful
    tag = next(answer.tag for answer in answers if answer.acknowledged)
    fewer = {number: row for number, row in kept.deliveries.items() if number != tag}
    assert len(missing(answers, attrs.evolve(kept, deliveries=fewer))) == 1
    assert missing([attrs.evolve(answers[0], status=200, tag=1_000_000)], kept)


def test_a_lost_event_a_lost_run_and_one_too_many_are_found(peaceful: Peaceful) -> None:
    answers, effects, kept = peaceful
    assert any(
        "is lost" in one for one in problems(answers, effects, attrs.evolve(kept, events=kept.events[1:]))
    )
    fewer = attrs.evolve(kept, runs=kept.runs[1:])
    assert any("started" in one for one in problems(answers, effects, fewer))
    more = attrs.evolve(kept, runs=[*kept.runs, kept.runs[0]])
    assert any("started" in one for one in problems(answers, effects, more))
    twice = attrs.evolve(kept, events=[*kept.events, kept.events[0]])
    assert any("there 2 times" in one for one in problems(answers, effects, twice))


def test_a_run_that_has_not_ended_is_found(peaceful: Peaceful) -> None:
    answers, effects, kept = peaceful
    running = [attrs.evolve(kept.runs[0], state="running"), *kept.runs[1:]]
    assert any("has not ended" in one for one in problems(answers, effects, attrs.evolve(kept, runs=running)))
    assert any("still due" in one for one in problems(answers, effects, attrs.evolve(kept, next_due=1)))


def test_a_task_that_was_done_again_or_recorded_wrongly_is_found(peaceful: Peaceful) -> None:
    answers, effects, kept = peaceful
    again = [*effects, effects[0]]
    assert any("2 times in one process" in one for one in problems(answers, again, kept))
    later = [*effects, attrs.evolve(effects[0], life="another", said="something newer")]
    assert any("not what it did last" in one for one in problems(answers, later, kept))
    (run, detail) = next((run, one) for run, one in kept.details.items() if one.row.job == "chain")
    (one, *others) = detail.tasks
    result = json.dumps("another.result<").encode()
    other = r.KeptTask(one.key, one.state, one.attempt, result, None, one.started_at, one.ended_at)
    changed = attrs.evolve(kept, details={**kept.details, run: attrs.evolve(detail, tasks=(other, *others))})
    assert any("went on with another result" in found for found in problems(answers, effects, changed))


def test_an_answer_that_nobody_may_give_is_found(peaceful: Peaceful) -> None:
    answers, effects, kept = peaceful
    for status, text in ((500, "answered 500"), (503, "without Retry-After")):
        wrong = [*answers, attrs.evolve(answers[0], status=status, tag=1_000_000)]
        assert any(text in one for one in problems(wrong, effects, kept))
