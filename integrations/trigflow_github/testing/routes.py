"""The routes of the fake: which function answers which request.

A function takes the world and the request and returns a Reply or raises Refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import attrs

from trigflow.testing.fake_server import Reply
from trigflow_github.testing import issues, listings
from trigflow_github.testing.answers import Asked, cursor_page_of, not_found, page_of, refused
from trigflow_github.testing.apps import check_config
from trigflow_github.testing.deliveries import REDELIVERABLE
from trigflow_github.testing.hooks import FakeHook, created, patched, reconfigured
from trigflow_github.testing.world import Place, World

Sends = Callable[[FakeHook, str, Any], object]  # hook, event, payload
Resends = Callable[[FakeHook, int], object]  # hook, number of the attempt


@attrs.frozen
class Mail:
    """How deliveries leave: the fake sends, the routes only say what."""

    send: Sends
    resend: Resends


Handler = Callable[[World, Asked, Mail], Reply]


def answer(world: World, asked: Asked, mail: Mail, path: str) -> Reply:
    """Find the route of a path, still quoted, and answer; Refused with 404 where there is none."""
    for method, pattern, handler in _ROUTES:
        found = pattern.fullmatch(path) if method == asked.method else None
        if found is not None:
            parts = {name: unquote(text) for name, text in found.groupdict().items()}
            return handler(world, attrs.evolve(asked, path=parts), mail)
    raise not_found()


def _place(world: World, asked: Asked) -> Place:
    return world.place(asked.path["place"], asked.caller)


def _visible(hook: FakeHook, asked: Asked) -> bool:
    """Tell whether the caller is shown a webhook: an OAuth app's are its own, and only they."""
    client = asked.caller.client if asked.caller is not None else None
    return hook.maker == client


def _hook(world: World, asked: Asked) -> FakeHook:
    """Return the hook that the path names, or the App's."""
    if "place" not in asked.path:
        return listings.app_of(world).hook
    hook = world.hook(_place(world, asked), int(asked.path["hook"]))
    if not _visible(hook, asked):
        raise not_found()
    return hook


def _list_hooks(world: World, asked: Asked, _mail: Mail) -> Reply:
    hooks = [hook for hook in _place(world, asked).hooks.values() if _visible(hook, asked)]
    return page_of([hook.shown(world.base_url) for hook in hooks], asked)


def _create_hook(world: World, asked: Asked, mail: Mail) -> Reply:
    place, now = _place(world, asked), world.now()
    maker = asked.caller.client if asked.caller is not None else None
    empty = FakeHook(world.next_id(), place.name, place.kind, place.id, now, now, maker=maker)
    hook = created(empty, asked.body, place.hooks.values())
    place.hooks[hook.id] = hook
    shown = hook.shown(world.base_url)
    return Reply(201, shown, {"Location": shown["url"]}, lambda: mail.send(hook, "ping", world.ping(hook)))


def _get_hook(world: World, asked: Asked, _mail: Mail) -> Reply:
    return Reply(200, _hook(world, asked).shown(world.base_url))


def _patch_hook(world: World, asked: Asked, _mail: Mail) -> Reply:
    place, hook = _place(world, asked), _hook(world, asked)
    changed = patched(hook, asked.body, place.hooks.values(), now=world.now())
    place.hooks[hook.id] = changed
    return Reply(200, changed.shown(world.base_url))


def _delete_hook(world: World, asked: Asked, _mail: Mail) -> Reply:
    del _place(world, asked).hooks[_hook(world, asked).id]
    return Reply(204)


def _get_config(world: World, asked: Asked, _mail: Mail) -> Reply:
    return Reply(200, _hook(world, asked).config())


def _patch_config(world: World, asked: Asked, _mail: Mail) -> Reply:
    place, hook = _place(world, asked), _hook(world, asked)
    changed = reconfigured(hook, asked.body, place.hooks.values(), now=world.now())
    place.hooks[hook.id] = changed
    return Reply(200, changed.config())


def _patch_app_config(world: World, asked: Asked, _mail: Mail) -> Reply:
    app = listings.app_of(world)
    check_config(app.hook, asked.body)
    app.hook = reconfigured(app.hook, asked.body, (), now=world.now())
    return Reply(200, app.hook.config())


def _ping_hook(world: World, asked: Asked, mail: Mail) -> Reply:
    hook = _hook(world, asked)
    return Reply(204, afterwards=lambda: mail.send(hook, "ping", world.ping(hook)))


def _test_hook(world: World, asked: Asked, mail: Mail) -> Reply:
    """Send the latest push, but only to a hook that wants pushes; 204 either way."""
    hook, place = _hook(world, asked), _place(world, asked)
    if not hook.wants("push"):
        return Reply(204)
    payload = world.sample(place, "push", "default")
    return Reply(204, afterwards=lambda: mail.send(hook, "push", payload))


def _list_deliveries(world: World, asked: Asked, _mail: Mail) -> Reply:
    hook, status = _hook(world, asked), asked.query.get("status")
    mine = world.kept(hook)
    chosen = [attempt for attempt in mine if status is None or attempt.ok == (status == "success")]
    return cursor_page_of([attempt.shown() for attempt in chosen], asked)


def _get_delivery(world: World, asked: Asked, _mail: Mail) -> Reply:
    return Reply(200, world.attempt_of(_hook(world, asked), int(asked.path["delivery"])).shown_whole())


def _redeliver(world: World, asked: Asked, mail: Mail) -> Reply:
    hook = _hook(world, asked)
    attempt = world.attempt_of(hook, int(asked.path["delivery"]))
    if attempt.delivered_at <= world.now() - REDELIVERABLE:
        raise refused(422, "This delivery is too old to be redelivered")
    return Reply(202, {}, afterwards=lambda: mail.resend(hook, attempt.id))


def _of_repository(handler: Callable[[World, Place, Asked], Reply]) -> Handler:
    return lambda world, asked, _mail: handler(world, _place(world, asked), asked)


def _plain(handler: Callable[[World, Asked], Reply]) -> Handler:
    return lambda world, asked, _mail: handler(world, asked)


_DELIVERIES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/deliveries", _list_deliveries),
    ("GET", "/deliveries/{delivery}", _get_delivery),
    ("POST", "/deliveries/{delivery}/attempts", _redeliver),
)
_HOOKS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/hooks", _list_hooks),
    ("POST", "/hooks", _create_hook),
    ("GET", "/hooks/{hook}", _get_hook),
    ("PATCH", "/hooks/{hook}", _patch_hook),
    ("DELETE", "/hooks/{hook}", _delete_hook),
    ("GET", "/hooks/{hook}/config", _get_config),
    ("PATCH", "/hooks/{hook}/config", _patch_config),
    ("POST", "/hooks/{hook}/pings", _ping_hook),
    *((method, f"/hooks/{{hook}}{rest}", handler) for method, rest, handler in _DELIVERIES),
)
_ALL: tuple[tuple[str, str, Handler], ...] = (
    *((method, path, _plain(handler)) for method, path, handler in listings.ROUTES),
    ("GET", "/app/hook/config", _get_config),
    ("PATCH", "/app/hook/config", _patch_app_config),
    *((method, f"/app/hook{rest}", handler) for method, rest, handler in _DELIVERIES),
    *((method, f"/repos/{{repo}}{rest}", handler) for method, rest, handler in _HOOKS),
    ("POST", "/repos/{repo}/hooks/{hook}/tests", _test_hook),
    *((method, f"/orgs/{{org}}{rest}", handler) for method, rest, handler in _HOOKS),
    *((method, f"/repos/{{repo}}{rest}", _of_repository(handler)) for method, rest, handler in issues.ROUTES),
)
_PARTS = {
    "repo": "(?P<place>[^/]+/[^/]+)",
    "org": "(?P<place>[^/]+)",
    "label": "(?P<label>[^/]+)",
    "sha": "(?P<sha>[^/]+)",
}


def _pattern(path: str) -> re.Pattern[str]:
    """Compile a path: {repo}, {org}, {label} and {sha} are text, every other {name} is a number."""
    return re.compile(
        re.sub(r"{(\w+)}", lambda found: _PARTS.get(found[1], rf"(?P<{found[1]}>[0-9]{{1,18}})"), path)
    )


_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, _pattern(path), handler) for method, path, handler in _ALL
)
