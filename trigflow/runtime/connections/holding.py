"""Credentials in hand: what calls are made with now.

    given to the app ──else──> the store ──else──> the environment (the default connection)

One that needs a person is `reauthorize`: it is kept, and nobody gets its credentials.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from trigflow.core.errors import ApiError, NotConnected, RateLimited, StoreUnavailable, Unauthorized
from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, Returned, attempt_async
from trigflow.runtime.connections.known import MANUAL, Known, Way
from trigflow.runtime.connections.tokens import Tell, Tokens, refresh_at
from trigflow.runtime.ports import Clock, Connections as Rows
from trigflow.runtime.sealing.discreet import knowing, problem_of
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.credentials import Credentials, Token
from trigflow.sources.integration import Integration
from trigflow.sources.oauth import OAuth2

if TYPE_CHECKING:
    import httpx

RemoveSubscriptions: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

logger: logging.Logger = logging.getLogger("trigflow")
REMEMBERED = 5.0  # seconds that a row is taken for what it was
MOST_REMEMBERED = 10_000  # rows
LOOK = 15.0  # seconds between two looks for tokens to be made anew
YOUNG = timedelta(minutes=5)  # a token that is refused so soon after the one before is no remedy
QUIET = 15.0  # seconds that a provider that failed is not asked again for such a token
AT_ONCE = 20  # connections that one look renews


class Kept(Rows, Protocol):
    """The store, as connections need it."""

    async def log_audit(self, entry: r.AuditEntry) -> None:
        """Keep what somebody did."""
        ...

    async def look_soon(self, identities: Collection[Identity]) -> None:
        """Have subscriptions looked at at once."""
        ...

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment."""
        ...


@attrs.frozen
class Held:
    """Credentials to be used now; `version` differs where they do."""

    integration: Integration
    credentials: Credentials
    version: str


@attrs.frozen
class Listed:
    """A connection, as people see it. origin: app, store or environment."""

    ref: str
    integration: str
    kind: str
    origin: str
    state: str = "good"
    cause: str = ""
    account: str | None = None
    label: str = ""
    missing: tuple[str, ...] = ()
    expires_at: int | None = None
    checked_at: int = 0


async def log_alert(subject: str, cause: str) -> None:
    """Write to the log what a person must hear."""
    if cause:
        logger.error("%s: %s", subject, cause)


async def none_to_remove(ref: str) -> Sequence[str]:
    """Remove nothing."""
    return ()


class Holding:
    """Credentials of an open app's connections; `Connections` adds how they come and go."""

    def __init__(
        self,
        known: Known,
        store: Kept,
        vault: Vault,
        clock: Clock,
        *,
        owner: str,
        chance: Callable[[], float],
        alert: Tell = log_alert,
        remove_subscriptions: RemoveSubscriptions = none_to_remove,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Put the parts together.

        alert: hears which connection needs a person, and why; an empty cause: it is well again.
        remove_subscriptions: removes at the provider what goes through a connection; returns problems.
        transport: what carries calls of token endpoints instead of the network, for tests.
        """
        self.known: Known = known
        self._store, self._clock = store, clock
        self._remove_subscriptions = remove_subscriptions
        self._transport, self._alert = transport, alert
        self._http: httpx.AsyncClient | None = None
        self._rows: OrderedDict[str, tuple[float, r.Connection | None]] = OrderedDict()
        # Of credentials that are not in the store: until when it is used, and which in a row it is.
        self._made: dict[str, tuple[Token, float, int]] = {}
        self._ended: dict[str, float] = {}  # when such a token was last refused before its end
        self.on_removed: Callable[[str], Awaitable[object]] = none_to_remove
        # Why no such token could be had, since when, and until when nobody is asked again.
        self._refused: dict[str, tuple[str, float, float]] = {}
        self.tokens: Tokens = Tokens(
            known, store, vault, clock, owner=owner, chance=chance, http=self.http, alert=alert
        )

    def http(self) -> httpx.AsyncClient:
        """Return the HTTP client of token endpoints."""
        if self._http is None:
            import httpx  # noqa: PLC0415 - 100 ms to import; most processes make no token

            self._http = httpx.AsyncClient(transport=self._transport)
        return self._http

    async def aclose(self) -> None:
        """Close its network connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def get(self, ref: str) -> Held:
        """Return credentials that are good now.

        Raises Unauthorized where there are none or a person is needed, ApiError where no token
        can be had now.
        """
        integration = self.known.integration(ref)
        given = self.known.given(ref)
        row = None if given is not None else await self._row(ref)
        if row is not None and integration is not None:
            return await self._stored(row, integration)
        way = given or self.known.from_environment(ref)
        if way is None or integration is None:
            raise Unauthorized(f"connection {ref} has {self.known.missing(ref)}")
        _refuse_manual(ref, way.auth.kind)
        return await self._outside(ref, integration, way)

    async def _stored(self, row: r.Connection, integration: Integration) -> Held:
        _refuse_manual(row.ref, row.kind)
        if self.tokens.due(row):
            row = self._remember(await self.tokens.renew(row))
        if row.state != "good":
            raise NotConnected(f"connection {row.ref} must be connected again: {row.cause}")
        return Held(integration, self.tokens.values(row), version_of(row))

    async def _outside(self, ref: str, integration: Integration, way: Way) -> Held:
        """Use credentials that are not in the store; a token of theirs is this process's own."""
        if not way.auth.mints or isinstance(way.auth, OAuth2):
            return Held(integration, way.credentials, ref)
        async with self.tokens.alone(ref):
            made, until, number = self._made.get(ref, (None, 0.0, 0))
            if made is None or until <= self._clock.now():
                made = await self._make(ref, integration, way)
                number += 1
                self._made[ref] = made, self._good_until(made), number
        return Held(integration, Credentials({**way.credentials, **made.values}), f"{ref} {number}")

    async def _make(self, ref: str, integration: Integration, way: Way) -> Token:
        """Make a token; a provider that failed is left alone for a moment, however many ask."""
        now = self._clock.now()
        told, since, until = self._refused.get(ref, ("", 0.0, 0.0))
        if since <= now < until:  # a clock may be set back
            raise ApiError(f"connection {ref}", 0, f"no token can be had now: {told}")
        app = self.known.app(integration, way.auth, way.credentials)
        try:
            return await self.tokens.make(way.auth, app, way.credentials)
        except ApiError as error:
            asked = error.until.timestamp() if isinstance(error, RateLimited) else 0.0
            self._refused[ref] = self._told(error), now, max(now + QUIET, asked)
            raise

    def _end_outside(self, ref: str, version: str) -> bool:
        """Let go of a token that the provider refuses; tell whether the next one is another."""
        made, _, number = self._made.get(ref, (None, 0.0, 0))
        if made is None or version != f"{ref} {number}":
            return made is not None
        now = self._clock.now()
        if 0 <= now - self._ended.get(ref, float("-inf")) < YOUNG.total_seconds():
            return False
        self._ended[ref] = now
        self._made[ref] = made, 0.0, number
        return True

    def _good_until(self, token: Token) -> float:
        at = refresh_at(token, now=datetime.fromtimestamp(self._clock.now(), UTC), chance=0.0)
        return float("inf") if at is None else at / 1000

    async def exists(self, ref: str) -> bool:
        """Tell whether there is such a connection, in the store or outside."""
        return self._has(ref) or await self._row(ref) is not None

    async def load(self, refs: Collection[str]) -> None:
        """Look these up, so that `credentials` and `missing` tell of them without asking anybody."""
        for ref in refs:
            await self._row(ref)

    def credentials(self, ref: str) -> Credentials | None:
        """Return what is known of credentials without asking anybody; None: nothing to call with."""
        row = self._rows.get(ref, (0.0, None))[1]
        given = self.known.given(ref)
        if given is None and row is not None:
            return None if row.state != "good" or row.kind == MANUAL else self.tokens.values(row)
        way = given or self.known.from_environment(ref)
        return None if way is None or way.auth.kind == MANUAL else way.credentials

    def missing(self, ref: str) -> str:
        """Say why a connection has no credentials, and what helps."""
        row = self._rows.get(ref, (0.0, None))[1]
        if row is not None and row.kind == MANUAL:
            return "no credentials: it was connected by hand"
        if row is not None and row.state != "good":
            return f"no credentials that are good: {row.cause}; connect it again"
        return self.known.missing(ref)

    def secrets(self) -> Sequence[str]:
        """Return every secret that this process has had in hand: what no message may tell."""
        return [*self.known.secrets(), *self.tokens.had]

    # --- looking and keeping fresh

    async def listed(self, integration: str | None = None) -> Sequence[Listed]:
        """Return all connections by ref."""
        found = {row.ref: _listed(row) for row in await self._store.connections(integration=integration)}
        for id_ in self.known.ids():
            way = self.known.from_environment(id_)
            if way is not None and id_ not in found:
                found[id_] = Listed(id_, id_, way.auth.kind, "environment")
        for ref in self.known.refs():
            given = self.known.given(ref)
            if given is not None:
                found[ref] = Listed(ref, ref.partition("/")[0], given.auth.kind, "app")
        return [one for _, one in sorted(found.items()) if integration in (None, one.integration)]

    async def renew_due(self) -> None:
        """Renew the tokens that are due now."""
        rows = await self._store.connections_due(now=self._ms(), limit=AT_ONCE)
        for row in [row for row in rows if self.known.integration(row.ref) is not None]:
            renewed = await self._renewed(row)
            if not isinstance(renewed, Raised):
                self._remember(renewed.value)
            elif isinstance(renewed.error, StoreUnavailable):
                raise renewed.error

    async def _renewed(self, row: r.Connection) -> Returned[r.Connection] | Raised:
        return await attempt_async(lambda: self.tokens.renew(row))

    # ---

    async def _row(self, ref: str) -> r.Connection | None:
        at, row = self._rows.get(ref, (0.0, None))
        if ref in self._rows and 0 <= self._clock.now() - at < REMEMBERED:  # a clock may be set back
            return row
        return self._remembered(ref, await self._store.connection(ref))

    def _remember(self, row: r.Connection) -> r.Connection:
        self._remembered(row.ref, row)
        return row

    def _remembered(self, ref: str, row: r.Connection | None) -> r.Connection | None:
        self._rows[ref] = self._clock.now(), row
        self._rows.move_to_end(ref)
        if len(self._rows) > MOST_REMEMBERED:
            self._rows.popitem(last=False)
        return row

    def _has(self, ref: str) -> bool:
        return self.known.given(ref) is not None or self.known.from_environment(ref) is not None

    def _told(self, error: Exception) -> str:
        return problem_of(error, knowing(self.secrets()))

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def version_of(row: r.Connection) -> str:
    """Name what a row's client is made with; another name where its credentials may be others."""
    return f"{row.ref} {row.created_at} {row.updated_at}"


def _refuse_manual(ref: str, kind: str) -> None:
    if kind == MANUAL:
        raise Unauthorized(f"connection {ref} was made by hand: there is nothing to call its provider with")


def _listed(row: r.Connection) -> Listed:
    return Listed(
        row.ref, row.integration, row.kind, "store", row.state, row.cause, row.account, row.label,
        row.missing, row.expires_at or None, row.checked_at,
    )  # fmt: skip
