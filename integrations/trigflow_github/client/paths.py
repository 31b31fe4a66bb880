"""The paths of GitHub's REST API, quoted; what can be no name is refused before it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def repo_path(repo: str, *rest: str | int) -> str:
    """Return a path below a repository, "owner/name"."""
    owner, slash, name = repo.partition("/")
    if not slash or not all(_NAME.fullmatch(part) and part.strip(".") for part in (owner, name)):
        raise ValueError(f'{repo!r} is not a repository; write "owner/name"')
    return path_of("repos", owner, name, *rest)


def org_path(org: str, *rest: str | int) -> str:
    """Return a path below an organization."""
    if not _NAME.fullmatch(org) or not org.strip("."):
        raise ValueError(f"{org!r} is not the name of an organization")
    return path_of("orgs", org, *rest)


def hooks_path(repo: str | None, org: str | None, *rest: str | int) -> str:
    """Return a path below the webhooks of a repository or of an organization."""
    if repo is not None and org is None:
        return repo_path(repo, "hooks", *rest)
    if repo is not None or org is None:
        raise ValueError('give one of repo="owner/name" and org="name"')
    return org_path(org, "hooks", *rest)


def path_of(*segments: str | int) -> str:
    """Quote and join; ValueError for a segment that a server would take for a step up or for nothing."""
    texts = [str(segment) for segment in segments]
    for text in texts:
        if not text.strip("."):
            raise ValueError(f"{text!r} can't be part of a path")
    return "/" + "/".join(quote(text, safe="") for text in texts)


def listed(items: Iterable[str] | None) -> list[str] | None:
    """Return a list; TypeError for a text, whose letters nobody means."""
    if isinstance(items, str):
        raise TypeError(f"{items!r} is one text; give a list")
    return None if items is None else list(items)


def given(**values: Any) -> Mapping[str, Any]:
    """Leave out what is None: GitHub takes null for "remove"."""
    return {name: value for name, value in values.items() if value is not None}
