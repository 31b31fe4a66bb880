"""The trigger index, against asking every trigger."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from tests.core.filter_strategies import filters, json_values, one_type, payloads_near
from trigflow.core.filters import Matcher, compile_filter
from trigflow.core.matching import Index

Entries = list[tuple[str, dict[str, Any]]]

topics = st.sampled_from(["push", "push", "push", "issues"])
# Alike on purpose, so that many share a value and groups are divided more than once.
alike: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from([["opened"], ["opened"], ["closed"], ["opened", "closed"]]),
        "issue": st.fixed_dictionaries({"user": st.fixed_dictionaries({"id": one_type()})}),
        "a": st.sampled_from([[1], [True], [2, None], {"b": [1]}]),
        "n": st.fixed_dictionaries({"$gt": st.integers(0, 3)}),
    },
)


crowded: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"action": st.sampled_from([["opened"], ["closed"]]), "a": st.sampled_from([[1], [2], {"b": [1]}])}
)


@st.composite
def events(draw: Any, written: st.SearchStrategy[dict[str, Any]], *sizes: int) -> tuple[Entries, str, Any]:
    entries = draw(st.lists(st.tuples(topics, written), min_size=sizes[0], max_size=sizes[1]))
    topic = draw(topics)
    near = [payloads_near(one) for _, one in draw(st.permutations(entries))[:2]]
    return entries, topic, draw(st.one_of(*near, json_values()))


# Most with more entries than an index asks one by one.
some_events = events(filters(depth=1), 0, 12) | events(alike, 12, 30) | events(crowded, 20, 30)


def indexed(entries: Entries) -> tuple[list[tuple[str, Matcher, int]], Index[int]]:
    compiled = [
        (topic, compile_filter(one, where="test"), number) for number, (topic, one) in enumerate(entries)
    ]
    return compiled, Index(compiled)


@given(some_events)
def test_the_index_finds_what_asking_everyone_finds_in_the_order_given(
    case: tuple[Entries, str, Any],
) -> None:
    entries, topic, payload = case
    compiled, index = indexed(entries)
    expected = [number for at, matcher, number in compiled if at == topic and matcher.matches(payload)]
    assert list(index.match(topic, payload)) == expected


@given(some_events, st.integers(0, 5))
def test_near_tells_of_entries_that_do_not_match_and_why(case: tuple[Entries, str, Any], limit: int) -> None:
    entries, topic, payload = case
    compiled, index = indexed(entries)
    why = {
        number: str(mismatch)
        for at, matcher, number in compiled
        if at == topic and (mismatch := matcher.explain(payload)) is not None
    }
    told = index.near(topic, payload, limit=limit)
    assert len(told) == len({number for number, _ in told}) == min(limit, len(why))
    assert all(str(mismatch) == why[number] for number, mismatch in told)


@given(events(alike, 0, 20))
def test_a_topic_has_as_many_entries_as_were_given(case: tuple[Entries, str, Any]) -> None:
    entries, topic, _ = case
    _, index = indexed(entries)
    assert index.count(topic) == sum(at == topic for at, _ in entries)
    assert index.count("unheard of") == 0


def test_an_unknown_topic_has_no_matches() -> None:
    _, index = indexed([("push", {})])
    assert list(index.match("issues", {})) == []
    assert list(index.near("issues", {}, limit=1)) == []


def test_near_tells_first_of_those_that_met_what_is_particular_about_them() -> None:
    _, index = indexed(
        [*(("push", {"user": [f"u{n}"]}) for n in range(20)), ("push", {"user": ["me"], "n": [2]})]
    )
    [(number, mismatch)] = index.near("push", {"user": "me", "n": 1}, limit=1)
    assert (number, str(mismatch)) == (20, "n: expected one of [2], saw 1")


def asked(entries: Entries, payload: object) -> int:
    return len(indexed(entries)[1].candidates("push", payload))


def test_filters_that_share_a_value_are_told_apart_by_another() -> None:
    entries: Entries = [
        ("push", {"action": ["opened"], "issue": {"user": {"login": [f"u{n}"]}}}) for n in range(2_000)
    ]
    assert asked(entries, {"action": "opened", "issue": {"user": {"login": "u7"}}}) == 1
    assert asked(entries, {"action": "opened", "issue": {"user": {"login": "me"}}}) == 0


def test_filters_that_only_a_pair_of_values_tells_apart_are_told_apart() -> None:
    entries: Entries = [("push", {"repo": [n // 50], "label": [n % 50]}) for n in range(2_500)]
    assert asked(entries, {"repo": 7, "label": 8}) == 1


def test_filters_on_as_many_paths_are_told_apart() -> None:
    entries: Entries = [("push", {f"key{n}": ["x"]}) for n in range(2_000)]
    assert asked(entries, {"key7": "x", "key8": "y"}) == 1


def test_filters_that_ask_for_no_value_are_found_among_those_that_do() -> None:
    entries: Entries = [
        ("push", {"n": {"$gt": n}} if n % 2 else {"n": {"$gt": n}, "a": ["x"]}) for n in range(40)
    ]
    _, index = indexed(entries)
    assert list(index.match("push", {"n": 4, "a": "x"})) == [0, 1, 2, 3]
    assert list(index.match("push", {"n": 4})) == [1, 3]


def test_an_array_on_the_way_loses_no_match_and_finds_none_twice() -> None:
    entries: Entries = [("push", {"labels": {"name": [f"l{n}", "any"]}}) for n in range(50)]
    _, index = indexed(entries)
    payload = {"labels": [{"name": "l9"}, {"name": "other"}, {"name": "l9"}, 5, {"name": "l3"}]}
    assert list(index.match("push", payload)) == [3, 9]
    assert list(index.match("push", {"labels": [{"name": "any"}, {"name": "l3"}]})) == list(range(50))
    assert list(index.match("push", [payload])) == [3, 9]
