"""FastAPI, written by hand: check, decode, call the function in the request. Keeps nothing."""

import json

from fastapi import FastAPI, HTTPException, Request

from benchmarks.peers.common import verify

app = FastAPI()
done = 0


async def on_issue_opened(event):
    global done
    event["issue"]["title"]
    done += 1


@app.get("/count")
async def count():
    return done


@app.post("/webhook")
async def webhook(request: Request):
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if request.headers.get("x-github-event") == "issues" and event.get("action") == "opened":
        await on_issue_opened(event)
    return {"ok": True}
