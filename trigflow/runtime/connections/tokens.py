"""Tokens made anew before they expire, by one process at a time.

    good ──due──> claimed ──> token made ──> kept, then used
                     ├── refused for good ──> reauthorize, and somebody is told
                     └── no answer ──backoff──> due again

A provider that rotates refresh tokens takes each once. So whoever refreshes holds the
claim on the row, reads it again under the claim, and keeps the new refresh token in the
same write as the access token, before anybody uses either. Neither a cancelled caller nor
a store that is away for a moment comes in between.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import anyio
import attrs
import msgspec

from trigflow.core.errors import ApiError, RateLimited, RefusedForNow, StoreUnavailable, Unauthorized
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.known import Known, auth_of
from trigflow.runtime.ports import Clock, Connections as Rows
from trigflow.runtime.sealing.discreet import Had, knowing, problem_of
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.credentials import Auth, Credentials, Token
from trigflow.sources.oauth import OAuth2

if TYPE_CHECKING:
    import httpx

Tell: TypeAlias = Callable[[str, str], Awaitable[object]]  # subject, and cause; "": it is well again

logger: logging.Logger = logging.getLogger("trigflow")
AHEAD = timedelta(minutes=5)  # a token is made anew this long before its end, or a tenth of its life
CLAIM = timedelta(minutes=1)  # longer than LONGEST_CALL: nobody else refreshes meanwhile
LONGEST_CALL = 30.0  # seconds that making a token may take
PATIENCE = 45.0  # seconds that one waits for another process to do it
POLL = 0.1  # seconds
KEEP_TRIES = 8  # times that a new token is given to the store: 12 seconds
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(minutes=15)


def refresh_at(token: Token, *, now: datetime, chance: float) -> int | None:
    """Tell when a token is made anew, unix milliseconds; None where it stays good.

    chance: 0 to 1, so that tokens made together are not renewed together.
    """
    if token.expires_at is None:
        return None
    ahead = min(AHEAD, (token.expires_at - now) / 10) * (1 + chance)
    return int((token.expires_at - ahead).timestamp() * 1000)


@attrs.frozen
class _Failed:
    times: int
    until: int  # unix milliseconds


class Tokens:
    """Keeps the tokens of stored connections fresh."""

    def __init__(
        self,
        known: Known,
        rows: Rows,
        vault: Vault,
        clock: Clock,
        *,
        owner: str,
        chance: Callable[[], float],
        http: Callable[[], httpx.AsyncClient],
        alert: Tell,
    ) -> None:
        """Claim rows as `owner`; `alert` hears the connection and why a person is needed."""
        self._known, self._rows, self._vault, self._clock = known, rows, vault, clock
        self._owner, self._chance, self._http, self._alert = owner, chance, http, alert
        self._locks: dict[str, anyio.Lock] = {}
        self._failed: dict[str, _Failed] = {}
        self.had: Had = Had()
        self._unkept: dict[str, tuple[r.Connection, r.Connection]] = {}  # (before, after), not in the store

    def due(self, row: r.Connection) -> bool:
        """Tell whether a row's token is to be made anew."""
        if row.state != "good" or not self._auth(row).mints:
            return False
        if row.refresh_at is not None and not self._expired(row):
            return row.refresh_at <= self._ms()
        return row.expires_at is not None and row.expires_at - self._ahead(row) <= self._ms()

    def _ahead(self, row: r.Connection) -> int:
        """Tell how long before its end a token is made anew, milliseconds: never in most of its life."""
        if row.expires_at is None or isinstance(self._auth(row), OAuth2):
            return 0  # OAuth without a time to refresh at has no refresh token: it is used to its end
        return min(AHEAD // timedelta(milliseconds=1), max(0, row.expires_at - row.updated_at) // 10)

    def values(self, row: r.Connection) -> Credentials:
        """Open a row's credentials; StoreUnusable where no key fits."""
        opened = msgspec.json.decode(self._vault.open(row.sealed), type=dict[str, str])
        self.had.note(opened.values())
        return Credentials(opened)

    def sealed(self, values: Mapping[str, str]) -> bytes:
        """Seal credentials."""
        return self._vault.seal(msgspec.json.encode(dict(values)))

    def forget(self, ref: str) -> None:
        """Forget what failed: a person has given new credentials."""
        self._failed.pop(ref, None)
        self._unkept.pop(ref, None)

    async def make(self, auth: Auth, app: Credentials, kept: Credentials) -> Token:
        """Have a token made, in bounded time."""
        try:
            with anyio.fail_after(LONGEST_CALL):
                token = await auth.token(app, kept, self._http(), now=self._now())
        except TimeoutError as error:
            raise ApiError(f"token of {auth.kind}", 0, f"no answer in {LONGEST_CALL:g} s") from error
        self.had.note(token.values.values())
        return token

    def with_token(self, row: r.Connection, token: Token) -> r.Connection:
        """Return a row with a token; one with a refresh token is renewed whether it is used or not."""
        values = {**self.values(row), **token.values}
        self.had.note(token.values.values())
        now = self._now()
        at = refresh_at(token, now=now, chance=self._chance()) if "refresh_token" in values else None
        return attrs.evolve(
            row,
            sealed=self.sealed(values),
            account=row.account or token.account,
            expires_at=None if token.expires_at is None else int(token.expires_at.timestamp() * 1000),
            refresh_at=at,
            state="good",
            cause="",
            updated_at=self._after(row),
        )

    async def renew(self, row: r.Connection) -> r.Connection:
        """Return a row whose token is good, or that needs a person; ApiError where none can be had now."""
        async with self.alone(row.ref):
            patience = self._clock.now() + PATIENCE
            renewed = await self._try(row.ref)
            while renewed is None:
                if self._clock.now() >= patience:
                    raise ApiError(f"connection {row.ref}", 0, "another process takes long to make its token")
                await self._wait(POLL)
                renewed = await self._try(row.ref)
            return renewed

    def can_renew(self, row: r.Connection) -> bool:
        """Tell whether a new token can be had without a person."""
        auth = self._auth(row)
        if isinstance(auth, OAuth2):
            return auth.refreshes and "refresh_token" in self.values(row)
        return auth.mints

    async def end(self, row: r.Connection) -> r.Connection:
        """Have a token that the provider refuses taken as expired: it is made anew when it is next needed.

        Whoever calls holds the claim on the row: a token that is being made would be lost.
        """
        now = self._ms()
        ended = attrs.evolve(row, expires_at=now, refresh_at=now, cause="", updated_at=self._after(row))
        return await self.replaced(row, ended)

    async def _try(self, ref: str) -> r.Connection | None:
        """Renew a row unless another process does; None where that one must be waited for."""
        current = await self._rows.connection(ref)
        if current is None:
            raise Unauthorized(f"connection {ref} was removed")
        if not self.due(current):
            return current
        renewed = None if self._expired(current) else current
        async with self.claimed(ref) as mine:
            if mine:
                renewed = await self._renew_claimed(current)
        return renewed

    @asynccontextmanager
    async def claimed(self, ref: str) -> AsyncGenerator[bool, None]:
        """Hold the right to change a row; False where another process has it."""
        until = self._ms() + CLAIM // timedelta(milliseconds=1)
        mine = await self._rows.claim_connection(ref, self._owner, now=self._ms(), until=until)
        try:
            yield mine
        finally:
            if mine:
                with anyio.CancelScope(shield=True):
                    await self._rows.release_connection(ref, self._owner)

    async def _renew_claimed(self, before: r.Connection) -> r.Connection:
        if self._waits(before):
            if self._expired(before):
                raise ApiError(f"connection {before.ref}", 0, f"no token can be had now: {before.cause}")
            return before
        with anyio.CancelScope(shield=True):  # what was asked for must be kept
            return await self._renew_now(before.ref)
        raise AssertionError("nothing cancels a shielded scope")

    async def _renew_now(self, ref: str) -> r.Connection:
        row = await self._rows.connection(ref)
        if row is None:
            raise Unauthorized(f"connection {ref} was removed")
        if not self.due(row):
            return row
        late = self._unkept.get(ref)
        if late is not None and late[0].updated_at == row.updated_at:
            return await self._keep(*late)
        kept = self.values(row)
        made = await attempt_async(lambda: self._made(row, kept))
        if isinstance(made, Raised):
            return await self._refused(row, kept, made.error)
        self._failed.pop(ref, None)
        return await self._keep(row, self.with_token(row, made.value))

    def _waits(self, row: r.Connection) -> bool:
        """Tell whether the provider was asked, by any process, and is to be left alone for now."""
        failed = self._failed.get(row.ref)
        if failed is not None and failed.until > self._ms():
            return True
        return bool(row.cause) and row.refresh_at is not None and row.refresh_at > self._ms()

    async def _made(self, row: r.Connection, kept: Credentials) -> Token:
        integration, auth = self._known.required(row.ref), self._auth(row)
        return await self.make(auth, self._known.app(integration, auth, kept), kept)

    async def _keep(self, before: r.Connection, after: r.Connection) -> r.Connection:
        """Give a new token to the store, however often it takes; else it is given at the next look.

        What somebody else wrote meanwhile (this process may have been stopped for longer than its
        claim) is newer than ours.
        """
        self._unkept[after.ref] = (before, after)
        for attempt in range(KEEP_TRIES):
            try:
                current = await self._rows.connection(after.ref)
                if current is None:
                    raise Unauthorized(f"connection {after.ref} was removed")
                # One that is removed meanwhile stays removed.
                if await self._rows.replace_connection(before, after):
                    current = after
            except StoreUnavailable:
                if attempt == KEEP_TRIES - 1:
                    raise
                await self._wait(0.1 * 2**attempt)
            else:
                self._unkept.pop(after.ref, None)
                return current
        raise AssertionError("the last try returns or raises")

    async def _refused(self, row: r.Connection, kept: Credentials, error: Exception) -> r.Connection:
        problem = problem_of(error, knowing([*self._known.secrets(), *self.had, *kept.values()]))
        if isinstance(error, Unauthorized):
            return await self.give_up(row, problem)
        failed = self._failed.get(row.ref)
        times = 1 if failed is None else failed.times + 1
        wait = min(FIRST_WAIT * 2 ** min(times - 1, 20), LONGEST_WAIT) * (0.5 + self._chance() / 2)
        until = self._ms() + wait // timedelta(milliseconds=1)
        if isinstance(error, RateLimited | RefusedForNow):
            until = max(until, int(error.until.timestamp() * 1000))
        self._failed[row.ref] = _Failed(times, until)
        logger.warning("connection %s: no new token: %s", row.ref, problem)
        at = None if row.refresh_at is None else until
        later = await self.replaced(
            row, attrs.evolve(row, cause=problem, refresh_at=at, updated_at=self._after(row))
        )
        if self._expired(later):
            raise ApiError(f"connection {row.ref}", 0, f"no token can be had now: {problem}") from error
        return later

    async def give_up(self, row: r.Connection, cause: str) -> r.Connection:
        """Keep that a person must connect again, and tell; not where somebody was first with another row."""
        lost = attrs.evolve(
            row, state="reauthorize", cause=cause, refresh_at=None, updated_at=self._after(row)
        )
        if row.state != "reauthorize":  # first, for whoever is killed in between has nobody told
            await self._alert(f"connection {row.ref}", cause)
        kept = await self.replaced(row, lost)
        if kept is lost:
            self._failed.pop(row.ref, None)
        elif kept.state == "good":
            await self._alert(f"connection {row.ref}", "")
        return kept

    async def replaced(self, before: r.Connection, after: r.Connection) -> r.Connection:
        """Keep a row in place of another; return what is kept now, which is newer where others were first.

        Raises Unauthorized where it was removed: it is not brought back.
        """
        if await self._rows.replace_connection(before, after):
            return after
        current = await self._rows.connection(before.ref)
        if current is None:
            raise Unauthorized(f"connection {before.ref} was removed")
        return current

    def _after(self, row: r.Connection) -> int:
        return max(self._ms(), row.updated_at + 1)

    def _expired(self, row: r.Connection) -> bool:
        return row.expires_at is not None and row.expires_at <= self._ms()

    def _auth(self, row: r.Connection) -> Auth:
        return auth_of(self._known.required(row.ref), row.kind)

    @asynccontextmanager
    async def alone(self, ref: str) -> AsyncGenerator[None, None]:
        """Let one task of this process at a connection; the others find it done."""
        lock = self._locks.setdefault(ref, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(ref, None)

    async def _wait(self, seconds: float) -> None:
        await self._clock.wait(anyio.Event(), until=self._clock.now() + seconds)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
