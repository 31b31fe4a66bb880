"""What a filter says of a view is what it says of the whole payload."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, strategies as st

from tests.core.filter_strategies import PLAIN_KEYS, filters, json_values, payloads_near
from trigflow.core.filter_values import WIDEST, read_together
from trigflow.core.filters import compile_filter
from trigflow.core.matching import Index
from trigflow.core.views import view_of


def as_text(value: Any) -> bytes | None:
    """JSON that a sender can write and a decoder can read; None where there is none."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        view_of(None)(text)
    except ValueError:
        return None
    return text


near = filters().flatmap(lambda one: st.tuples(st.just(one), payloads_near(one) | json_values()))


@given(near)
def test_a_filter_says_of_a_view_what_it_says_of_the_whole(case: tuple[dict[str, Any], Any]) -> None:
    written, payload = case
    text = as_text(payload)
    if text is None:
        return
    matcher = compile_filter(written, where="test")
    whole, seen = view_of(None)(text), view_of(matcher.reads)(text)
    assert matcher.matches(seen) == matcher.matches(whole)
    why, seen_why = matcher.explain(whole), matcher.explain(seen)
    assert (why and (why.path, why.expected)) == (seen_why and (seen_why.path, seen_why.expected))


@given(st.lists(filters(), max_size=6), json_values())
def test_a_topic_has_one_view_for_all_its_filters(several: list[dict[str, Any]], payload: Any) -> None:
    text = as_text(payload)
    if text is None:
        return
    index = Index(
        ("topic", compile_filter(written, where="test"), number) for number, written in enumerate(several)
    )
    assert list(index.match("topic", index.view("topic")(text))) == list(
        index.match("topic", view_of(None)(text))
    )


def test_nothing_is_decoded_that_no_filter_reads() -> None:
    matcher = compile_filter(
        {"$and": [{"a": ["x"], "b": {"c": [{"$gt": 1}]}}, {"$or": [{"d": [1]}, {"b": {"e": ["y"]}}]}]},
        where="test",
    )
    text = b'{"a":"x","z":{"a":1},"b":{"c":2,"z":[1,2,3],"e":[{"f":1}]},"d":null}'
    assert view_of(matcher.reads)(text) == {"a": "x", "b": {"c": 2, "e": [{"f": 1}]}, "d": None}


def test_a_topic_without_filters_reads_nothing() -> None:
    assert Index[int]([("topic", compile_filter(None, where="test"), 1)]).view("topic")(b'{"a":1}') == {}
    assert Index[int]([]).view("topic")(b'{"a":1}') == {}


@given(st.sets(st.text(max_size=4), max_size=WIDEST + 3), st.sampled_from(PLAIN_KEYS))
def test_too_many_keys_are_decoded_as_a_whole(keys: set[str], key: str) -> None:
    together = read_together(dict.fromkeys(keys), {key: {}})
    assert (together is None) == (len(keys | {key}) > WIDEST)
