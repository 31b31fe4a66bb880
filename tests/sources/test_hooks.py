"""Hooks that their source could not call, or that give what it could not use: told by name."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow import (
    ApiKey,
    Choices,
    Credentials,
    Events,
    ExternalSource,
    Ignored,
    Integration,
    Lease,
    Lost,
    Missed,
    Registered,
    Registration,
    RegistrationError,
    Secret,
    SetupError,
    Unsigned,
    Webhook,
    WebhookApi,
    event,
    hmac_sha256,
    samples,
)

NAIVE = datetime(2026, 1, 1)
AWARE = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen
class Place:
    room: str


@attrs.frozen
class Id:
    id: str


REG: Registration[Place, Id] = Registration(
    "https://h.example/e", Place("hall"), Events(("made",)), "key", None, "/e/"
)


def source_of(**options: Any) -> Any:
    given: dict[str, Any] = {"params": Place, "client": object, "data": Id, "verify": hmac_sha256("X-Sig")}
    return ExternalSource("rooms.hook", **(given | options))


async def right(*_: object) -> None: ...


def plain(*_: object) -> None: ...


async def one_argument(_reg: object) -> None: ...


async def yielding(*_: object) -> AsyncIterator[object]:
    yield object()


@pytest.mark.parametrize("name", ["register", "unregister", "renew", "rotate", "ping"])
@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (plain, "not async"),
        (yielding, "it yields"),
        (one_argument, "too many positional"),
        (7, "can't be called"),
    ],
)
def test_a_hook_that_can_not_be_called_is_told_where_it_is_declared(
    name: str, hook: object, problem: str
) -> None:
    with pytest.raises(SetupError, match=f"source rooms.hook, {name}: .*{problem}"):
        getattr(source_of(), name)(hook)


UNUSABLE: list[tuple[Callable[[Any], object], str]] = [
    (lambda s: s.handler(right), "handler: it is async"),
    (lambda s: s.sample(lambda: ()), r"sample: .*\(event, body, id\)"),
    (lambda s: s.recover(right), "recover: it returns"),
    (lambda s: s.options(right), "options: name the param"),
    (lambda s: s.options("room")(plain), r"options\('room'\): it is not async"),
    (lambda s: [s.ping(right), s.ping(right)], "ping: it is declared twice"),
    (lambda _: source_of(verify=hmac_sha256), "verify: .* is no verifier"),
    (lambda _: source_of(verify=Unsigned), "verify: .* is no verifier"),
    (lambda _: source_of(key="room"), "key: a str can't be called"),
    (lambda _: source_of(account="team"), "account: a str is no part"),
    (lambda _: source_of(params=Place("x")), "params: a Place is no type"),
    (lambda _: source_of(api=WebhookApi(one_argument, right, right, right)), "api.list: .*too many"),  # type: ignore[arg-type]
    (lambda _: source_of(key=lambda _: 7).key_of(Place("x")), "key: it gave 7"),
]


@pytest.mark.parametrize(("declare", "problem"), UNUSABLE)
def test_what_can_not_be_used_is_refused_by_name(declare: Callable[[Any], object], problem: str) -> None:
    with pytest.raises(SetupError, match=f"source rooms.hook, {problem}"):
        declare(source_of())


@pytest.mark.parametrize(
    ("options", "hooks", "problem"),
    [
        ({"api": WebhookApi(right, right, right, right)}, ["register"], "api= and a register hook"),  # type: ignore[arg-type]
        ({"api": WebhookApi(right, right, right, right)}, ["unregister"], "api= and an unregister hook"),  # type: ignore[arg-type]
        ({}, ["unregister"], "nothing registers"),
        ({}, ["register", "renew"], "never called"),
        ({"lease": Lease("extend")}, ["register"], "no renew hook"),
        ({"secret": Secret.HANDSHAKE}, [], "no handshakes"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    options: dict[str, Any], hooks: list[str], problem: str
) -> None:
    source = source_of(**options)
    source.handler(lambda _: [])
    for name in hooks:
        getattr(source, name)(right)
    with pytest.raises(SetupError, match=f"source rooms.hook .*{problem}"):
        source.check()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["register", "renew", "rotate"])
@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        ("w1", "it gave a str"),
        (Registered("w1"), "it gave a str; give data= of Id"),
        (Registered(Id("w1"), "made"), "events="),
        (Registered(Id("w1"), expires_at=NAIVE), "without a zone"),
    ],
)
async def test_what_a_hook_gives_is_looked_at(name: str, gives: object, problem: str) -> None:
    source = source_of()

    async def hook(*_: object) -> Any:
        return gives

    getattr(source, name)(hook)
    with pytest.raises(RegistrationError, match=f"source rooms.hook, {name}: .*{problem}"):
        await getattr(source, f"{name}_hook")(REG, object())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("call", "gives", "problem"),
    [
        ("list", None, "it gave None; give a list of Webhook"),
        ("list", ["w"], "it gave a str"),
        ("create", None, "it gave None"),
        ("update", Webhook("https://h.example", (), "w1"), "it gave a str; give data= of Id"),
    ],
)
async def test_what_a_plain_call_gives_is_looked_at(call: str, gives: object, problem: str) -> None:
    async def answer(*_: object) -> Any:
        return gives

    source = source_of(api=WebhookApi(answer, answer, answer, answer))
    arguments: dict[str, tuple[object, ...]] = {"list": (None, None), "create": (REG, None)}
    with pytest.raises(RegistrationError, match=rf"source rooms.hook, api\.{call}: {problem}"):
        await getattr(source.api, call)(*arguments.get(call, (REG, None, None)))


@pytest.mark.anyio
async def test_a_plain_call_that_is_not_async_is_told_when_it_is_made() -> None:
    source = source_of(api=WebhookApi(plain, plain, plain, plain))  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match=r"api\.delete: it gave None; give something to await"):
        await source.api.delete(REG, None, None)


@pytest.mark.anyio
@pytest.mark.parametrize("gives", ["text", Missed(b"{}", NAIVE), Lost(NAIVE, "gone")])
async def test_what_is_recovered_is_looked_at_and_its_generator_closed(gives: object) -> None:
    source, closed = source_of(), list[bool]()

    async def recover(*_: object) -> AsyncIterator[Any]:
        try:
            yield gives
        finally:
            closed.append(True)

    source.recover(recover)
    with pytest.raises(RegistrationError, match=r"source rooms.hook, recover: it gave a"):
        async for _ in source.recover_hook(REG, AWARE, object()):
            pass
    assert closed == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("gives", [None, ["r1"], Choices(["r1"])])  # type: ignore[list-item]
async def test_choices_are_looked_at(gives: object) -> None:
    source = source_of()

    async def options(*_: object) -> Any:
        return gives

    source.options("room")(options)
    with pytest.raises(RegistrationError, match=r"source rooms.hook, options\('room'\): it gave"):
        await source.option_hooks["room"](object(), None)


@given(st.sampled_from([None, 7, "text", b"bytes", {"a": 1}, [None], ["made"], Ignored("bare")]))
def test_a_handler_that_says_no_outcomes_is_told(gives: object) -> None:
    source = source_of()
    source.handler(lambda _: gives)
    with pytest.raises(RegistrationError, match=r"source rooms.hook, handler: it gave .*; give a list of"):
        source.handle(None)


@given(st.text(min_size=1), st.text(min_size=1))
def test_params_without_a_declared_key_have_a_webhook_each(one: str, other: str) -> None:
    source = source_of()
    assert (source.key_of(Place(one)) == source.key_of(Place(other))) == (one == other)


def test_an_event_says_what_is_wrong_with_it() -> None:
    source: Any = source_of()
    with pytest.raises(SetupError, match="event 'made', source: a Place is none"):
        event("made", dict, source=Place("x"))  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="event 'made', payload"):
        event("made", Id("1"), source=source)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="event made, examples"):
        event("made", dict, source=source, examples=7)  # type: ignore[arg-type]

    class Rooms(Integration, id="rooms"):
        @event("made", dict, source=source, examples={"plain": b"{}"})
        def made(self) -> Any:
            return None

    assert Rooms().made.specification.examples()["plain"].read() == b"{}"
    with pytest.raises(
        SetupError, match=r"rooms.made returned a NoneType; return the params .*Place\(\.\.\.\)"
    ):
        Rooms().made()


def test_an_integration_says_what_is_wrong_with_it() -> None:
    with pytest.raises(SetupError, match="id='a/b'"):
        type("A", (Integration,), {}, id="a/b")
    with pytest.raises(SetupError, match="give a list"):
        type("A", (Integration,), {}, id="a", auth=ApiKey("A"))
    with pytest.raises(SetupError, match="check: it is not async"):
        type("A", (Integration,), {"check": lambda self, client: None}, id="a")

    async def client(self: object, credentials: Credentials) -> None: ...

    with pytest.raises(SetupError, match="client: it is async"):
        type("A", (Integration,), {"client": client}, id="a")


def test_samples_are_read_from_the_package(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parcels_with_samples" / "samples"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name in ("parcel.made.json", "parcel.made.late.json", "parcel.json", "other.json"):
        (folder / name).write_text(f'"{name}"')
    monkeypatch.syspath_prepend(str(tmp_path))
    found = samples("parcels_with_samples", "parcel.made")()
    assert {name: one.read() for name, one in found.items()} == {
        "parcel.made": b'"parcel.made.json"',
        "late": b'"parcel.made.late.json"',
    }
    with pytest.raises(SetupError, match="no nothing"):
        samples("parcels_with_samples", "nothing")()
