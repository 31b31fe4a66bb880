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
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import tunnels
from trigflow.cli.environment import environment
from trigflow.cli.opening import PublicUrl, StorePath, TargetName, set_up
from trigflow.cli.screen import safe, say, styled, warn
from trigflow.cli.targets import target_of
from trigflow.core.errors import SetupError
from trigflow.web.answers import Message, Receive, Scope, Send
from trigflow.web.health import LIVENESS, READINESS

LOOPBACK = "127.0.0.1"
TARGET, STORE, URL = "_TRIGFLOW_DEV_TARGET", "_TRIGFLOW_DEV_STORE", "_TRIGFLOW_DEV_URL"
SET_UP_ERROR = 2
STOP_WITHIN = 25.0  # seconds; container platforms kill after 30
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
    with _bound(host, port) as bound:
        _tell_address(host, port)
        return _serve(app, [bound], app, linger=linger, stop_within=stop_within)


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
        bound = [] if port is None else [stack.enter_context(_bound(host, port))]
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
    reload: Annotated[bool, Parameter(help="Start again when a file changes.")] = True,
    store: StorePath = None,
    url: PublicUrl = None,
) -> int:
    """Serve an app on this machine while it is being written.

    It starts again after every change and shows its endpoints. Webhooks are
    registered by itself once the public URL is known.
    """
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    app = set_up(target, store, url)
    with ExitStack() as stack:
        bound = stack.enter_context(_bound(LOOPBACK, port))
        _tell_address(LOOPBACK, port)
        if tunnel:
            url = stack.enter_context(tunnels.opened(port))
            say("public URL ", styled(url, "bold"))
        elif app.resolved().settings.url is None:
            warn("no public URL, so no webhooks: pass --tunnel or --url, or try `trigflow deliver`")
        stack.enter_context(environment({TARGET: target, STORE: store, URL: url}))
        config = uvicorn.Config(
            "trigflow.cli.serving:reloaded", factory=True, host=LOOPBACK, port=port, reload=reload,
            reload_dirs=[str(_folder(target))], **_options(),
        )  # fmt: skip
        server = uvicorn.Server(config)
        if reload:
            ChangeReload(config, target=server.run, sockets=[bound]).run()
            return 0
        server.run([bound])
    return 0 if server.started else SET_UP_ERROR


def _bound(host: str, port: int) -> socket.socket:
    """Take a port without listening yet: until the app is open, senders are refused and try again."""
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
        return Shown(set_up(os.environ.get(TARGET), os.environ.get(STORE), os.environ.get(URL)))
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
    """An app whose endpoints are printed when it has started."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the app does."""
        if scope["type"] != "lifespan":
            return await self._app(scope, receive, send)

        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._show()
            await send(message)

        return await self._app(scope, receive, tell)

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
