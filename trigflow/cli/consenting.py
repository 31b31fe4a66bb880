"""A consent from the command line: a page on this machine sends the browser on and takes it back.

It is the app's own pages, below http://127.0.0.1:PORT (RFC 8252, 7.3), with no access log.
"""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from typing import Any

import anyio

from trigflow.app import App
from trigflow.cli.connecting import WHO
from trigflow.cli.screen import say, styled
from trigflow.cli.serving import LOOPBACK, bound_at
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.runtime.connections.consent import LIFE, ConsentError, Consents, Finished
from trigflow.sources.integration import Integration
from trigflow.web.answers import Receive, Scope, Send, send_answer
from trigflow.web.oauth import OAuthPages

STRAY = ("bad-link", "used", "other-browser")


class _Loopback:
    """Serves the pages of one consent, until it has ended."""

    def __init__(self, app: App, base_url: str) -> None:
        opened = app.opened
        self.consents = Consents(
            opened.connections, opened.store, opened.vault, opened.clock, base_url=base_url, who=WHO
        )
        self.outcome: Finished | Exception | None = None
        self.server: Any = None
        self._pages = OAuthPages(self.consents, opened.connections, base_url, heard=self._hear)

    def _hear(self, outcome: Finished | Exception) -> None:
        # Whatever else asks here (a page that is loaded twice, a stranger's) does not end the consent.
        if not isinstance(outcome, ConsentError) or outcome.cause not in STRAY:
            self.outcome = outcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, await self._pages.answer(scope["path"], scope))
        if self.outcome is not None:
            self.server.should_exit = True


async def consent(
    app: App, integration: Integration, name: str, client: Mapping[str, str], *, port: int, browser: bool
) -> str:
    """Have a person agree in a browser; return the connection's ref."""
    import uvicorn

    with bound_at(LOOPBACK, port) as bound:
        base_url = f"http://{LOOPBACK}:{bound.getsockname()[1]}"
        loopback = _Loopback(app, base_url)
        link = loopback.consents.link(integration, name, client=client)
        say("redirect URL  ", styled(loopback.consents.redirect_url, "bold"), "  (the provider must know it)")
        config = uvicorn.Config(
            loopback, access_log=False, log_level="critical", lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        loopback.server = uvicorn.Server(config)
        with anyio.move_on_after(LIFE.total_seconds()):
            async with anyio.create_task_group() as group:
                group.start_soon(loopback.server.serve, [bound])
                if not browser or not await anyio.to_thread.run_sync(webbrowser.open, link):
                    say("open this in a browser of this machine:")
                    print(link, flush=True)  # in one piece, whatever the width
    if isinstance(loopback.outcome, Finished):
        return loopback.outcome.ref
    if isinstance(loopback.outcome, TrigflowError):
        raise loopback.outcome
    if loopback.outcome is not None:
        raise SetupError(f"not connected: {type(loopback.outcome).__name__} while the consent was checked")
    raise SetupError("nobody agreed in time; nothing was kept")
