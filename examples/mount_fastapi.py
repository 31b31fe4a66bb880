"""Mount trigflow under /hooks of a FastAPI app.

Run it with `uvicorn examples.mount_fastapi:app`. Needs GITHUB_TOKEN, and TRIGFLOW_URL with the mount
prefix at its end, such as https://example.com/hooks.
A mounted app gets no lifespan of its own: the host's opens it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from trigflow import IO, App, trigger
from trigflow_github import GitHubClient, github
from trigflow_github.payloads import Issues


@trigger(github.issues(repo="acme/web", actions=["opened"]))
async def welcome(payload: Issues, hub: GitHubClient, io: IO) -> None:
    """Thank whoever opened an issue."""
    await io.task("comment", hub.comment, "acme/web", payload.issue.number, "Thank you!")


hooks = App(jobs=[welcome])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    async with hooks:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/hooks", hooks)


@app.get("/", response_class=PlainTextResponse)
async def home() -> str:
    return "home"
