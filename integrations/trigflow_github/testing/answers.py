"""What the fake answers, and how GitHub words its refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs

DOCUMENTATION = "https://docs.github.com/rest"
SECRET_SHOWN = "********"  # noqa: S105 - what GitHub shows instead of one

Json = dict[str, Any]


@attrs.frozen
class Asked:
    """A request to the fake: `path` holds the matched parts of its path, by name."""

    method: str
    url: str  # without the query
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Json


@attrs.frozen
class Reply:
    """An answer; `afterwards` starts what happens in the background, maybe before the answer arrives."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = attrs.Factory(dict[str, str])
    afterwards: Callable[[], object] | None = None


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


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
    """Answer the part of a list that follows the id in `cursor`."""
    size = _size(asked)
    cursor = asked.query.get("cursor")
    start = next((at for at, item in enumerate(items) if str(item["id"]) == cursor), 0) if cursor else 0
    rest = items[start + size :]
    links = {"next": f"{asked.url}?{urlencode({**asked.query, 'cursor': rest[0]['id']})}"} if rest else {}
    return Reply(200, list(items[start : start + size]), _link(links))


def _size(asked: Asked) -> int:
    return min(max(1, _number(asked.query.get("per_page"), 30)), 100)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else default


def _link(links: Mapping[str, str]) -> dict[str, str]:
    if not links:
        return {}
    return {"Link": ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items())}
