"""Events by name: where GitHub sends each, and what a job gets of one without a class."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trigflow import App, SetupError, trigger
from trigflow_github import GitHub, github

KINDS: dict[str, list[str]] = json.loads((Path(__file__).parent / "vectors/events_kinds.json").read_text())
AT = {
    "repository": GitHub(repo="acme/web"),
    "organization": GitHub(org="acme"),
    "app": GitHub(app=True),
}


@given(st.sampled_from(list(KINDS)), st.sampled_from(list(AT)))
def test_an_event_can_be_had_where_github_sends_it(name: str, kind: str) -> None:
    if kind not in KINDS[name]:
        with pytest.raises(SetupError, match=name):
            AT[kind].other(name)
    else:
        wanted = AT[kind].other(name).specification
        # A ping comes to every webhook and can't be asked for.
        assert (wanted.name, wanted.registers) == (name, () if name == "ping" else (name,))


def test_an_event_that_is_newer_than_this_is_left_to_github() -> None:
    assert github.other("quantum_leap", repo="acme/web").specification.name == "quantum_leap"


def test_its_arguments_mean_what_they_mean_elsewhere() -> None:
    other = github.other("label", repo="acme/web", actions=["created"])
    assert (other.filter, other.params) == ({"action": ["created"]}, github.push(repo="acme/web").params)
    assert github.other("fork", repo="acme/web").filter is None


def test_a_job_listens_to_it_like_to_any_other() -> None:
    @trigger(github.other("fork", repo="acme/web"), github.other("watch", repo="acme/web"))
    async def job(payload: dict[str, Any]) -> str:
        return str(payload["forkee"])

    assert App([job]) is not None


@pytest.mark.parametrize("name", ["membership", "installation", "sponsorship"])
def test_the_error_says_where_it_is_sent(name: str) -> None:
    with pytest.raises(SetupError, match=r"GitHub Apps only, not of repositories|marketplaces alone"):
        github.other(name, repo="acme/web")
