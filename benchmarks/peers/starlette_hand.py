"""Starlette, written by hand: check, decode, call the function in the request. Keeps nothing."""

import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.peers.common import is_opened_issue, summary, verify

done = 0


async def webhook(request: Request) -> PlainTextResponse:
    global done
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        return PlainTextResponse("bad signature", 401)
    event = json.loads(body)
    if is_opened_issue(request.headers, event):
        summary(event)
        done += 1
    return PlainTextResponse("ok")


async def count(_: Request) -> PlainTextResponse:
    return PlainTextResponse(str(done))


app = Starlette(routes=[Route("/count", count), Route("/webhook", webhook, methods=["POST"])])
