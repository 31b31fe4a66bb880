"""Payload classes against real payloads, and the samples themselves."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import attrs
import cattrs.preconf.msgspec
import msgspec
import pytest
from hypothesis import given, strategies as st

from trigflow_github import GitHub, payloads
from trigflow_github.catalogue import EVENTS, actions_of
from trigflow_github.samples import samples

VECTORS = Path(__file__).parent / "vectors"
CLASSES: dict[str, Any] = {name: one.payload for name, one in GitHub.specifications()}
EXAMPLES = [(event, name) for event in CLASSES if EVENTS[event].examples for name in samples(event)]
every_example = pytest.mark.parametrize(("event", "name"), EXAMPLES)
converter = cattrs.preconf.msgspec.make_converter()


def leaves_agree(value: Any, said: Any, path: str = "$") -> None:
    """Compare a structured value with the JSON that it came from, field by field."""
    kind = cast("Any", type(value))
    if attrs.has(kind):
        for field in (field for field in attrs.fields(kind) if field.name in said):
            leaves_agree(getattr(value, field.name), said[field.name], f"{path}.{field.name}")
    elif kind is tuple:
        assert len(value) == len(said), path
        for at, (item, expected) in enumerate(zip(value, said, strict=True)):
            leaves_agree(item, expected, f"{path}[{at}]")
    elif isinstance(value, datetime):
        assert value == datetime.fromisoformat(said), path
    else:
        assert value == said, path


@every_example
def test_a_structured_payload_says_what_its_json_says(event: str, name: str) -> None:
    text = samples(event)[name].read()
    leaves_agree(msgspec.json.decode(text, type=CLASSES[event]), json.loads(text))


@every_example
def test_msgspec_and_cattrs_agree(event: str, name: str) -> None:
    text = samples(event)[name].read()
    structured = converter.structure(json.loads(text), CLASSES[event])
    assert structured == msgspec.json.decode(text, type=CLASSES[event])


def items(said: Any) -> list[Any]:
    return said if cast("Any", type(said)) is list else []


def optional_places(kind: Any, said: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where in a JSON value a key stands that its class can do without."""
    if not attrs.has(kind) or not isinstance(said, dict):
        return []
    found: list[tuple[Any, ...]] = []
    hints = get_type_hints(kind)
    for field in (field for field in attrs.fields(kind) if field.name in said):
        if field.default is not attrs.NOTHING:
            found.append((*path, field.name))
        for inner in (hints[field.name], *get_args(hints[field.name])):
            found += optional_places(inner, said[field.name], (*path, field.name))
            for at, item in enumerate(items(said[field.name])):
                found += optional_places(inner, item, (*path, field.name, at))
    return found


@given(st.sampled_from(EXAMPLES), st.data())
def test_an_optional_key_may_be_missing(example: tuple[str, str], data: st.DataObject) -> None:
    event, name = example
    said: Any = json.loads(samples(event)[name].read())
    path = data.draw(st.sampled_from(optional_places(CLASSES[event], said)))
    holder = said
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    msgspec.json.decode(json.dumps(said), type=CLASSES[event])


@given(st.sampled_from(EXAMPLES), st.text(min_size=1), st.none() | st.integers() | st.text())
def test_keys_that_github_may_add_are_ignored(example: tuple[str, str], key: str, value: object) -> None:
    event, name = example
    text = samples(event)[name].read()
    said: Any = json.loads(text)
    structured: Any = msgspec.json.decode(text, type=CLASSES[event])
    typed = [name for name in said if isinstance(getattr(structured, name, None), payloads.Payload)]
    holders = {name: {**said[name], f"new {key}": value} for name in typed}
    extended: Any = {**said, **holders, f"new {key}": value}
    assert msgspec.json.decode(json.dumps(extended), type=CLASSES[event]) == structured


def test_a_user_reads_the_facts_of_an_opened_issue() -> None:
    payload = msgspec.json.decode(samples("issues")["opened"].read(), type=payloads.Issues)
    assert payload.action == "opened"
    assert (payload.issue.number, payload.issue.title) == (1, "Spelling error in the README file")
    assert payload.issue.user.login == "Codertocat"
    assert payload.repository.full_name == "Codertocat/Hello-World"
    assert payload.sender.login == "Codertocat"
    assert [label.name for label in payload.issue.labels] == ["bug"]


def test_what_was_edited_is_read_by_the_word_from() -> None:
    payload = msgspec.json.decode(samples("issue_comment")["edited"].read(), type=payloads.IssueComment)
    assert payload.changes is not None
    assert payload.changes.body == {"from": "You are totally right! I'll get this fixed right away."}


def test_dates_of_a_push_are_seconds_or_times() -> None:
    payload = msgspec.json.decode(samples("push")["default"].read(), type=payloads.Push)
    assert payload.repository.created_at == 1557933565
    assert payload.repository.updated_at.isoformat() == "2019-05-15T15:20:41+00:00"
    said: Any = json.loads(samples("push")["default"].read())
    said["repository"] |= {"created_at": "2019-05-15T15:19:25Z", "pushed_at": None}
    other = msgspec.json.decode(json.dumps(said), type=payloads.Push)
    assert other.repository.created_at == datetime.fromisoformat("2019-05-15T15:19:25Z")


def test_payloads_are_values() -> None:
    text = samples("star")["created"].read()
    one, other = (msgspec.json.decode(text, type=payloads.Star) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != msgspec.json.decode(samples("star")["deleted"].read(), type=payloads.Star)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.action = "deleted"  # type: ignore[misc]  # the point of the test


def test_a_repr_shows_what_is_there_and_no_secret() -> None:
    config = payloads.HookConfig(url="https://acme.dev", secret="hush")
    assert repr(config) == "HookConfig(url='https://acme.dev')"


ACTIONS: dict[str, list[str]] = json.loads((VECTORS / "events_actions.json").read_text())


@pytest.mark.parametrize("event", CLASSES)
def test_the_action_literals_are_those_that_github_names(event: str) -> None:
    # A repository_dispatch has the action that its sender gives it.
    named = [] if event == "repository_dispatch" else ACTIONS[event]
    assert list(actions_of(event)) == named
    literals = {name for name in payloads.__all__ if name.endswith("Action") and name != "RequestedAction"}
    assert len(literals) == sum(bool(ACTIONS[name]) for name in CLASSES if name != "repository_dispatch")


def test_every_name_of_the_package_is_there_and_no_other() -> None:
    assert all(hasattr(payloads, name) for name in payloads.__all__)
    assert set(dir(payloads)) == set(payloads.__all__)
    assert len(set(payloads.__all__)) == len(payloads.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Isues'"):
        _ = payloads.Isues  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


FIRST = {
    "issues": "opened",
    "issue_comment": "created",
    "pull_request": "opened",
    "pull_request_review": "submitted",
    "push": "default",
    "release": "published",
    "star": "created",
    "workflow_run": "completed",
    "check_run": "completed",
    "ping": "default",
}


@pytest.mark.parametrize("event", FIRST)
def test_the_typical_sample_comes_first(event: str) -> None:
    assert next(iter(samples(event))) == FIRST[event]
    assert samples(event)().keys() == samples(event).keys()


@every_example
def test_a_sample_has_the_action_that_it_is_named_for(event: str, name: str) -> None:
    assert json.loads(samples(event)[name].read()).get("action", "default") == name


def test_every_file_is_a_sample() -> None:
    import trigflow_github.samples as module

    files = {path.stem for path in (Path(module.__file__).parent / "samples").glob("*.json")}
    assert files == {f"{event}.{name}" for event, name in EXAMPLES}


def test_what_is_no_sample_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="no samples of 'isues'"):
        samples("isues")
    assert "closed" not in samples("star")
    with pytest.raises(KeyError):
        samples("star")["../ping.default"]


def test_importing_payloads_and_samples_reads_nothing_and_needs_no_http_client() -> None:
    program = (
        "import sys, trigflow\n"
        "before = set(sys.modules)\n"
        "opened = []\n"
        "sys.addaudithook(lambda name, args: opened.append(args[0]) if name == 'open' else None)\n"
        "import trigflow_github.payloads, trigflow_github.samples\n"
        "trigflow_github.samples.samples('issues')\n"
        "assert not [path for path in opened if str(path).endswith('.json')], opened\n"
        "assert not {'httpx', 'cattrs', 'importlib.resources'} & (set(sys.modules) - before)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
