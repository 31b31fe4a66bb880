"""gidgethub on aiohttp's server, as its docs show it: Event.from_http, then Router.dispatch. Keeps nothing.

Run it with `python -m benchmarks.peers.gidgethub_aiohttp PORT`.
"""

import sys
from typing import Any

import uvloop
from aiohttp import web
from gidgethub import ValidationFailure, routing, sansio

from benchmarks.peers.common import SECRET, summary

router = routing.Router()
done = 0


@router.register("issues", action="opened")
async def opened(event: sansio.Event, *_args: Any, **_kwargs: Any) -> None:
    global done
    summary(event.data)
    done += 1


async def webhook(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        event = sansio.Event.from_http(request.headers, body, secret=SECRET.decode())
    except ValidationFailure:
        return web.Response(status=401)
    await router.dispatch(event)
    return web.Response(text="ok")


async def count(_: web.Request) -> web.Response:
    return web.Response(text=str(done))


app = web.Application()
app.router.add_post("/webhook", webhook)
app.router.add_get("/count", count)

if __name__ == "__main__":
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
