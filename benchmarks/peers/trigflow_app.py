"""trigflow: verify, keep, answer; JOB=1 also starts a job with one task and keeps both results.

The endpoint and its secret are made beside the app's start, as a manual subscription:
the runner reads URL path and secret from the file ENDPOINT.
"""

import json
import os
from pathlib import Path

import anyio

from trigflow import IO, App, trigger
from trigflow.web.asgi import serve_http
from trigflow_github import github

action = "opened" if os.environ.get("JOB") else "deleted"


async def summary(number: int, title: str) -> dict[str, object]:
    return {"number": number, "title": title}


@trigger(github.issues(repo="acme/web", actions=[action]))
async def on_issue_opened(payload: dict[str, object], io: IO) -> dict[str, object]:
    issue = payload["issue"]
    return await io.task("summary", summary, issue["number"], issue["title"])


inner = App([on_issue_opened], store=os.environ["DB"], registration="manual")


async def tell() -> None:
    opened = inner.opened
    (endpoint,) = await opened.store.endpoints()
    key = opened.routes.keys_of(endpoint)[0].secret.decode()
    found = {"path": f"{opened.mark}{endpoint.token}", "secret": key}
    await anyio.to_thread.run_sync(Path(os.environ["ENDPOINT"]).write_text, json.dumps(found))


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        async with inner:
            await tell()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await serve_http(inner._opened, scope, receive, send)
