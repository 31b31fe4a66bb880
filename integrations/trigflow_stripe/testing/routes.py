"""The routes of the fake: which function answers which request.

A function takes the world and the request and returns a Reply or raises Refused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import attrs

from trigflow.testing.fake_server import Reply
from trigflow_stripe.testing.answers import Asked, Json, check_names, page_of, refused, unknown_route
from trigflow_stripe.testing.endpoints import created, updated
from trigflow_stripe.testing.world import PLACES, TYPES, FakeEvent, World

MOST_TYPES = 20
ENDPOINTS = "/v1/webhook_endpoints"
EVENTS = "/v1/events"
_PAGE = ("limit", "starting_after", "ending_before")
_EVENTS = (*_PAGE, "created", "delivery_success", "type", "types")

Handler = Callable[[World, Asked], Reply]


def answer(world: World, asked: Asked, path: str) -> Reply:
    """Find the route of a path, still quoted, and answer; Refused with 404 where there is none."""
    for method, pattern, handler in _ROUTES:
        found = pattern.fullmatch(path) if method == asked.method else None
        if found is not None:
            parts = {name: unquote(text) for name, text in found.groupdict().items()}
            return handler(world, attrs.evolve(asked, path=parts))
    raise unknown_route(asked.method, path)


def _list_endpoints(world: World, asked: Asked) -> Reply:
    check_names(asked.form, _PAGE)
    shown = [endpoint.shown() for endpoint in reversed(world.endpoints.values())]
    return page_of(shown, asked, url=ENDPOINTS, what="webhook endpoint")


def _create_endpoint(world: World, asked: Asked) -> Reply:
    others, now = list(world.endpoints.values()), int(world.now().timestamp())
    made = created(asked.form, others, id_=world.next_id("we"), now=now, types=TYPES, livemode=world.livemode)
    world.endpoints[made.id] = made
    return Reply(200, made.shown() | {"secret": made.secret})


def _get_endpoint(world: World, asked: Asked) -> Reply:
    check_names(asked.form, ())
    return Reply(200, world.endpoint(asked.path["id"]).shown())


def _update_endpoint(world: World, asked: Asked) -> Reply:
    changed = updated(world.endpoint(asked.path["id"]), asked.form, types=TYPES)
    world.endpoints[changed.id] = changed
    return Reply(200, changed.shown())


def _delete_endpoint(world: World, asked: Asked) -> Reply:
    id_ = world.endpoint(asked.path["id"]).id
    del world.endpoints[id_]
    return Reply(200, {"id": id_, "object": "webhook_endpoint", "deleted": True})


def _list_events(world: World, asked: Asked) -> Reply:
    check_names(asked.form, _EVENTS)
    shown = [_own(world, event) for event in world.listed(asked.account) if _wants(event, asked.form)]
    return page_of(shown, asked, url=EVENTS, what="event")


def _own(world: World, event: FakeEvent) -> Json:
    """Show an event to its own account: only a Connect endpoint is told whose it is."""
    shown = world.event(event.shown["id"])
    return {name: value for name, value in shown.items() if name != "account"}


def _wants(event: FakeEvent, form: Json) -> bool:
    success = form.get("delivery_success")
    if success is not None and event.is_delivered != (success == "true"):
        return False
    return _is_of(event.shown["type"], form) and _is_within(event.shown["created"], form.get("created"))


def _is_of(type_: str, form: Json) -> bool:
    one, several = form.get("type"), form.get("types")
    if one is not None and several is not None:
        raise refused(400, "You may only specify one of these parameters: type, types.", param="type")
    if several is not None and (not isinstance(several, list) or len(several) > MOST_TYPES):  # pyright: ignore[reportUnknownArgumentType] - whatever was sent
        raise refused(400, f"types takes a list of at most {MOST_TYPES} names", param="types")
    return (several is None or type_ in several) and (one is None or fnmatch.fnmatchcase(type_, str(one)))


def _is_within(created_: int, bounds: Any) -> bool:
    if bounds is None:
        return True
    if isinstance(bounds, str):
        return created_ == _seconds(bounds)
    check_names(bounds, ("gt", "gte", "lt", "lte"))
    holds: dict[str, Callable[[int], bool]] = {
        "gt": lambda bound: created_ > bound,
        "gte": lambda bound: created_ >= bound,
        "lt": lambda bound: created_ < bound,
        "lte": lambda bound: created_ <= bound,
    }
    return all(holds[name](_seconds(bound)) for name, bound in bounds.items())


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", str(text)):
        raise refused(400, f"Invalid timestamp: {text}", param="created")
    return int(text)


def _get_event(world: World, asked: Asked) -> Reply:
    return Reply(200, world.event(asked.path["id"]))


def _own_account(world: World, asked: Asked) -> Reply:
    return Reply(200, world.own_account() if asked.account is None else world.connected[asked.account])


def _list_accounts(world: World, asked: Asked) -> Reply:
    check_names(asked.form, (*_PAGE, "created"))
    return page_of(list(reversed(world.connected.values())), asked, url="/v1/accounts", what="account")


def _resource_at(place: str) -> Handler:
    return lambda world, asked: Reply(200, world.resource(place, asked.path["id"]))


_ID = "(?P<id>[^/]+)"
_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("GET", re.compile(ENDPOINTS), _list_endpoints),
    ("POST", re.compile(ENDPOINTS), _create_endpoint),
    ("GET", re.compile(f"{ENDPOINTS}/{_ID}"), _get_endpoint),
    ("POST", re.compile(f"{ENDPOINTS}/{_ID}"), _update_endpoint),
    ("DELETE", re.compile(f"{ENDPOINTS}/{_ID}"), _delete_endpoint),
    ("GET", re.compile(EVENTS), _list_events),
    ("GET", re.compile(f"{EVENTS}/{_ID}"), _get_event),
    ("GET", re.compile("/v1/account"), _own_account),
    ("GET", re.compile("/v1/accounts"), _list_accounts),
    *(("GET", re.compile(f"/v1/{place}/{_ID}"), _resource_at(place)) for place in PLACES.values()),
)
