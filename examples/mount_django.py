"""Serve trigflow under /hooks beside a Django project (ASGI).

Run it with `uvicorn examples.mount_django:app`. Needs GITHUB_TOKEN, and TRIGFLOW_URL with the mount
prefix at its end, such as https://example.com/hooks.
Django has no lifespan and mounts no ASGI apps: the few lines of `app` do both.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

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


async def home(_: HttpRequest) -> HttpResponse:
    return HttpResponse("home")


urlpatterns = [path("", home)]
if not settings.configured:  # a project of your own has DJANGO_SETTINGS_MODULE instead
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="an example's")
    django.setup()
site = get_asgi_application()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Give /hooks and the lifespan to trigflow, and everything else to Django."""
    if scope["type"] == "lifespan":
        await hooks(scope, receive, send)
    elif scope["type"] == "http" and scope["path"].startswith("/hooks/"):
        await hooks({**scope, "root_path": "/hooks"}, receive, send)
    else:
        await site(scope, receive, send)
