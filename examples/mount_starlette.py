"""Mount trigflow under /hooks of a Starlette app.

Run it with `uvicorn examples.mount_starlette:app`. Needs GITHUB_TOKEN, and TRIGFLOW_URL with the mount
prefix at its end, such as https://example.com/hooks.
A mounted app gets no lifespan of its own: the host's opens it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from trigflow import IO, App, trigger
from trigflow_github import GitHubClient, github
from trigflow_github.payloads import Issues


@trigger(github.issues(repo="acme/web", actions=["opened"]))
async def welcome(payload: Issues, hub: GitHubClient, io: IO) -> None:
    """Thank whoever opened an issue."""
    await io.task("comment", hub.comment, "acme/web", payload.issue.number, "Thank you!")


hooks = App(jobs=[welcome])


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
    async with hooks:
        yield


async def home(_: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


app = Starlette(routes=[Route("/", home), Mount("/hooks", app=hooks)], lifespan=lifespan)
