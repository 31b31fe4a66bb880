"""What a param may be, asked of the provider and remembered for a moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import attrs

from trigflow.core.errors import SetupError
from trigflow.runtime.connections.clients import Clients, Lent
from trigflow.runtime.ports import Clock
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration
from trigflow.sources.registration import Choices, OptionsHook

REMEMBERED = 60.0  # seconds
MOST = 1_000  # pages remembered
LONGEST_PAGE_NAME = 1_000  # characters; it may come from a form


@attrs.frozen
class _Page:
    """A page as it was listed with a client, by its version, at a time (unix seconds)."""

    version: str
    at: float
    choices: Choices


class Choosing:
    """Lists the values of params, page by page."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        """Ask with the clients of connections."""
        self._clients, self._clock = clients, clock
        self._pages: OrderedDict[tuple[str, str, str | None], _Page] = OrderedDict()

    async def page(self, integration: Integration, param: str, ref: str, page: str | None) -> Choices:
        """Return a page of values; `page` is the `next` of the page before, None for the first.

        Raises SetupError where no source of the integration lists this param, and what the
        connection and its provider raise.
        """
        hook = hooks_of(integration).get(param)
        if ref.partition("/")[0] != integration.id:
            raise SetupError(f"connection {ref!r} is not one of {integration.id}; name one that is")
        if hook is None:
            known = ", ".join(hooks_of(integration)) or "none"
            raise SetupError(f"{integration.id} lists no values of {param!r}; it lists those of: {known}")
        if page is not None and len(page) > LONGEST_PAGE_NAME:
            raise SetupError("that is no page's name; start again without one")
        now, name = self._clock.now(), (ref, param, page)
        async with Lent(self._clients) as lent:
            client = await self._clients.get(ref)  # also where it is remembered: it may have been removed
            version = lent.version_of(ref)
            found = self._pages.get(name)
            # Another version: the ref may be another account's by now. A clock may be set back.
            if found is None or found.version != version or not 0 <= now - found.at < REMEMBERED:
                found = _Page(version, now, await hook(client, page))
                self._pages[name] = found
                self._pages.move_to_end(name)
                if len(self._pages) > MOST:
                    self._pages.popitem(last=False)
        return found.choices


def hooks_of(integration: Integration) -> Mapping[str, OptionsHook[Any]]:
    """Return what lists values, by param, of all sources of an integration."""
    found: dict[str, OptionsHook[Any]] = {}
    for _, specification in integration.specifications():
        if is_webhook(specification.source):
            found |= specification.source.option_hooks
    return found
