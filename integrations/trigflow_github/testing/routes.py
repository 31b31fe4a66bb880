"""The routes of the fake: which function answers which request.

A function takes the world and the request and returns a Reply or raises Refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import attrs

from trigflow_github.testing import issues
from trigflow_github.testing.answers import Asked, Reply, cursor_page_of, not_found, page_of
from trigflow_github.testing.hooks import FakeHook, created, patched, reconfigured
from trigflow_github.testing.world import Place, World

Sends = Callable[[FakeHook, str, Any], object]  # hook, event, payload
Resends = Callable[[FakeHook, int], object]  # hook, number of the attempt


@attrs.frozen
class Post:
    """How deliveries leave: the fake sends, the routes only say what."""

    send: Sends
    resend: Resends


Handler = Callable[[World, Asked, Post], Reply]


def answer(world: World, asked: Asked, post: Post, path: str) -> Reply:
    """Find the route of a path, still quoted, and answer; Refused with 404 where there is none."""
    for method, pattern, handler in _ROUTES:
        found = pattern.fullmatch(path) if method == asked.method else None
        if found is not None:
            parts = {name: unquote(text) for name, text in found.groupdict().items()}
            return handler(world, attrs.evolve(asked, path=parts), post)
    raise not_found()


def _place(world: World, asked: Asked) -> Place:
    return world.place(asked.path["place"])


def _hook(world: World, asked: Asked) -> FakeHook:
    return world.hook(_place(world, asked), int(asked.path["hook"]))


def _list_hooks(world: World, asked: Asked, _post: Post) -> Reply:
    hooks = _place(world, asked).hooks.values()
    return page_of([hook.shown(world.base_url) for hook in hooks], asked)


def _create_hook(world: World, asked: Asked, post: Post) -> Reply:
    place, now = _place(world, asked), world.now()
    empty = FakeHook(world.next_id(), place.name, place.kind, place.id, now, now)
    hook = created(empty, asked.body, place.hooks.values())
    place.hooks[hook.id] = hook
    shown = hook.shown(world.base_url)
    return Reply(201, shown, {"Location": shown["url"]}, lambda: post.send(hook, "ping", world.ping(hook)))


def _get_hook(world: World, asked: Asked, _post: Post) -> Reply:
    return Reply(200, _hook(world, asked).shown(world.base_url))


def _patch_hook(world: World, asked: Asked, _post: Post) -> Reply:
    place, hook = _place(world, asked), _hook(world, asked)
    changed = patched(hook, asked.body, place.hooks.values(), now=world.now())
    place.hooks[hook.id] = changed
    return Reply(200, changed.shown(world.base_url))


def _delete_hook(world: World, asked: Asked, _post: Post) -> Reply:
    del _place(world, asked).hooks[_hook(world, asked).id]
    return Reply(204)


def _get_config(world: World, asked: Asked, _post: Post) -> Reply:
    return Reply(200, _hook(world, asked).config())


def _patch_config(world: World, asked: Asked, _post: Post) -> Reply:
    place, hook = _place(world, asked), _hook(world, asked)
    changed = reconfigured(hook, asked.body, place.hooks.values(), now=world.now())
    place.hooks[hook.id] = changed
    return Reply(200, changed.config())


def _ping_hook(world: World, asked: Asked, post: Post) -> Reply:
    hook = _hook(world, asked)
    return Reply(204, afterwards=lambda: post.send(hook, "ping", world.ping(hook)))


def _list_deliveries(world: World, asked: Asked, _post: Post) -> Reply:
    hook, status = _hook(world, asked), asked.query.get("status")
    mine = [attempt for attempt in reversed(world.attempts) if attempt.hook_id == hook.id]
    chosen = [attempt for attempt in mine if status is None or attempt.ok == (status == "success")]
    return cursor_page_of([attempt.shown() for attempt in chosen], asked)


def _get_delivery(world: World, asked: Asked, _post: Post) -> Reply:
    return Reply(200, world.attempt_of(_hook(world, asked), int(asked.path["delivery"])).shown_whole())


def _redeliver(world: World, asked: Asked, post: Post) -> Reply:
    hook = _hook(world, asked)
    number = world.attempt_of(hook, int(asked.path["delivery"])).id
    return Reply(202, {}, afterwards=lambda: post.resend(hook, number))


def _viewer(world: World, _asked: Asked, _post: Post) -> Reply:
    return Reply(200, world.viewer())


def _of_repository(handler: Callable[[World, Place, Asked], Reply]) -> Handler:
    return lambda world, asked, _post: handler(world, _place(world, asked), asked)


_HOOKS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/hooks", _list_hooks),
    ("POST", "/hooks", _create_hook),
    ("GET", "/hooks/{hook}", _get_hook),
    ("PATCH", "/hooks/{hook}", _patch_hook),
    ("DELETE", "/hooks/{hook}", _delete_hook),
    ("GET", "/hooks/{hook}/config", _get_config),
    ("PATCH", "/hooks/{hook}/config", _patch_config),
    ("POST", "/hooks/{hook}/pings", _ping_hook),
    ("GET", "/hooks/{hook}/deliveries", _list_deliveries),
    ("GET", "/hooks/{hook}/deliveries/{delivery}", _get_delivery),
    ("POST", "/hooks/{hook}/deliveries/{delivery}/attempts", _redeliver),
)
_REPOSITORY: tuple[tuple[str, str, Handler], ...] = tuple(
    (method, path, _of_repository(handler)) for method, path, handler in issues.ROUTES
)
_PLACES = {"/repos/": "(?P<place>[^/]+/[^/]+)", "/orgs/": "(?P<place>[^/]+)"}


def _pattern(prefix: str, rest: str) -> re.Pattern[str]:
    """Compile a path: {name} is a number, {label} and {sha} any text."""
    wide = re.sub(r"{(label|sha)}", r"(?P<\1>[^/]+)", rest)
    return re.compile(prefix + _PLACES.get(prefix, "") + re.sub(r"{(\w+)}", r"(?P<\1>[0-9]{1,18})", wide))


_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("GET", re.compile("/user"), _viewer),
    *((method, _pattern("/repos/", rest), handler) for method, rest, handler in (*_HOOKS, *_REPOSITORY)),
    *((method, _pattern("/orgs/", rest), handler) for method, rest, handler in _HOOKS),
)
