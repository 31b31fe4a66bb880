"""FastAPI and DBOS: a workflow with one step for each webhook; the delivery's id is the workflow's.

`start_workflow_async` returns once the workflow's row is written, so the answer is as durable
as the database. DBURL is a SQLite or PostgreSQL URL.
"""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, SetWorkflowID
from fastapi import FastAPI, HTTPException, Request

from benchmarks.peers.common import is_opened_issue, verify

# A small pool: on one core, more connections than can work at a time only wait for each other.
DBOS(
    config={
        "name": "bench",
        "system_database_url": os.environ["DBURL"],
        "sys_db_pool_size": 5,
        "log_level": "ERROR",
    }
)


@DBOS.step()
async def summarise(number: int, title: str) -> dict[str, Any]:
    return {"number": number, "title": title}


@DBOS.workflow()
async def on_issue_opened(text: str) -> dict[str, Any]:
    issue = json.loads(text)["issue"]
    return await summarise(issue["number"], issue["title"])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    DBOS.launch()
    yield
    DBOS.destroy()


app = FastAPI(lifespan=lifespan)


@app.post("/webhook")
async def webhook(request: Request) -> dict[str, bool]:
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    if is_opened_issue(request.headers, json.loads(body)):
        with SetWorkflowID(request.headers["x-github-delivery"]):
            await DBOS.start_workflow_async(on_issue_opened, body.decode())
    return {"ok": True}
