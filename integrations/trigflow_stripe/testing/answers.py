"""What the fake answers, and how Stripe words its refusals.

Certain: the shape of an error, its types, `resource_missing`. Not certain: the exact texts,
and the codes of refused parameters; nothing should lean on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from trigflow.testing.fake_server import Refused, Reply

Json = dict[str, Any]


@attrs.frozen
class Asked:
    """A request to the fake.

    path: the matched parts of its path, by name. form: its query or its body, nested.
    account: the connected account that it acts for.
    """

    method: str
    path: Mapping[str, str]
    form: Json
    account: str | None = None


def refused(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",  # noqa: A002 - the field's word
    **more: str,
) -> Refused:
    """Make an error as Stripe words it."""
    return Refused(Reply(status, {"error": {"message": message, **more, "type": type}}))


def missing(what: str, id_: str, param: str) -> Refused:
    """Make a 404 for what is not there."""
    return refused(404, f"No such {what}: '{id_}'", code="resource_missing", param=param)


def unknown_route(method: str, path: str) -> Refused:
    """Make a 404 for a URL that Stripe does not have, or this fake does not play."""
    return refused(404, f"Unrecognized request URL ({method}: {path}).")


def check_names(form: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse parameters that the call does not take."""
    for name in form:
        if name not in known and name != "expand":
            raise refused(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def page_of(items: Sequence[Json], asked: Asked, *, url: str, what: str) -> Reply:
    """Answer one page of a list that is newest first; cursors are ids of what is in it."""
    size = _size(asked.form.get("limit", "10"))
    after, before = asked.form.get("starting_after"), asked.form.get("ending_before")
    if before is not None:
        left = items[: _place(items, str(before), what, "ending_before")]
        return _listed(left[-size:], url, has_more=len(left) > size)
    left = items if after is None else items[_place(items, str(after), what, "starting_after") + 1 :]
    return _listed(left[:size], url, has_more=len(left) > size)


def _listed(items: Sequence[Json], url: str, *, has_more: bool) -> Reply:
    return Reply(200, {"object": "list", "data": list(items), "has_more": has_more, "url": url})


def _size(limit: object) -> int:
    text = str(limit)
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise refused(400, f"Invalid integer: {text}", code="parameter_invalid_integer", param="limit")
    if not 1 <= int(text) <= 100:
        raise refused(400, "Limit must be between 1 and 100", param="limit")
    return int(text)


def _place(items: Sequence[Json], id_: str, what: str, param: str) -> int:
    found = next((at for at, item in enumerate(items) if item["id"] == id_), None)
    if found is None:
        raise missing(what, id_, param)
    return found
