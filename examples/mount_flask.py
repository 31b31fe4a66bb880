"""Serve trigflow under /hooks beside a Flask app.

Run it with `uvicorn examples.mount_flask:app`. Needs GITHUB_TOKEN, and TRIGFLOW_URL with the mount
prefix at its end, such as https://example.com/hooks.
Flask is WSGI: it has no lifespan and no event loop, and trigflow needs both. So the
server is an ASGI one, trigflow has its lifespan, and a2wsgi runs Flask inside, in
threads. The other way round (trigflow inside a WSGI server) would leave nobody to open
it and no loop that lives between requests.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from flask import Flask

from trigflow import IO, App, trigger
from trigflow_github import GitHubClient, github
from trigflow_github.payloads import Issues

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@trigger(github.issues(repo="acme/web", actions=["opened"]))
async def welcome(payload: Issues, hub: GitHubClient, io: IO) -> None:
    """Thank whoever opened an issue."""
    await io.task("comment", hub.comment, "acme/web", payload.issue.number, "Thank you!")


hooks = App(jobs=[welcome])

flask = Flask(__name__)


@flask.get("/")
def home() -> str:
    return "home"


site: Any = WSGIMiddleware(cast("Any", flask))  # two libraries that type WSGI each in its way


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Give /hooks and the lifespan to trigflow, and everything else to Flask."""
    if scope["type"] == "lifespan":
        await hooks(scope, receive, send)
    elif scope["type"] == "http" and scope["path"].startswith("/hooks/"):
        await hooks({**scope, "root_path": "/hooks"}, receive, send)
    else:
        await site(scope, receive, send)
