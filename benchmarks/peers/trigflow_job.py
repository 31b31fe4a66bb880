"""trigflow: verify, keep, answer; JOB=1 also starts a job with one task and keeps both results.

The subscription is a manual one: the runner reads URL path and secret from the file ENDPOINT.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import attrs

from trigflow import IO, App, trigger
from trigflow_github import github

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
action = "opened" if os.environ.get("JOB") else "deleted"


@attrs.frozen
class Issue:
    """As much of an issue as the job uses; what it does not declare is not decoded."""

    number: int
    title: str


@attrs.frozen
class Opened:
    """As much of the payload as the job uses."""

    issue: Issue


async def summary(number: int, title: str) -> dict[str, Any]:
    return {"number": number, "title": title}


@trigger(github.issues(repo="acme/web", actions=[action]))
async def on_issue_opened(payload: Opened, io: IO) -> dict[str, Any]:
    return await io.task("summary", summary, payload.issue.number, payload.issue.title)


class Telling(App):
    """An app that tells the runner where its endpoint is once it has started."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_after_telling(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await tell()
            await send(message)

        await super().__call__(scope, receive, send_after_telling if scope["type"] == "lifespan" else send)


hooks = Telling([on_issue_opened], store=os.environ["DB"], register="off", rate_limit=0)


async def tell(prefix: str = "") -> None:
    """Write path and secret of the one endpoint, as `--show-secrets` would."""
    opened = hooks.opened
    (endpoint,) = await opened.store.endpoints()
    key = opened.routes.keys_of(endpoint)[0].secret.decode()
    told = {"path": f"{prefix}{opened.mark}{endpoint.token}", "secret": key}
    await anyio.to_thread.run_sync(Path(os.environ["ENDPOINT"]).write_text, json.dumps(told))
