"""Serving an app with uvicorn: `serve` as it is, `dev` on loopback and again after every change.

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
from trigflow.web.asgi import Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
TARGET, STORE, URL = "_TRIGFLOW_DEV_TARGET", "_TRIGFLOW_DEV_STORE", "_TRIGFLOW_DEV_URL"
SET_UP_ERROR = 2
Port: TypeAlias = Annotated[int, Parameter(help="Port to listen at.")]


def serve(
    target: TargetName = None,
    *,
    host: Annotated[str, Parameter(help="Address to listen at; 0.0.0.0 for all.")] = LOOPBACK,
    port: Port = 8000,
    store: StorePath = None,
    url: PublicUrl = None,
) -> int:
    """Serve an app; any other ASGI server does as well."""
    import uvicorn

    app = set_up(target, store, url)
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, **_options()))
    with _bound(host, port) as bound:
        _tell_address(host, port)
        server.run([bound])
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

    log: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    log["loggers"]["trigflow"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    # The deliveries are the request log, and a line each would cost more than the request.
    return {"access_log": False, "log_config": log, "lifespan": "on", "server_header": False}


def _folder(target: str | None) -> Path:
    return Path.cwd() if target is None else target_of(target).folder
