"""Opens an app, forks, and says what the child is told. argv: store."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from trigflow import App, TrigflowError, trigger
from trigflow_github import github


@trigger(github.push(repo="acme/web"), id="job")
async def job(payload: dict[str, object]) -> None: ...


async def main(store: str) -> None:
    app = App([job], store=store, register="off")
    async with app:
        (endpoint,) = await app.opened.store.endpoints()
        path = f"{app.opened.mark}{endpoint.token}"
        child = os.fork()
        if child == 0:
            os._exit(await told(app, path))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await app.opened.rows.ensure()  # the parent goes on
        print("parent ok")


async def told(app: App, endpoint: str) -> int:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    for path in ("/healthz", "/readyz", endpoint):
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [],
        }
        await app(scope, receive, send)
    try:
        await app.opened.store.endpoints()
        refused = "nothing"
    except TrigflowError as error:
        refused = str(error)
    try:
        await app.opened.store.beat("x", now=0)
        refused += "; nothing"
    except TrigflowError as error:
        refused += f"; {error}"
    statuses = [message["status"] for message in sent if message["type"] == "http.response.start"]
    print(json.dumps({"statuses": statuses, "refused": refused}), flush=True)
    return 0


asyncio.run(main(sys.argv[1]))
