"""Subscriptions as people name them: one of them, or all that some words fit, a page at a time.

id ─none─> key ─none─> key of a subscriber ─none─> start of a key ─none─> refused
 └ one: that        └ several: refused, with the candidates
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from trigflow.app import App
from trigflow.core.errors import TrigflowError
from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.ports import Store

PAGE = 500  # subscriptions that are read at a time
CANDIDATES = 10  # that are told where a name fits several


async def pages(
    app: App, *, after: str = "", which: r.Which = r.ANY
) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription], None]:
    """Yield subscriptions by id, a page at a time, however many there are."""
    while True:
        page = await app.opened.store.page(after=after, limit=PAGE, which=which)
        for endpoint in page:
            for s in endpoint.subscriptions:
                after = s.id
                yield endpoint, s
        if len(page) < PAGE:
            return


async def called(app: App, name: str) -> tuple[r.Endpoint, r.Subscription]:
    """Find the subscription that a person names.

    An id, then a key, then the key of somebody who subscribed, then the start of a key:
    the first of these that fits any. TrigflowError where none does, or where it fits several.
    """
    store = app.opened.store
    by_id = await store.subscription(name)
    if by_id is not None:
        return await _whole(app, by_id.identity)
    for how, look in (
        ("have the key", _with_key),
        ("have a subscriber with the key", _of_subscriber),
        ("have a key that starts with", _starting),
    ):
        found = await look(store, name)
        if len(found) == 1:
            return await _whole(app, found[0].identity)
        if found:
            raise TrigflowError(_several(how, name, found))
    raise TrigflowError(
        f"there is no subscription {name!r}; `trigflow subscriptions list` shows those that are there"
    )


async def _whole(app: App, identity: Identity) -> tuple[r.Endpoint, r.Subscription]:
    found = await app.opened.store.endpoints_for([identity])
    for endpoint in found.values():
        return endpoint, endpoint.subscriptions[0]
    raise TrigflowError(f"{identity[0]} {identity[1]} was removed just now")


async def _with_key(store: Store, key: str) -> Sequence[r.Subscription]:
    page = await store.page(limit=CANDIDATES + 1, which=r.Which(called=key))
    return [s for endpoint in page for s in endpoint.subscriptions]


async def _of_subscriber(store: Store, key: str) -> Sequence[r.Subscription]:
    identities = {one.identity for one in await store.subscribers_called(key, limit=CANDIDATES + 1)}
    page = (await store.endpoints_for(identities)).values()
    return [s for endpoint in page for s in endpoint.subscriptions]


async def _starting(store: Store, prefix: str) -> Sequence[r.Subscription]:
    return await store.starting(prefix, limit=CANDIDATES + 1) if prefix else ()


def _several(how: str, name: str, found: Sequence[r.Subscription]) -> str:
    count = f"more than {CANDIDATES}" if len(found) > CANDIDATES else str(len(found))
    ids = ", ".join(f"{s.id} ({s.source} {s.key}, {s.connection})" for s in found[:CANDIDATES])
    return f"{count} subscriptions {how} {name!r}; name one by its id: {ids}"
