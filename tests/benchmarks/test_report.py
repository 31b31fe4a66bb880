"""The README says what the JSON files say, and a report says what a run found."""

from pathlib import Path
from typing import Any

import pytest

import benchmarks
from benchmarks import report

HERE = Path(benchmarks.__file__).parent
RESULTS = HERE / "results"

MACHINE = {"processor": "a processor", "cores": 2, "system": "Linux 6", "file_system": "ext4", "python": "3"}
FIGURES = {
    "accepted": 2_000.0, "done": 1_234.4, "cpu_us": 99.6, "p50_ms": 1.234, "p99_ms": 5.678, "rss_mb": 44.0,
    "pss_mb": 40.0, "errors": 0.0, "lost": 0.0,
}  # fmt: skip


def run_of(*, rounds: int = 5, seconds: int = 4, **figures: float) -> dict[str, Any]:
    one = FIGURES | figures
    return {
        "when": "2026-01-02",
        "machine": MACHINE,
        "settings": {"rounds": rounds, "seconds": seconds},
        "versions": {"trigflow": "1"},
        "services": {"Redis": "redis-server --appendonly yes"},
        "contenders": [{"name": "an app", "keeps": "nothing", "settings": "its defaults"}],
        "skipped": [{"name": "another", "why": "redis-server is not installed", "failed": False}],
        "loads": {"32": {"medians": {"an app": one}, "rounds": {"an app": [one]}}},
    }


def test_the_readme_agrees_with_the_latest_results() -> None:
    made = report.render(report.read(RESULTS / "latest.json"), report.read(RESULTS / "soak.json"))
    assert report.shown((HERE / "README.md").read_text()) == made
    assert (RESULTS / "latest.md").read_text() == made


def test_the_goals_in_the_latest_results_are_those_in_the_report() -> None:
    latest = report.read(RESULTS / "latest.json")
    made = (RESULTS / "latest.md").read_text().partition("### Goals")[2].partition("###")[0]
    words = {True: "yes", False: "**no**", None: "not measured"}
    for goal in latest["goals"]:
        (row,) = [line for line in made.splitlines() if line.startswith(f"| {goal['name']} |")]
        assert row.endswith(f"| {words[goal['met']]} |")


def test_the_pictures_of_the_readme_are_there() -> None:
    shown = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("![")]
    assert shown
    for line in shown:
        assert (HERE / line.partition("(")[2].rstrip(")")).is_file(), line


def test_figures_stand_under_their_heads() -> None:
    assert "| an app | 2,000 | 1,234 | 100 | 1.23 | 5.68 | 44 | 40 |  |" in report.render(run_of())


def test_what_was_left_out_is_named_with_its_cause() -> None:
    assert "Left out: another, because redis-server is not installed." in report.render(run_of())


@pytest.mark.parametrize(("rounds", "seconds"), [(1, 4), (5, 1)])
def test_a_trial_says_that_it_is_none_of_a_measurement(rounds: int, seconds: int) -> None:
    assert "A trial of the benchmark" in report.render(run_of(rounds=rounds, seconds=seconds))
    assert "A trial of the benchmark" not in report.render(run_of())


def test_lost_work_is_said() -> None:
    assert "an app: 0 deliveries not answered 2xx, 7 answered 2xx and not done." in report.render(
        run_of(lost=7.0)
    )
    assert "not done" not in report.render(run_of())


def test_a_report_takes_the_place_of_the_one_before() -> None:
    readme = f"before\n{report.BEGIN}\n\nold\n{report.END}\nafter\n"
    once = report.placed(readme, "new\n")
    assert report.shown(once) == "new\n"
    assert report.placed(once, "new\n") == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="between them"):
        report.placed("no marks", "new")
