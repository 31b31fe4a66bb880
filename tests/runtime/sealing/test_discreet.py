"""Failures told without secrets and without marked values."""

from __future__ import annotations

import enum
import inspect
import json
import logging
from typing import Any

import attrs
import httpx
import msgspec
import pydantic
import pytest

from trigflow.core.errors import PayloadError
from trigflow.core.marked import read_marks
from trigflow.core.payloads import structure_into
from trigflow.runtime.sealing.discreet import (
    Discretion,
    Had,
    discreet,
    hush_http_clients,
    knowing,
    log_failure,
    place_of,
    problem_of,
    trace_of,
)

EMAIL = "ada@example.com"
TEXT = msgspec.json.encode({"customer": {"email": EMAIL, "tags": {EMAIL: "a tag of hers"}}, "amount": 5})
SCRUB = read_marks(["customer"], where="event").scrub(msgspec.json.decode(TEXT)).text


class Kind(enum.Enum):
    A = "a"


def _refuse(_: object, __: object, value: object) -> None:
    raise ValueError(f"{value!r} is not an address of ours")


@attrs.frozen
class ByEnum:
    email: Kind


@attrs.frozen
class ByNumber:
    email: int


@attrs.frozen
class ByValidator:
    email: str = attrs.field(validator=_refuse)


class ByModel(pydantic.BaseModel):
    email: str

    @pydantic.field_validator("email")
    @classmethod
    def _check(cls, value: str) -> str:
        raise ValueError(f"{value} is not an address of ours")


@attrs.frozen
class ByPhone:
    phone: str


BY_CLASS: Any = ByEnum | ByPhone  # two classes: cattrs takes it


@attrs.frozen
class Tags:
    tags: dict[str, int]


def charge(kind: type) -> type:
    return attrs.make_class("Charge", {"customer": attrs.field(type=kind)}, frozen=True)


def refused(annotation: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        structure_into(annotation)(TEXT)
    return caught.value


@pytest.mark.parametrize("kind", [ByEnum, ByNumber, ByValidator, ByModel, BY_CLASS, Tags])
def test_a_payload_that_does_not_fit_is_told_without_its_values(kind: type) -> None:
    told = discreet(refused(charge(kind)), SCRUB)
    assert EMAIL not in str(told)
    assert (told.__cause__, told.__context__) == (None, None)


def test_what_holds_no_value_is_still_told() -> None:
    assert str(discreet(refused(charge(ByNumber)), SCRUB)) == "customer.email: Expected `int`, got `str`"

    @attrs.frozen
    class Missing:
        currency: str

    assert "missing required field `currency`" in str(discreet(refused(Missing), SCRUB))


def fail(text: str) -> ValueError:
    """Return an exception that was raised, with another one as its cause."""
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(f"no such customer: {text}") from error
    except ValueError as error:
        return error


def test_a_traceback_is_told_whole_but_for_what_must_not_be_read() -> None:
    told = trace_of(fail(EMAIL), SCRUB)
    assert EMAIL not in told
    assert "KeyError: '[redacted]'" in told
    assert "ValueError: no such customer: [redacted]" in told
    assert __name__.rpartition(".")[2] in told
    assert problem_of(fail(EMAIL), SCRUB) == "ValueError: no such customer: [redacted]"


def test_a_traceback_without_secrets_is_logged_as_an_exception_and_one_with_them_as_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("test")
    log_failure(logger, "run %s failed", "1", error=fail("nobody"), scrub=SCRUB)
    log_failure(logger, "run %s failed", "2", error=fail(EMAIL), scrub=SCRUB)
    plain, scrubbed = caplog.records
    assert (plain.exc_info is not None, scrubbed.exc_info) == (True, None)
    assert (plain.getMessage(), scrubbed.getMessage().splitlines()[0]) == ("run 1 failed", "run 2 failed")
    assert "KeyError: '[redacted]'" in scrubbed.getMessage()
    assert EMAIL not in caplog.text


def test_a_problem_is_scrubbed_before_it_is_shortened() -> None:
    text = "x" * 1990 + EMAIL
    assert "ada" not in problem_of(ValueError(text), SCRUB)


def test_known_secrets_and_urls_are_taken_out_of_what_a_provider_says() -> None:
    scrub = knowing(["hunter2hunter2", ""])
    error = fail("POST https://api.example.com/hooks?token=abc refused: secret hunter2hunter2 is too short")
    for told in (problem_of(error, scrub), trace_of(error, scrub)):
        assert "hunter2" not in told
        assert "abc" not in told
        assert "https://api.example.com/hooks" in told


def test_the_place_of_a_failure_names_class_and_line_but_not_its_text() -> None:
    error = fail(EMAIL)
    line = inspect.getsourcelines(fail)[1] + 6
    assert place_of(error).startswith(f"ValueError at test_discreet.py:{line};")
    assert EMAIL not in place_of(error)
    assert place_of(ValueError(EMAIL)).startswith("ValueError;")


def test_http_clients_log_no_values_of_queries_and_no_header_fields_of_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"set-cookie": "session=hunter2hunter2"})

    hush_http_clients()
    hush_http_clients()
    caplog.set_level(logging.DEBUG)
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        client.get("https://api.example.com/v1/me?access_token=hunter2hunter2&page=2")
    # As httpcore writes it; a MockTransport does not go through it.
    logging.getLogger("httpcore.http11").debug(
        "receive_response_headers.complete return_value=(b'HTTP/1.1', 302, b'Found', "
        "[(b'location', b'/cb?code=hunter2hunter2')])"
    )
    assert "hunter2" not in caplog.text
    assert "https://api.example.com/v1/me?access_token=[redacted]&page=[redacted]" in caplog.text
    assert "receive_response_headers.complete return_value=[redacted]" in caplog.text


def test_a_run_tells_neither_marked_values_nor_known_secrets_and_asks_for_them_once() -> None:
    asked: list[int] = []

    def secrets() -> list[str]:
        asked.append(1)
        return ["hunter2hunter2"]

    about = Discretion(read_marks(["customer"], where="event"), TEXT, secrets)
    assert asked == []
    for _ in range(2):
        assert about.problem(ValueError(f"{EMAIL} hunter2hunter2 5")) == "ValueError: [redacted] [redacted] 5"
    assert asked == [1]


def test_without_marks_a_payload_that_does_not_fit_is_told_whole() -> None:
    error = PayloadError("a", "Invalid enum value 'x'")
    assert Discretion().refusal(error) is error
    assert Discretion(read_marks(["a"], where="e")).refusal(error).problem != error.problem


PEM = f"-----BEGIN PRIVATE KEY-----\n{'QUJD' * 16}\n{'REVG' * 16}\n{'R0hJ' * 8}\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("given", [PEM, PEM.replace("\n", "\\n"), "a 'quoted' \"one\" with \\ and é\t"])
def test_a_known_secret_is_hidden_however_it_is_spelled(given: str) -> None:
    scrub = knowing([given])
    spelled = [given, repr(given), json.dumps(given), json.dumps(given, ensure_ascii=False), f"{given!r}'\""]
    for line in (
        given.replace("\\n", "\n").splitlines() if given != "a 'quoted' \"one\" with \\ and é\t" else []
    ):
        spelled += [] if "-----" in line else [f"the line {line} is wrong"]
    for text in spelled:
        told = scrub(f"no key: {text}")
        assert "QUJD" not in told
        assert "R0hJ" not in told
        assert "quoted" not in told


def test_the_oldest_secrets_are_forgotten_first() -> None:
    had = Had(most=2)
    had.note(["one", "two"])
    had.note(["one", "three"])
    assert list(had) == ["one", "three"]
    assert "three" not in repr(had)
