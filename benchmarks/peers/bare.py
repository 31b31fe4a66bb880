"""Bare ASGI: read the body and check the signature. The ceiling of uvicorn on this machine."""

import hmac

from benchmarks.peers.common import SECRET

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}
DENIED = {"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}
done = 0


async def app(scope, receive, send):
    global done
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["method"] == "GET":
        body = str(done).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        return
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    signature = next((value for key, value in scope["headers"] if key == b"x-hub-signature-256"), b"")
    wanted = b"sha256=" + hmac.digest(SECRET, body, "sha256").hex().encode()
    if not hmac.compare_digest(signature, wanted):
        await send(DENIED)
        await send(EMPTY)
        return
    done += 1
    await send(START)
    await send(BODY)
