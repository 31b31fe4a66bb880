"""Serving an app with uvicorn: `serve` as it is, `dev` on loopback and again after every change.

`serve --no-runs` takes deliveries and leaves the runs to `work` in other
processes on the same store.

`dev` imports the app in a process of its own each time, so a broken edit is
shown and the next one mends it. What the command line said travels there in
the environment.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import anyio
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import tunnels
from trigflow.cli.environment import environment
from trigflow.cli.following import EVERY, Follower, checked_every, unreachable_url
from trigflow.cli.opening import PublicUrl, StorePath, TargetName, set_up
from trigflow.cli.screen import safe, say, styled, warn
from trigflow.cli.targets import target_of
from trigflow.core.durations import shown_duration
from trigflow.core.errors import SetupError
from trigflow.sources.external import is_webhook
from trigflow.web.answers import Message, Receive, Scope, Send
from trigflow.web.health import LIVENESS, READINESS

LOOPBACK = "127.0.0.1"
FOLLOW = "_TRIGFLOW_DEV_FOLLOW"  # seconds
TARGET, STORE, URL = "_TRIGFLOW_DEV_TARGET", "_TRIGFLOW_DEV_STORE", "_TRIGFLOW_DEV_URL"
TTL = "_TRIGFLOW_DEV_TTL"  # seconds
SET_UP_ERROR = 2
STOP_WITHIN = 25.0  # seconds; container platforms kill after 30
HIGHEST_PORT = 65535
OPEN_REQUESTS = 5  # seconds that requests in flight get to be answered after a stop signal
Port: TypeAlias = Annotated[int, Parameter(help="Port to listen at.")]
Host: TypeAlias = Annotated[str, Parameter(help="Address to listen at; 0.0.0.0 for all.")]
StopWithin: TypeAlias = Annotated[
    float,
    Parameter(help="Seconds after a stop signal until the process ends, whatever still runs: it is resumed."),
]


def serve(
    target: TargetName = None,
    *,
    host: Host = LOOPBACK,
    port: Port = 8000,
    store: StorePath = None,
    url: PublicUrl = None,
    runs: Annotated[bool, Parameter(help="Execute runs here; without, `trigflow work` must.")] = True,
    linger: Annotated[
        float,
        Parameter(help="Seconds that deliveries are still taken after a stop signal, while /readyz says no."),
    ] = 0.0,
    stop_within: StopWithin = STOP_WITHIN,
) -> int:
    """Serve an app; any other ASGI server does as well."""
    app = set_up(target, store, url)
    if not runs:
        app.override(executes=False)
    settings = app.resolved().settings
    if settings.url is None and settings.register != "off" and _wants_webhooks(app):
        warn("no public URL, so no webhooks are registered: pass --url or set TRIGFLOW_URL")
    with bound_at(host, port) as bound:
        _tell_address(host, port)
        return _serve(app, [bound], app, linger=linger, stop_within=stop_within)


def _wants_webhooks(app: App) -> bool:
    sources = [listens.trigger.source for job in app.jobs.values() for listens in job.listens]
    return any(is_webhook(source) and source.registers_itself for source in sources)


def work(
    target: TargetName = None,
    *,
    host: Host = LOOPBACK,
    port: Annotated[int | None, Parameter(help="Answer /healthz and /readyz at this port.")] = None,
    store: StorePath = None,
    url: PublicUrl = None,
    stop_within: StopWithin = STOP_WITHIN,
) -> int:
    """Execute runs, and take no deliveries: beside `serve --no-runs` or another server."""
    app = set_up(target, store, url)
    app.override(executes=True)
    with ExitStack() as stack:
        bound = [] if port is None else [stack.enter_context(bound_at(host, port))]
        say("working    ", styled(app.resolved().settings.store, "bold"), "  (Ctrl+C ends it)")
        sys.stdout.flush()
        return _serve(OnlyHealth(app), bound, app, linger=0.0, stop_within=stop_within)


def _serve(
    asgi: App | OnlyHealth, sockets: list[socket.socket], app: App, *, linger: float, stop_within: float
) -> int:
    import uvicorn

    from trigflow.cli.stopping import Stoppable

    config = uvicorn.Config(asgi, timeout_graceful_shutdown=OPEN_REQUESTS, **_options())
    server = Stoppable(config, app, linger=linger, within=stop_within)
    server.run(sockets)
    return 0 if server.started else SET_UP_ERROR


def dev(
    target: TargetName = None,
    *,
    port: Port = 8000,
    tunnel: Annotated[
        bool, Parameter(negative="", help="Get a public URL from cloudflared or ngrok.")
    ] = False,
    follow: Annotated[
        bool,
        Parameter(
            negative="",
            help="Without a public URL: register webhooks under a host that resolves nowhere and read "
            "providers' own logs of what they could not deliver. Whether a provider accepts such a host is "
            "not confirmed.",
        ),
    ] = False,
    every: Annotated[timedelta, Parameter(help="With --follow: how often logs are read.")] = EVERY,
    follow_url: Annotated[
        str | None, Parameter(help="With --follow: the URL to register, instead of one under .invalid.")
    ] = None,
    reload: Annotated[bool, Parameter(help="Start again when a file changes.")] = True,
    webhook_ttl: Annotated[
        timedelta | None,
        Parameter(help="After this time anybody may remove its webhooks: 3d unless set; 0s: never."),
    ] = None,
    store: StorePath = None,
    url: PublicUrl = None,
) -> int:
    """Serve an app on this machine while it is being written.

    It starts again after every change and shows its endpoints. Webhooks are
    registered by themselves once the public URL is known, and removed at the end.
    """
    from trigflow.cli.lent import lent, ttl_of

    if follow and (tunnel or url is not None):
        raise SetupError("--follow is for a machine without a public URL; leave out --tunnel and --url")
    seconds = str(checked_every(every).total_seconds()) if follow else None
    if follow:
        url = follow_url or unreachable_url()
    app = set_up(target, store, url)
    with ExitStack() as stack:
        bound = stack.enter_context(bound_at(LOOPBACK, port))
        _tell_address(LOOPBACK, port)
        if follow:
            say("following  ", styled(f"every {shown_duration(every)}", "bold"), "  providers' logs are read")
        elif tunnel:
            url = stack.enter_context(tunnels.opened(port))
            say("public URL ", styled(url, "bold"))
        elif app.resolved().settings.url is None:
            warn("no public URL, so no webhooks: pass --tunnel or --url, or try `trigflow deliver`")
        app.override(webhook_ttl=ttl_of(app, webhook_ttl))
        ttl = str(app.resolved().settings.webhook_ttl.total_seconds())
        stack.enter_context(environment({TARGET: target, STORE: store, URL: url, TTL: ttl, FOLLOW: seconds}))
        stack.enter_context(lent(app))
        return _served(bound, port, _folder(target), reload=reload)


def _served(bound: socket.socket, port: int, folder: Path, *, reload: bool) -> int:
    """Serve what the environment names until somebody ends it; return the exit code."""
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    config = uvicorn.Config(
        "trigflow.cli.serving:reloaded", factory=True, host=LOOPBACK, port=port, reload=reload,
        reload_dirs=[str(folder)], **_options(),
    )  # fmt: skip
    server = uvicorn.Server(config)
    if reload:
        ChangeReload(config, target=server.run, sockets=[bound]).run()
        return 0
    server.run([bound])
    return 0 if server.started else SET_UP_ERROR


def bound_at(host: str, port: int) -> socket.socket:
    """Take a port without listening yet: until the app is open, senders are refused and try again."""
    if not 0 <= port <= HIGHEST_PORT:  # getaddrinfo takes 99999 for 34463
        raise SetupError(f"port {port} is no port; give --port a number from 1 to {HIGHEST_PORT}, 0: any")
    try:
        ((family, kind, number, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound = socket.socket(family, kind, number)
    except OSError as error:
        raise SetupError(f"{host} can't be listened at: {error}; choose another with --host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SetupError(
            f"port {port} of {host} can't be had: {error}; choose another with --port"
        ) from error
    bound.set_inheritable(True)
    return bound


def _tell_address(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    say("serving    ", styled(f"http://{name}:{port}", "bold"), "  (Ctrl+C ends it)")
    sys.stdout.flush()


def reloaded() -> Shown:
    """Load the app that `dev` was called for; called by uvicorn in a new process after every change."""
    try:
        app = set_up(os.environ.get(TARGET), os.environ.get(STORE), os.environ.get(URL))
        app.override(webhook_ttl=timedelta(seconds=float(os.environ.get(TTL, "0"))))
        seconds = os.environ.get(FOLLOW)
        if seconds is None:
            return Shown(app)
        app.override(register="off")  # nothing leads here: the follower registers, without a probe
        return Shown(app, Follower(app, timedelta(seconds=float(seconds))))
    except SetupError as error:
        warn(str(error))
        sys.exit(SET_UP_ERROR)


class OnlyHealth:
    """An app of which nothing but its health is served."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the app does, if it is about health."""
        if scope["type"] == "http" and scope["path"] not in (LIVENESS, READINESS):
            scope = {**scope, "path": "/", "root_path": ""}  # where nothing is
        await self._app(scope, receive, send)


class Shown:
    """An app whose endpoints are printed when it has started, and followed from then on."""

    def __init__(self, app: App, follower: Follower | None = None) -> None:
        self._app, self._follower = app, follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the app does."""
        if scope["type"] != "lifespan":
            return await self._app(scope, receive, send)
        async with AsyncExitStack() as stack:
            await self._live(stack, scope, receive, send)
        return None

    async def _live(self, stack: AsyncExitStack, scope: Scope, receive: Receive, send: Send) -> None:
        async def hear() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await stack.aclose()  # the follower ends before the app is closed
            return message

        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._show()
                if self._follower is not None:
                    group = await stack.enter_async_context(anyio.create_task_group())
                    stack.callback(group.cancel_scope.cancel)
                    group.start_soon(self._follower.follow)
            await send(message)

        await self._app(scope, hear, tell)

    async def _show(self) -> None:
        opened = self._app.opened
        say("jobs       ", styled(", ".join(self._app.jobs), "bold"))
        for endpoint in await opened.store.endpoints():
            for subscription in endpoint.subscriptions:
                say(
                    "endpoint   ",
                    styled(f"{subscription.source} {subscription.key}", "bold"),
                    "  ",
                    styled(subscription.state),
                    f"  {safe(opened.reconciler.url_of(endpoint))}",
                )
        sys.stdout.flush()


def _options() -> dict[str, Any]:
    from uvicorn.config import LOGGING_CONFIG

    from trigflow.web.connections import bounded_protocol

    log: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    log["loggers"]["trigflow"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    # The deliveries are the request log, and a line each would cost more than the request. Who a proxy
    # says the client is, is asked for by nobody: URLs are made from the public one. Nobody speaks
    # WebSocket with us: what uvicorn would load for it takes 1 MB.
    return {
        "access_log": False, "log_config": log, "lifespan": "on", "server_header": False,
        "proxy_headers": False, "http": bounded_protocol(), "ws": "none",
    }  # fmt: skip


def _folder(target: str | None) -> Path:
    return Path.cwd() if target is None else target_of(target).folder
