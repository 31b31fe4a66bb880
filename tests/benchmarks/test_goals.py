"""Goals are judged by the figures of one run, and a figure that is not there is not met nor missed."""

from typing import Any

from hypothesis import given, strategies as st

from benchmarks.goals import Judged, judge

rates = st.floats(0.01, 1e5)


def run_of(loads: dict[str, dict[str, dict[str, float]]], **micro: dict[str, float]) -> dict[str, Any]:
    return {
        "loads": {connections: {"medians": medians} for connections, medians in loads.items()},
        "micro": {"figures": micro},
    }


def goal(run: dict[str, Any], start: str) -> Judged:
    (found,) = [one for one in judge(run) if one.name.startswith(start)]
    return found


@given(rates, rates)
def test_celery_has_to_be_beaten_fifteen_times(ours: float, theirs: float) -> None:
    run = run_of({"32": {"trigflow, job with one task": {"done": ours}, "Celery + Redis": {"done": theirs}}})
    assert goal(run, "done, against Celery").met is (ours / theirs >= 15)


@given(st.floats(0.01, 100))
def test_at_one_connection_an_answer_may_take_3_ms(took: float) -> None:
    run = run_of({"1": {"trigflow, job with one task": {"p99_ms": took}}})
    assert goal(run, "ack, 1 connection, p99").met is (took <= 3)


@given(st.floats(0.01, 100))
def test_a_match_among_ten_thousand_jobs_may_take_5_us(cost: float) -> None:
    run = run_of({}, matching={"value": cost, "growth": 1.0})
    assert goal(run, "an event matched among").met is (cost <= 5)


def test_the_other_goals_are_those_agreed_on() -> None:
    wanted = {(one.name, one.better, one.bound) for one in judge({})}
    assert {
        ("done, against FastAPI by hand, which keeps nothing", "more", 1.4),
        ("done, mounted in FastAPI, against FastAPI by hand", "more", 1.0),
        ("done, against gidgethub on aiohttp, which keeps nothing", "more", 1.0),
        ("done, against FastAPI + INSERT per request", "more", 3.0),
        ("done, against Celery + Redis", "more", 15.0),
        ("done, against DBOS + PostgreSQL", "more", 25.0),
        ("CPU per event", "less", 160.0),
        ("ack, 1 connection, p50", "less", 0.7),
        ("ack, 32 connections, p99", "less", 12.0),
        ("on disk, per event", "less", 4.0),
        ("12 kB of JSON into attrs classes", "less", 25.0),
        ("memory when idle", "less", 50.0),
        ("import, over bare Python", "less", 150.0),
    } <= wanted


def test_without_figures_nothing_is_met_and_nothing_missed() -> None:
    assert {one.met for one in judge({})} == {None}


def test_a_ratio_needs_both_sides() -> None:
    run = run_of({"32": {"trigflow, job with one task": {"done": 1_000.0}}})
    assert goal(run, "done, against Celery").value is None


def test_ratios_are_taken_at_32_connections() -> None:
    ours, theirs = "trigflow, job with one task", "FastAPI by hand"
    loads = {
        "1": {ours: {"done": 1.0}, theirs: {"done": 1.0}},
        "32": {ours: {"done": 300.0}, theirs: {"done": 100.0}},
    }
    assert goal(run_of(loads), "done, against FastAPI by hand").value == 3.0
