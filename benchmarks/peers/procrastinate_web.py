"""FastAPI and Procrastinate on PostgreSQL: check, decode, defer one job for each webhook."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from benchmarks.peers.common import is_opened_issue, verify
from benchmarks.peers.procrastinate_tasks import on_issue_opened, tasks


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    async with tasks.open_async():
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhook")
async def webhook(request: Request) -> dict[str, bool]:
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if is_opened_issue(request.headers, event):
        await on_issue_opened.defer_async(event=event)
    return {"ok": True}
