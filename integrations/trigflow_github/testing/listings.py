"""The routes of the App, its installations, and what a token may see."""

from __future__ import annotations

from collections.abc import Callable

from trigflow.testing.fake_server import Reply
from trigflow_github.testing import apps
from trigflow_github.testing.access import Caller
from trigflow_github.testing.answers import Asked, Json, not_found, page_of, refused
from trigflow_github.testing.apps import FakeApp, Installation
from trigflow_github.testing.hooks import written
from trigflow_github.testing.world import Place, World


def app_of(world: World) -> FakeApp:
    """Return the App; Refused with 404 where there is none."""
    if world.app is None:
        raise not_found()
    return world.app


def _get_app(world: World, _asked: Asked) -> Reply:
    app = app_of(world)
    return Reply(200, app.shown(world.viewer(), installations=len(world.installations)))


def _shown(world: World, one: Installation) -> Json:
    account = world.account(world.known(one.account))
    return one.shown(app_of(world), account, world.base_url)


def _list_installations(world: World, asked: Asked) -> Reply:
    return page_of([_shown(world, one) for one in world.installations.values()], asked)


def _installation(world: World, asked: Asked) -> Installation:
    found = world.installations.get(int(asked.path["installation"]))
    if found is None:
        raise not_found()
    return found


def _get_installation(world: World, asked: Asked) -> Reply:
    return Reply(200, _shown(world, _installation(world, asked)))


def _get_installation_of(world: World, asked: Asked) -> Reply:
    place = world.place(asked.path["place"])
    for one in world.installations.values():
        if world.covers(one, place):
            return Reply(200, _shown(world, one))
    raise not_found()


def _create_token(world: World, asked: Asked) -> Reply:
    one = _installation(world, asked)
    if one.suspended_at is not None:
        raise refused(403, "This installation has been suspended")
    mine = [place for place in world.repositories() if world.covers(one, place)]
    chosen = apps.narrowed(one, asked.body, {place.id: place.name.partition("/")[2] for place in mine})
    permissions = apps.lowered(one, asked.body)
    token, expires_at = apps.new_token("ghs"), world.now() + apps.TOKEN_LIFE
    caller = Caller(
        "installation",
        f"installation {one.id}",
        permissions=permissions,
        repositories=chosen,
        installation=one.id,
    )
    world.tokens.grant(token, caller, expires_at=expires_at)
    told: Json = {"token": token, "expires_at": written(expires_at), "permissions": dict(permissions)}
    told["repository_selection"] = "all" if chosen is None else "selected"
    if chosen is not None:
        told["repositories"] = [_repository(world, place) for place in mine if place.id in chosen]
    return Reply(201, told)


def _repository(world: World, place: Place) -> Json:
    """Show a repository as lists do."""
    shown: Json = world.sample(place, "ping", "default")["repository"]
    rights = {"admin": True, "push": True, "pull": True}
    return {**shown, **world.repository(place), "permissions": rights}


def _seen(world: World, asked: Asked, organization: Place | None = None) -> list[Json]:
    places = world.repositories(organization)
    return [_repository(world, place) for place in places if world.shows(place, asked.caller)]


def _list_installation_repositories(world: World, asked: Asked) -> Reply:
    found = _seen(world, asked)
    page = page_of(found, asked)
    return Reply(200, {"total_count": len(found), "repositories": page.body}, page.headers)


def _list_my_repositories(world: World, asked: Asked) -> Reply:
    return page_of(_seen(world, asked), asked)


def _list_repositories(world: World, asked: Asked) -> Reply:
    place = world.place(asked.path["place"], asked.caller)
    return page_of(_seen(world, asked, place), asked)


def _list_my_organizations(world: World, asked: Asked) -> Reply:
    places = [one for one in world.places.values() if one.kind == "Organization"]
    return page_of([_organization(world, one) for one in places if world.shows(one, asked.caller)], asked)


def _organization(world: World, place: Place) -> Json:
    url = f"{world.base_url}/orgs/{place.name}"
    names = ("repos", "events", "hooks", "issues")
    links = {f"{name}_url": f"{url}/{name}" for name in names}
    links |= {
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
    }
    told: Json = {"login": place.name, "id": place.id, "node_id": f"O_{place.id}", "url": url, **links}
    return told | {"avatar_url": "https://avatars.githubusercontent.com/u/1", "description": None}


def _viewer(world: World, _asked: Asked) -> Reply:
    times = {"created_at": written(world.now()), "updated_at": written(world.now())}
    counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
    unset = dict.fromkeys(("name", "company", "location", "email", "hireable", "bio"))
    return Reply(200, {**world.viewer(), **times, **counts, **unset, "blog": ""})


ROUTES: tuple[tuple[str, str, Callable[[World, Asked], Reply]], ...] = (
    ("GET", "/app", _get_app),
    ("GET", "/app/installations", _list_installations),
    ("GET", "/app/installations/{installation}", _get_installation),
    ("POST", "/app/installations/{installation}/access_tokens", _create_token),
    ("GET", "/repos/{repo}/installation", _get_installation_of),
    ("GET", "/orgs/{org}/installation", _get_installation_of),
    ("GET", "/installation/repositories", _list_installation_repositories),
    ("GET", "/user", _viewer),
    ("GET", "/user/repos", _list_my_repositories),
    ("GET", "/user/orgs", _list_my_organizations),
    ("GET", "/orgs/{org}/repos", _list_repositories),
)
