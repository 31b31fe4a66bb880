"""What the fake answers, and how GitHub words its refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import attrs

from trigflow.testing.fake_server import Refused, Reply

if TYPE_CHECKING:
    from trigflow_github.testing.access import Caller

DOCUMENTATION = "https://docs.github.com/rest"
SECRET_SHOWN = "********"  # noqa: S105 - what GitHub shows instead of one

Json = dict[str, Any]


@attrs.frozen
class Asked:
    """A request to the fake: `path` holds the matched parts of its path, by name.

    headers: names in lower case. caller: None before it is known.
    """

    method: str
    url: str  # without the query
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Json
    headers: Mapping[str, str] = attrs.Factory(dict[str, str])
    caller: Caller | None = None


def refused(status: int, message: str, **more: Any) -> Refused:
    """Make an error as GitHub words it."""
    body = {"message": message, **more, "documentation_url": DOCUMENTATION, "status": str(status)}
    return Refused(Reply(status, body))


def invalid(*errors: Json) -> Refused:
    """Make a 422 with the errors listed."""
    return refused(422, "Validation Failed", errors=list(errors))


def not_found() -> Refused:
    """Make a 404: for what is not there and for what may not be seen."""
    return refused(404, "Not Found")


def page_of(items: Sequence[Any], asked: Asked) -> Reply:
    """Answer one page of a list, with the links to others."""
    size = _size(asked)
    page = max(1, _number(asked.query.get("page"), 1))
    last = max(1, -(-len(items) // size))
    steps = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    links = {
        rel: f"{asked.url}?{urlencode({**asked.query, 'page': number})}"
        for rel, number in steps.items()
        if 1 <= number <= last and number != page
    }
    return Reply(200, list(items[(page - 1) * size : page * size]), _link(links))


def cursor_page_of(items: Sequence[Json], asked: Asked) -> Reply:
    """Answer one page of a list, newest first, that goes on with what is older than the cursor.

    A cursor names a place in time, so that what comes or goes meanwhile shifts nothing.
    """
    size, before = _size(asked), _before(asked.query.get("cursor"))
    left = [item for item in items if before is None or item["id"] < before]
    chosen = left[:size]
    links: dict[str, str] = {}
    if len(left) > size:
        query = {**asked.query, "cursor": f"v1_{chosen[-1]['id']}"}
        links["next"] = f"{asked.url}?{urlencode(query)}"
    return Reply(200, chosen, _link(links))


def _before(cursor: str | None) -> int | None:
    """Read a cursor; Refused with 400, whose wording is not known, for one that was not given out."""
    if not cursor:
        return None
    found = re.fullmatch("v1_([0-9]{1,18})", cursor)
    if found is None:
        raise refused(400, "Invalid cursor")
    return int(found[1])


def _size(asked: Asked) -> int:
    return min(max(1, _number(asked.query.get("per_page"), 30)), 100)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else default


def _link(links: Mapping[str, str]) -> dict[str, str]:
    if not links:
        return {}
    return {"Link": ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items())}
