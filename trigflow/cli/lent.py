"""Webhooks of `trigflow dev`: lent for a time, and taken back.

made, with the time in their URL ──a day before it is over, at a start──> removed, and made anew
          └──at the end of `trigflow dev`──> removed at the provider
          └──never taken back, and their time is over──> whoever finds them may remove them
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import anyio

from trigflow.app import App
from trigflow.cli import named, subscribed
from trigflow.cli.opening import exists
from trigflow.cli.screen import say, styled, warn
from trigflow.core.errors import TrigflowError
from trigflow.core.plan import GRACE
from trigflow.opened import MEMORY
from trigflow.runtime import records as r
from trigflow.runtime.registration.provider import has_expired

TTL = timedelta(days=3)
SOON = timedelta(days=1)  # before the time is over; a day's work is not cut short
LONGEST = 20.0  # seconds that providers may take


def ttl_of(app: App, asked: timedelta | None) -> timedelta:
    """Return how long webhooks are lent: as asked for, as the app says, else TTL; 0 is for good."""
    resolved = app.resolved()
    if asked is not None:
        return asked
    return TTL if resolved.origins["webhook_ttl"] == "default" else resolved.settings.webhook_ttl


@contextmanager
def lent(app: App) -> Generator[None, None, None]:
    """Take back what is nearly out of time, and at the end what is registered."""
    _do(app, _renew_old)
    # Asked now: with --follow and without --reload the app is told not to register by itself.
    takes_back = app.resolved().settings.register == "auto"
    before = signal.signal(signal.SIGTERM, _leave)  # which a server raises again when it has ended
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if takes_back:
            _do(app, _take_back)
        signal.signal(signal.SIGTERM, before)


def is_lent(mark: str, endpoint: r.Endpoint, *, by: float) -> bool:
    """Tell whether an endpoint's webhook is lent for a time that is over by then (unix seconds)."""
    return has_expired(f"{mark}{endpoint.token}", by)


def _leave(sig: int, _frame: object) -> None:
    sys.exit(128 + sig)


def _do(app: App, what: Callable[[App], Awaitable[None]]) -> None:
    """Do something with the store, if it is there; a mistake is told and stops nothing."""
    path = app.resolved().settings.store
    if path == MEMORY or not exists(path):
        return
    try:
        anyio.run(partial(_within, app, what))
    except TrigflowError as error:
        warn(f"webhooks were not taken back: {error}")


async def _within(app: App, what: Callable[[App], Awaitable[None]]) -> None:
    with anyio.move_on_after(LONGEST) as scope:
        async with app.inspect():
            await what(app)
    if scope.cancelled_caught:
        warn("providers took too long, so some webhooks of before are still there; `trigflow plan` tells")


async def _renew_old(app: App) -> None:
    by = app.opened.clock.now() + SOON.total_seconds()
    await _remove(app, "out of time  ", lambda endpoint, _: is_lent(app.opened.mark, endpoint, by=by))


async def _take_back(app: App) -> None:
    await _remove(
        app,
        "removed      ",
        lambda endpoint, s: s.data is not None and is_lent(app.opened.mark, endpoint, by=float("inf")),
    )


async def _remove(app: App, told: str, which: Callable[[r.Endpoint, r.Subscription], bool]) -> None:
    """Remove those of which it holds at their providers; what was registered by hand stays as it is."""
    steering = subscribed.steering_of(app, "`trigflow dev`")
    for _, s in [pair async for pair in named.pages(app) if which(*pair)]:
        if (await app.opened.reconciler.means_for(s)).automatic:
            done = await steering.remove(s.identity, force=True, grace=GRACE)
            came_of_it = styled(f"  {done.error}", "red") if done.error else ""
            say(told, styled(f"{s.source} {s.key}", "bold"), came_of_it)
    sys.stdout.flush()
