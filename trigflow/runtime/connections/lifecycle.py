"""How connections come and go: added, checked, discovered, removed.

Nothing is kept that was not checked with the provider. What is kept is sealed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import attrs

from trigflow.core.alerts import blamed_in, blamed_subject
from trigflow.core.errors import RegistrationError, SetupError, Unauthorized
from trigflow.core.redact import without
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, Returned, attempt_async
from trigflow.runtime.connections.holding import YOUNG, Holding, version_of
from trigflow.runtime.connections.known import MANUAL, auth_of, checked_fields, fitting, ref_of
from trigflow.runtime.sealing.discreet import spellings, trace_of
from trigflow.sources.credentials import Account, Auth, Checked, Credentials, Token
from trigflow.sources.integration import Integration
from trigflow.sources.oauth import OAuth2

PAGE = 500  # subscriptions read at a time
SETTLE = 60.0  # seconds that a change waits for another process that makes a token


class Connections(Holding):
    """The connections of an open app."""

    async def add(
        self,
        integration: Integration,
        name: str,
        values: Mapping[str, str],
        *,
        kind: str | None = None,
        who: str = "",
    ) -> str:
        """Check credentials with the provider and keep them; return the connection's ref.

        kind: of the Auth that they are for; left out, the first that has these fields.
        Raises SetupError for fields that do not fit, Unauthorized where the provider refuses.
        """
        if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's
            raise SetupError("credentials are given by field, such as {'token': ...}")
        auth = fitting(integration, values) if kind is None else auth_of(integration, kind)
        kept = checked_fields(auth, values)
        self.known.learn(integration)
        if not auth.mints:
            return await self._put(integration, name, auth, kept, None, who)
        token = await self.tokens.make(auth, self.known.app(integration, auth, kept), kept)
        return await self._put(integration, name, auth, kept, token, who)

    async def add_token(
        self, integration: Integration, name: str, auth: Auth, kept: Mapping[str, str], token: Token, who: str
    ) -> str:
        """Check and keep a token that somebody has agreed to; return the connection's ref."""
        return await self._put(integration, name, auth, Credentials(kept), token, who)

    async def _put(
        self,
        integration: Integration,
        name: str,
        auth: Auth,
        kept: Credentials,
        token: Token | None,
        who: str,
    ) -> str:
        ref = ref_of(integration, name or integration.connection)
        integration = self.known.required(ref)
        if self.known.given(ref) is not None:
            raise SetupError(
                f"connection {ref} is given by connections= of the App; take it away there first"
            )
        now = self._ms()
        draft = r.Connection(
            ref, integration.id, auth.kind, self.tokens.sealed(kept), created_at=now, updated_at=now
        )
        if token is not None:
            draft = self.tokens.with_token(draft, token)
        checked = await self._checked(integration, auth.kind, self.tokens.values(draft))
        row = _with(draft, checked, now)
        async with self._settled(ref) as before:
            if before is not None:
                row = attrs.evolve(
                    row, created_at=before.created_at, updated_at=max(now, before.updated_at + 1)
                )
            # Sealed anew: the ring may have been rotated while the provider was asked.
            row = attrs.evolve(row, sealed=self.tokens.sealed(self.tokens.values(row)))
            await self._store.put_connection(row)
            self.tokens.forget(ref)
            self._remember(row)
        await self._is_well(ref)
        await self._audit(who, "connect", ref, f"{auth.kind} {row.label}".strip())
        return ref

    async def _checked(self, integration: Integration, kind: str, values: Credentials) -> Checked:
        """Ask the provider with a client that is thrown away; nothing is called for what is done by hand."""
        if kind == MANUAL:
            return Checked()

        async def ask() -> Checked:
            async with _throw_away(integration, values) as client:
                return await integration.check(client)

        asked = await attempt_async(ask)
        if isinstance(asked, Raised):
            raise _without(asked.error, values)
        return asked.value

    async def check(self, ref: str) -> Checked:
        """Ask the provider whether a connection is good, and keep what it says.

        Raises Unauthorized where it is not; the connection then waits for a person.
        """
        checked = await self._ask(ref)
        await self._is_well(ref, blamed_only=True)
        return checked

    async def _ask(self, ref: str) -> Checked:
        row = await self._store.connection(ref) if self.known.given(ref) is None else None
        if row is not None and row.kind == MANUAL:
            return Checked(row.account, row.label)
        integration = self.known.required(ref)
        # One that was given up is asked about all the same: what it lacked may have been granted.
        lost = row is not None and row.state != "good"
        values = self.tokens.values(row) if row is not None and lost else (await self.get(ref)).credentials
        asked = await attempt_async(lambda: self._checked(integration, "", values))
        if row is not None:
            async with self._settled(ref) as current:
                # What was said of credentials that have been replaced meanwhile says nothing of the new.
                if current is not None and self.tokens.values(current) == values:
                    await self._note_check(current, asked)
        return _value(asked)

    async def _note_check(self, row: r.Connection, asked: Returned[Checked] | Raised) -> None:
        if not isinstance(asked, Raised):
            checked = _with(row, asked.value, self._ms())
            self._remember(await self.tokens.replaced(row, checked))
            if row.state != "good":
                await self._is_well(row.ref)
        elif isinstance(asked.error, Unauthorized):
            self._remember(await self.tokens.give_up(row, self._told(asked.error)))

    async def refused(self, ref: str, version: str) -> bool:
        """Hear that the provider answered 401 to a client of this version; tell whether to try again.

        A token that can be made anew counts as expired, once in YOUNG whoever hears it. Where the
        new one is refused, too, or none can be made, the provider is asked about the credentials
        themselves. A pasted key is left as it is: a call that is refused may have been about something
        else, and the next look at a webhook or `check` tells.
        """
        row = None if self.known.given(ref) is not None else await self._store.connection(ref)
        if row is None:
            return self._end_outside(ref, version)
        if not auth_of(self.known.required(ref), row.kind).mints:
            return False
        async with self.tokens.alone(ref), self.tokens.claimed(ref) as mine:
            row = await self._store.connection(ref)
            if not mine or row is None:
                return row is not None  # a token is being made
            self._remember(row)
            if version_of(row) != version or row.state != "good":
                return row.state == "good"  # there is another one already
            if self.tokens.can_renew(row) and await self._once("ended", row):
                self._remember(await self.tokens.end(row))
                return True
        if await self._once("doubted", row):
            await self._doubt(row)
        return False

    async def _once(self, what: str, row: r.Connection) -> bool:
        until = self._ms() + YOUNG // timedelta(milliseconds=1)
        return await self._store.claim_chore(f"{what}:{row.ref}", now=self._ms(), until=until)

    async def _doubt(self, row: r.Connection) -> None:
        """Ask the provider about credentials that it refused; they are given up if it says so."""
        asked = await attempt_async(lambda: self._ask(row.ref))
        if isinstance(asked, Raised) and isinstance(asked.error, SetupError):  # there is no way to ask
            async with self._settled(row.ref) as now:
                if now is not None and version_of(now) == version_of(row) and self.tokens.can_renew(row):
                    self._remember(await self.tokens.give_up(now, "the provider refuses its new token, too"))

    async def remove(self, ref: str, *, who: str = "") -> Sequence[str]:
        """Remove a connection's subscriptions at the provider, give its tokens back, and shred it.

        Returns what could not be done there: the connection is gone all the same.
        Raises SetupError where it is not one of the store's.
        """
        row = await self._store.connection(ref)
        if row is None:
            where = "is given by the app or the environment" if self._has(ref) else "is not known"
            raise SetupError(f"connection {ref} {where}; there is nothing to remove")
        problems: list[str] = []
        removed = await attempt_async(lambda: self._remove_subscriptions(ref))
        problems += [self._told(removed.error)] if isinstance(removed, Raised) else removed.value
        left = await self._store.connected(ref)
        problems += [f"{left} subscriptions still go through it"] if left else []
        async with self._settled(ref) as newest:  # its tokens may have been made anew meanwhile
            revoked = await attempt_async(lambda: self._revoke(newest or row))
            problems += [self._told(revoked.error)] if isinstance(revoked, Raised) else []
            await self._store.remove_connection(ref)
            self.tokens.forget(ref)
            self._rows.pop(ref, None)
        await self.on_removed(ref)
        await self._alerts_close(ref)
        await self._audit(who, "disconnect", ref, f"{len(problems)} problems" if problems else "")
        return problems

    async def _revoke(self, row: r.Connection) -> None:
        integration = self.known.integration(row.ref)
        auth = None if integration is None else auth_of(integration, row.kind)
        if integration is not None and isinstance(auth, OAuth2) and auth.revoke_url is not None:
            kept = self.tokens.values(row)
            await auth.revoke(self.known.app(integration, auth, kept), kept, self.http())

    async def accounts(self, integration: Integration, *, who: str = "") -> Sequence[str]:
        """Ask the provider which accounts our app may act for; return the refs of all of them.

        Each becomes a connection. One that is no longer among them waits for a person.
        """
        self.known.learn(integration)
        integration = self.known.required(integration.connection_ref)
        found: list[str] = []
        for auth in integration.auth:
            if auth.mints and self.known.has_app(integration, auth) and not isinstance(auth, OAuth2):
                found += await self._discover(integration, auth, who)
        return found

    async def _discover(self, integration: Integration, auth: Auth, who: str) -> Sequence[str]:
        app = self.known.app(integration, auth, {})
        token = await self.tokens.make(auth, app, Credentials({}))
        async with _throw_away(integration, Credentials(token.values)) as client:
            accounts = {ref_of(integration, one.name): one for one in await integration.accounts(client)}
        rows = {row.ref: row for row in await self._store.connections(integration=integration.id)}
        for ref, account in accounts.items():
            await self._found(ref, integration, auth, account, rows.get(ref), who)
        there = {account.id for account in accounts.values()}
        for ref, row in rows.items():
            if row.kind == auth.kind and row.state == "good" and row.account and row.account not in there:
                await self._lost(ref, auth)
        return list(accounts)

    async def _lost(self, ref: str, auth: Auth) -> None:
        """Have a person look at a connection whose account is gone; the app's own has none."""
        async with self._settled(ref) as row:
            if row is not None and any(field.name in self.tokens.values(row) for field in auth.fields):
                cause = "the provider no longer lets our app act for this account"
                self._remember(await self.tokens.give_up(row, cause))

    async def _found(
        self,
        ref: str,
        integration: Integration,
        auth: Auth,
        account: Account,
        row: r.Connection | None,
        who: str,
    ) -> None:
        """Keep an account that the provider named; its token is made when it is first needed."""
        if row is not None and row.state == "good" and (row.account == account.id or row.kind != auth.kind):
            return  # known, or a person gave other credentials by this name: those stay
        now = self._ms()
        new = r.Connection(
            ref, integration.id, auth.kind, self.tokens.sealed(account.values), account=account.id,
            label=account.name, expires_at=0, checked_at=now, created_at=now, updated_at=now,
        )  # fmt: skip
        async with self._settled(ref):
            await self._store.put_connection(new)
            self.tokens.forget(ref)
            self._remember(new)
        await self._is_well(ref)
        await self._audit(who, "connect", ref, f"{auth.kind} {account.name}")

    async def _is_well(self, ref: str, *, blamed_only: bool = False) -> None:
        """Tell that a connection is good now; what waited for its credentials is looked at at once."""
        after = ""
        while waited := await self._store.through(ref, limit=PAGE, after=after):
            soon = [s.identity for s in waited if not blamed_only or blamed_in(ref, s.cause)]
            await self._store.look_soon(soon)
            after = waited[-1].id
        await self._alerts_close(ref)

    async def _alerts_close(self, ref: str) -> None:
        for subject in (blamed_subject(ref), f"connection {ref}"):
            await self._alert(subject, "")

    @asynccontextmanager
    async def _settled(self, ref: str) -> AsyncGenerator[r.Connection | None, None]:
        """Hold the right to change a row, once nobody makes a token for it; yields it as it is now."""
        until = self._clock.now() + SETTLE
        async with self.tokens.alone(ref):
            while True:
                if await self._store.connection(ref) is None:
                    yield None
                    return
                async with self.tokens.claimed(ref) as mine:
                    if mine or self._clock.now() >= until:
                        yield await self._store.connection(ref)
                        return
                await self._clock.wait(anyio.Event(), until=self._clock.now() + 0.1)

    async def _audit(self, who: str, what: str, ref: str, detail: str) -> None:
        entry = r.AuditEntry(self._ms(), who or "the app", what, f"connection {ref}", detail)
        await self._store.log_audit(entry)


@asynccontextmanager
async def _throw_away(integration: Integration, values: Credentials) -> AsyncGenerator[Any, None]:
    client = integration.client(values)
    if hasattr(client, "__aexit__"):
        async with client as entered:
            yield entered
    else:
        yield client


def _without(error: Exception, values: Credentials) -> Exception:
    """Return an error of a check that quotes no credentials, nor what led to it: an integration's own may."""
    known = [form for value in values.values() for form in spellings(value)]
    trace = trace_of(error, str)
    if without(trace, known) == trace:
        return error
    kind = Unauthorized if isinstance(error, Unauthorized) else RegistrationError
    return kind(without(str(error), known)).with_traceback(None)


def _with(row: r.Connection, checked: Checked, now: int) -> r.Connection:
    return attrs.evolve(
        row, account=checked.account or row.account, label=checked.label, missing=checked.missing,
        state="good", cause="", checked_at=now,
    )  # fmt: skip


def _value(asked: Returned[Checked] | Raised) -> Checked:
    if isinstance(asked, Raised):
        raise asked.error
    return asked.value
