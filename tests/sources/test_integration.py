"""Integrations and their events as decorated methods; credentials; what a source is made of."""

from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow import (
    ApiKey,
    Credentials,
    Delivery,
    Event,
    Events,
    ExternalSource,
    Field,
    Integration,
    Registered,
    Registration,
    Secret,
    SetupError,
    Unsigned,
    WebhookApi,
    When,
    event,
    hmac_sha256,
)

names = st.lists(st.sampled_from("abcdef"), unique=True).map(lambda found: tuple(sorted(found)))


@attrs.frozen
class Place:
    room: str


def source_of(**options: object) -> ExternalSource[Place, object, int]:
    kept = {"verify": hmac_sha256("X-Sig"), **options}
    return ExternalSource("rooms.webhook", params=Place, client=object, data=int, **kept)  # type: ignore[arg-type]


rooms = source_of()


@rooms.handler
def handle(delivery: Delivery[Place, int]) -> list[Event]:
    return []


class Rooms(
    Integration,
    id="rooms",
    auth=[
        ApiKey("ROOMS_KEY"),
        ApiKey("ROOMS_USER", Field("password", "ROOMS_PASSWORD", "Password"), name="user"),
    ],
):
    """Rooms."""

    room: str = "hall"

    @event("entered", dict[str, object], source=rooms, registers=["enter", "enter.v2"], icon="door")
    def entered(self, *, room: str | None = None, by: str | None = None) -> Place | When[Place]:
        """Somebody entered a room.

        Also through the window.
        """
        place = Place(room or self.room)
        return place if by is None else When(place, {"by": [by]})

    @event("left", dict[str, object], source=rooms)
    def left(self) -> Place:
        """Somebody left."""
        return Place(self.room)


class More(Rooms, id="more"):
    @event("swept", dict[str, object], source=rooms)
    def swept(self) -> Place:
        """Swept."""
        return Place("all")


def test_an_event_of_an_integration_makes_triggers_with_params_and_filter() -> None:
    made = Rooms().entered(room="kitchen", by="ann")
    assert (made.params, made.filter, made.name) == (Place("kitchen"), {"by": ["ann"]}, "rooms.entered")
    assert Rooms().entered().filter is None


def test_defaults_are_those_of_the_instance_and_instances_are_frozen_values() -> None:
    assert Rooms(room="cellar").entered().params == Place("cellar")
    assert Rooms(room="a") == Rooms(room="a")
    assert hash(Rooms(room="a")) == hash(Rooms(room="a"))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Rooms().room = "x"  # type: ignore[misc]


def test_the_docstring_is_title_and_description() -> None:
    found = dict(Rooms.specifications())
    assert list(found) == ["entered", "left"]
    said = found["entered"]
    assert (said.title, said.description) == ("Somebody entered a room.", "Also through the window.")
    assert (said.registers, found["left"].registers) == (("enter", "enter.v2"), ("left",))


def test_a_subclass_has_the_events_of_its_base_too() -> None:
    assert [name for name, _ in More.specifications()] == ["entered", "left", "swept"]
    assert More().entered().name == "more.entered"


def test_triggers_can_be_narrowed_again_and_again() -> None:
    made = Rooms().entered(by="ann").only({"at": ["noon"]})
    assert made.filter == {"$and": [{"by": ["ann"]}, {"at": ["noon"]}]}
    assert Rooms().left().only({"at": ["noon"]}).filter == {"at": ["noon"]}


def test_an_integration_without_a_client_says_so_when_it_is_needed() -> None:
    with pytest.raises(SetupError, match="rooms has no client"):
        Rooms().client(Credentials({"token": "x"}))


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"ROOMS_KEY": ""}, None),
        ({"ROOMS_KEY": "k"}, {"token": "k"}),
        ({"ROOMS_USER": "u"}, None),
        ({"ROOMS_USER": "u", "ROOMS_PASSWORD": "p"}, {"user": "u", "password": "p"}),
    ],
)
def test_credentials_are_found_in_the_environment_whole_or_not_at_all(
    environ: Mapping[str, str], found: Mapping[str, str] | None
) -> None:
    got = Rooms().credentials(environ)
    assert got == found if found is None else dict(got or {}) == found


@given(st.text(min_size=8))
def test_credentials_never_show_their_values(secret: str) -> None:
    kept = Credentials({"token": secret})
    assert repr(kept) == "Credentials(token=***)"
    assert kept["token"] == secret
    assert len(kept) == 1


def test_what_to_set_is_said() -> None:
    assert [way.remedy() for way in Rooms.auth] == ["set ROOMS_KEY", "set ROOMS_USER and ROOMS_PASSWORD"]
    assert repr(Rooms.auth[0]) == "ApiKey('ROOMS_KEY')"


@given(names, names)
def test_missing_and_orphaned_events_are_the_two_differences(
    desired: tuple[str, ...], had: tuple[str, ...]
) -> None:
    events = Events(desired, had)
    assert set(events.missing) == set(desired) - set(had)
    assert set(events.orphaned) == set(had) - set(desired)


def test_secrets_of_registrations_are_not_shown() -> None:
    reg = Registration("https://h/e/x/y", Place("a"), Events(()), "hunter2", None, "/e/x/")
    assert "hunter2" not in repr(reg) + repr(Registered(1, secret="hunter2"))


def test_a_source_is_checked_for_being_whole() -> None:
    rooms.check()
    with pytest.raises(SetupError, match="no handler"):
        source_of().check()

    async def nothing(*_: object) -> None: ...

    both = source_of(api=WebhookApi(nothing, nothing, nothing, nothing))  # type: ignore[arg-type]
    both.handler(handle)
    both.register(nothing)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="keep one"):
        both.check()
    keyless = source_of(secret=Secret.NONE)
    keyless.handler(handle)
    with pytest.raises(SetupError, match=r"Secret\.NONE"):
        keyless.check()
    unsigned = source_of(secret=Secret.NONE, verify=Unsigned(because="a test"))
    unsigned.handler(handle)
    unsigned.check()


def test_a_source_registers_itself_with_either_way_of_saying_how() -> None:
    async def register(reg: Registration[Place, int], client: object) -> Registered[int] | None:
        return None

    async def nothing(*_: object) -> None: ...

    hooks = source_of()
    assert not hooks.registers_itself
    assert hooks.register(register) is register
    assert hooks.registers_itself
    assert source_of(api=WebhookApi(nothing, nothing, nothing, nothing)).registers_itself  # type: ignore[arg-type]


def test_params_and_data_come_back_as_they_were_kept() -> None:
    assert rooms.load_params(b'{"room": "hall"}') == Place("hall")
    assert (rooms.load_data(None), rooms.load_data(b"7")) == (None, 7)
    assert repr(rooms) == "ExternalSource('rooms.webhook')"
    assert rooms.key_of(Place("hall")) == "hall"
