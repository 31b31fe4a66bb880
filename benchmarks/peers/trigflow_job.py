"""trigflow: verify, keep, answer; JOB=1 also starts a job with one task and keeps both results.

The subscription is a manual one: the runner reads URL path and secret from the file ENDPOINT.
"""

import json
import os
from pathlib import Path
from typing import Any

import anyio

from trigflow import IO, App, trigger
from trigflow_github import github

action = "opened" if os.environ.get("JOB") else "deleted"


async def summary(number: int, title: str) -> dict[str, Any]:
    return {"number": number, "title": title}


@trigger(github.issues(repo="acme/web", actions=[action]))
async def on_issue_opened(payload: dict[str, Any], io: IO) -> dict[str, Any]:
    issue = payload["issue"]
    return await io.task("summary", summary, issue["number"], issue["title"])


hooks = App(  # the limit is counted, but never reached
    [on_issue_opened], store=os.environ["DB"], registration="manual", rate_limit=1_000_000
)


async def tell(prefix: str = "") -> None:
    """Write path and secret of the one endpoint, as `--show-secrets` would."""
    opened = hooks.opened
    (endpoint,) = await opened.store.endpoints()
    key = opened.routes.keys_of(endpoint)[0].secret.decode()
    told = {"path": f"{prefix}{opened.mark}{endpoint.token}", "secret": key}
    await anyio.to_thread.run_sync(Path(os.environ["ENDPOINT"]).write_text, json.dumps(told))
