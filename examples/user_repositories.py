"""Let people follow repositories of their own: a web app, its users, and webhooks that come and go.

    PUT    /follow/{user}  {"repo": "u/r"}     the user's repository is followed
    DELETE /follow/{user}                      no longer
    GET    /follow                             who follows what, and how it does

Needs GITHUB_TOKEN and a public URL (TRIGFLOW_URL). A real app knows its user from a session, and connects
each user's account: `app.subscribe(..., connection=f"github/{user}")`. Run: `uvicorn user_repositories:site`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from trigflow import App, Event, LimitReached, RegistrationError, dynamic, trigger
from trigflow_github import github
from trigflow_github.payloads import Issues

repos = dynamic("user-repos", github.issues)


@trigger(repos)
async def notify(payload: Issues, event: Event) -> str:
    """Tell a user of an issue in the repository that they follow."""
    user = event.subscriber
    assert user is not None
    return f"{user.key} ({user.metadata['plan']}): {payload.repository.full_name} {payload.issue.title}"


hooks = App(jobs=[notify], subscribers_limit=10_000)


async def follow(request: Request) -> Response:
    """Subscribe a user, once GitHub has the webhook."""
    user, told = request.path_params["user"], await request.json()
    wish = repos(repo=told["repo"], actions=["opened"])
    try:
        await hooks.subscribe(wish, key=user, metadata={"plan": told.get("plan", "free")}, wait=True)
    except LimitReached as error:
        return JSONResponse({"problem": str(error)}, 429)
    except RegistrationError as error:  # such as a repository that the token may not see
        await hooks.unsubscribe(repos, key=user)
        return JSONResponse({"problem": str(error)}, 409)
    return Response(status_code=204)


async def unfollow(request: Request) -> Response:
    """Unsubscribe a user; the webhook goes with the last one."""
    gone = await hooks.unsubscribe(repos, key=request.path_params["user"])
    return Response(status_code=204 if gone else 404)


async def following(request: Request) -> Response:
    """List who follows what."""
    after = request.query_params.get("after", "")
    found: list[dict[str, Any]] = [
        {"user": one.key, "repo": one.params["repo"], "state": one.state, "cause": one.cause}
        for one in await hooks.subscribers(repos, after=after, limit=100)
    ]
    return JSONResponse(found)


@asynccontextmanager
async def lifespan(_site: Starlette) -> AsyncGenerator[None]:
    """Open the hooks with the site."""
    async with hooks:
        yield


site = Starlette(
    routes=[
        Route("/follow", following),
        Route("/follow/{user}", follow, methods=["PUT"]),
        Route("/follow/{user}", unfollow, methods=["DELETE"]),
        Mount("/hooks", hooks),
    ],
    lifespan=lifespan,
)
