"""A person's consent in a browser, from a link of ours to a checked connection.

    link ──once──> begun (cookie, state) ──provider──> finished, once ──> connection

Whoever finishes must be the browser that began: the state holds the hash of a cookie. A link
and a state are each used once, by any process of the store, and for LIFE only. What the state
carries for us (the PKCE verifier, a custom client) is sealed in it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import anyio
import attrs
import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from trigflow.core.errors import RegistrationError, SetupError
from trigflow.runtime.connections.known import ref_of
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.connections.tokens import LONGEST_CALL
from trigflow.runtime.ports import Clock
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.credentials import Token
from trigflow.sources.integration import Integration
from trigflow.sources.oauth import OAuth2, new_verifier

LIFE = timedelta(minutes=10)  # of a link, and of the way to the provider and back; codes live as long
START, CALLBACK = "/oauth/start", "/oauth/callback"
TICKET, STATE = "trigflow.oauth.ticket", "trigflow.oauth.state"  # salts
LONGEST = 4096  # characters of a ticket or state
LONGEST_CODE = 2048
STATE_MORE = 512  # characters that a state may be longer than the ticket that it comes from
T = TypeVar("T")


class ConsentError(RegistrationError):
    """A consent did not come about; `cause` is a short stable name."""

    def __init__(self, cause: str, told: str) -> None:
        super().__init__(told)
        self.cause = cause


class Chores(Protocol):
    """What is done once, whoever does it."""

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment."""
        ...


class _Ticket(msgspec.Struct, array_like=True, frozen=True):
    """What a link says. sealed: a client of the account's own, if it has one."""

    id: str
    ends: int
    integration: str
    name: str
    then: str
    sealed: str


class _State(msgspec.Struct, array_like=True, frozen=True):
    id: str
    ends: int
    integration: str
    name: str
    then: str
    browser: str
    sealed: str


class _Secret(msgspec.Struct, array_like=True, frozen=True):
    verifier: str
    client: dict[str, str]


@attrs.frozen
class Begun:
    """Where the browser goes, and the cookie that it must bring back."""

    url: str = attrs.field(repr=False)
    cookie: str
    value: str = attrs.field(repr=False)


@attrs.frozen
class Finished:
    """The connection, and the path where the browser goes; "" for a page of ours."""

    ref: str
    then: str


def oauth_of(integration: Integration) -> OAuth2:
    """Return an integration's OAuth; SetupError where it has none."""
    for auth in integration.auth:
        if isinstance(auth, OAuth2):
            return auth
    raise SetupError(f"integration {integration.id} declares no OAuth2 in auth=")


class Consents:
    """Begins and finishes consents of an open app."""

    def __init__(
        self,
        connections: Connections,
        chores: Chores,
        vault: Vault,
        clock: Clock,
        *,
        base_url: str,
        who: str = "",
    ) -> None:
        """Work below a public URL; the vault's ring signs as it is at each moment: it may be rotated."""
        self._connections, self._chores, self._vault, self._clock = connections, chores, vault, clock
        self._base_url, self._who = base_url, who

    def _signer(self, salt: str) -> URLSafeSerializer:
        return URLSafeSerializer(list(reversed(self._vault.ring())), salt=salt)  # it signs with the last

    @property
    def redirect_url(self) -> str:
        """The URL that the provider must know as ours."""
        return f"{self._base_url}{CALLBACK}"

    def link(
        self,
        integration: Integration,
        name: str = "",
        *,
        then: str = "",
        client: Mapping[str, str] | None = None,
    ) -> str:
        """Return a link that begins a consent, good once and for LIFE.

        then: the path of the same site where the browser goes in the end.
        client: a client_id (and client_secret) of the account's own.
        Raises SetupError where it would lead nowhere.
        """
        _check_then(then)
        self._connections.known.learn(integration)
        integration = self._connections.known.required(ref_of(integration, name or integration.connection))
        self._connections.known.app(integration, oauth_of(integration), client or {})
        sealed = self._vault.seal(msgspec.json.encode(dict(client))).decode() if client else ""
        ticket = _Ticket(
            secrets.token_urlsafe(12),
            self._ends(),
            integration.id,
            name or integration.connection,
            then,
            sealed,
        )
        told = self._signer(TICKET).dumps(msgspec.to_builtins(ticket))
        if len(told) > LONGEST - STATE_MORE:
            raise SetupError("a link can't hold so much; give a shorter then= (or client=)")
        return f"{self._base_url}{START}?{urlencode({'ticket': told})}"

    async def begin(self, told: str) -> Begun:
        """Use a link; ConsentError where it is not good (any more)."""
        ticket = self._read(TICKET, told, _Ticket)
        await self._once(ticket.id, ticket.ends)
        integration = self._connections.known.required(ref_of(ticket.integration, ticket.name))
        client = self._opened(ticket.sealed, dict[str, str]) if ticket.sealed else {}
        secret = _Secret(new_verifier(), client)
        value, auth = secrets.token_urlsafe(24), oauth_of(integration)
        state = _State(
            secrets.token_urlsafe(12), self._ends(), ticket.integration, ticket.name, ticket.then,
            _hash(value), self._vault.seal(msgspec.json.encode(secret)).decode(),
        )  # fmt: skip
        url = auth.authorize(
            self._connections.known.app(integration, auth, client),
            redirect_url=self.redirect_url,
            state=self._signer(STATE).dumps(msgspec.to_builtins(state)),
            verifier=secret.verifier,
        )
        return Begun(url, cookie_of(state.id), value)

    async def finish(self, query: Mapping[str, str], cookies: Mapping[str, str]) -> Finished:
        """Take what the provider sent the browser back with.

        Raises ConsentError where it is not what was begun, or the person said no; what the
        provider's token endpoint and the check of the connection raise.
        """
        state = self._read(STATE, query.get("state", ""), _State)
        brought = cookies.get(cookie_of(state.id), "")
        if not hmac.compare_digest(_hash(brought), state.browser):
            raise ConsentError("other-browser", "this was begun in another browser, or cookies are off")
        await self._once(state.id, state.ends)
        integration = self._connections.known.required(ref_of(state.integration, state.name))
        auth = oauth_of(integration)
        if auth.issuer is not None and query.get("iss") != auth.issuer:
            raise ConsentError("other-provider", "another provider than the one that was asked has answered")
        code = query.get("code", "")
        if "error" in query or not 0 < len(code) <= LONGEST_CODE:
            raise ConsentError("denied", "the provider gave no consent; nothing was kept")
        secret = self._opened(state.sealed, _Secret)
        token = await self._exchanged(integration, auth, code, secret)
        ref = await self._connections.add_token(
            integration, state.name, auth, secret.client, token, self._who or "a browser"
        )
        return Finished(ref, state.then)

    async def _exchanged(self, integration: Integration, auth: OAuth2, code: str, secret: _Secret) -> Token:
        app = self._connections.known.app(integration, auth, secret.client)
        with anyio.fail_after(LONGEST_CALL):
            return await auth.exchange(
                app,
                code,
                redirect_url=self.redirect_url,
                verifier=secret.verifier,
                http=self._connections.http(),
                now=datetime.fromtimestamp(self._clock.now(), UTC),
            )

    def _read(self, salt: str, told: str, kind: type[T]) -> T:
        try:
            if len(told) > LONGEST:
                raise BadSignature("too long")
            found = msgspec.convert(self._signer(salt).loads(told), kind)
        except (BadSignature, msgspec.ValidationError) as error:
            raise ConsentError("bad-link", "this link is not one of ours; ask for a new one") from error
        ends: int = getattr(found, "ends", 0)
        if ends <= self._ms():
            raise ConsentError("expired", "this took too long; ask for a new link")
        return found

    async def _once(self, id_: str, ends: int) -> None:
        # Held for longer than the life: a claim that ends before what it guards would let it in again.
        # Until the same moment whoever asks: one that seems too long counts as none (the clock was set back).
        until = ends + LIFE // timedelta(milliseconds=1)
        if not await self._chores.claim_chore(f"oauth:{id_}", now=self._ms(), until=until):
            raise ConsentError("used", "this link was used already; ask for a new one")

    def _opened(self, sealed: str, kind: type[T]) -> T:
        return msgspec.json.decode(self._vault.open(sealed.encode()), type=kind)

    def _ends(self) -> int:
        return self._ms() + LIFE // timedelta(milliseconds=1)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def cookie_of(state_id: str) -> str:
    """Name the cookie of one consent: several may be under way in one browser."""
    return f"trigflow_oauth_{_hash(state_id)[:12]}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_then(then: str) -> None:
    """Refuse what is no path of the same site: browsers take two slashes, of either kind, for a host."""
    plain = then.isascii() and then.isprintable() and "\\" not in then and " " not in then
    if then and not (plain and then.startswith("/") and not then.startswith("//")):
        raise SetupError(f"then={then[:100]!r} is no path of this site, such as /settings")
