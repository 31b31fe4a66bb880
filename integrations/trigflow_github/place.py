"""Where a webhook of GitHub is: in a repository, in an organization, or at a GitHub App."""

from __future__ import annotations

import re

import attrs

from trigflow import SetupError
from trigflow_github.catalogue.fact import Kind

# Letters, digits, "-", "_" and "."; the first character of an owner is a letter or a digit.
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_ORG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
REMEDY = (
    'give repo="owner/name" or org="name" to the event or to the integration, as in '
    'GitHub(repo="owner/name"), or GitHub(app=True) for the webhook of a GitHub App'
)


@attrs.frozen(kw_only=True)
class Place:
    """Where a webhook is: in one repository, in an organization for all of its repositories, or at an App.

    app: the one webhook of a GitHub App, for all of its installations.
    """

    repo: str | None = None
    org: str | None = None
    app: bool = False


@attrs.frozen
class HookId:
    """What is kept of a webhook: its number at GitHub; of an App's webhook the number of the App."""

    id: int


def key_of(place: Place) -> str:
    """Name the webhook of a place; GitHub's names are the same in any case."""
    if place.app:
        return "app"
    if place.repo is not None and place.org is not None:
        raise SetupError("both repo= and org= are given, which are two webhooks; give one")
    if place.repo is not None:
        return f"repo:{repo_name(place.repo).lower()}"
    if place.org is not None:
        return f"org:{org_name(place.org).lower()}"
    raise SetupError(f"nothing says which webhook to make; {REMEDY}")


def kind_of(place: Place) -> Kind:
    """Tell what kind of webhook a place has."""
    if place.app:
        return "app"
    return "repository" if place.org is None else "organization"


def repo_name(name: str) -> str:
    """Return the name of a repository; SetupError where it can't be one."""
    return _checked(name, _REPO, "owner/name")


def org_name(name: str) -> str:
    """Return the name of an organization; SetupError where it can't be one."""
    return _checked(name, _ORG, "name")


def _checked(name: object, pattern: re.Pattern[str], shape: str) -> str:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise SetupError(f"{name!r} is not the name of a place at GitHub; write {shape!r}")
    return name
