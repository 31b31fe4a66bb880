"""FastAPI, written by hand: check, decode, call the function in the request. Keeps nothing."""

import json

from fastapi import FastAPI, HTTPException, Request

from benchmarks.peers.common import is_opened_issue, summary, verify

app = FastAPI()
done = 0


@app.get("/count")
async def count() -> int:
    return done


@app.post("/webhook")
async def webhook(request: Request) -> dict[str, bool]:
    global done
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if is_opened_issue(request.headers, event):
        summary(event)
        done += 1
    return {"ok": True}
