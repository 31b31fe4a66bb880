"""What probes are answered."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given, strategies as st

from trigflow.runtime.health.supervise import Part, State
from trigflow.web.health import health_answer

NAMES = ("app", "store", "engine", "engine beat", "engine poll", "wants", "registration")
STATES: tuple[State, ...] = ("running", "restarting", "failed", "off")


def answered(path: str, **states: State) -> int:
    named = {name.replace("_", " "): state for name, state in states.items()}
    return health_answer(path, [Part(name, named.get(name, "running"), 0.0) for name in NAMES]).status


@pytest.mark.parametrize(("name", "state"), list(product(NAMES, STATES)))
def test_alive_is_whoever_may_recover_and_ready_whoever_keeps_and_executes(name: str, state: State) -> None:
    vital = name not in ("wants", "registration")
    needed = name in ("app", "store", "engine")
    alive = not (vital and state == "failed")
    ready = not (needed and state in ("restarting", "failed"))
    states = {name: state}
    assert answered("/healthz", **states) == (200 if alive else 503)
    assert answered("/readyz", **states) == (200 if ready else 503)


@given(
    st.lists(st.builds(Part, st.sampled_from(NAMES), st.sampled_from(STATES), st.floats(0, 4e9), st.text()))
)
def test_every_part_is_told_by_name_and_a_refusal_says_why(parts: list[Part]) -> None:
    for path in ("/healthz", "/readyz"):
        answer = health_answer(path, parts)
        told = json.loads(answer.body)
        assert set(told["parts"]) == {part.name for part in parts}
        assert (told["status"] == "ok") is (answer.status == 200) is (told["why"] == [])
        assert ("retry-after" in dict(answer.headers)) is (answer.status == 503)
