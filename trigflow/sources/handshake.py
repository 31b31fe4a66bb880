"""How an endpoint proves to a provider that it is ours, before and between deliveries.

Pure: reads a request, says what to answer and what to keep. Nothing else may reach a handler
unverified, so each answer is guarded:

- an echo is plain text, at most 1 KiB of printable ASCII that no browser takes for markup;
- a token is only signed if it can't be a body or a signed string: whoever lets us sign what
  they like could forge deliveries;
- a secret is taken once, and only while the endpoint is pending.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence

import attrs
import msgspec

from trigflow.core.errors import Rejected, SetupError
from trigflow.core.http import Request, Response
from trigflow.sources.keys import Key, masked
from trigflow.sources.parts import Header, Part, header, query
from trigflow.sources.schemes import Encoding, Mac

# [ -~] is printable ASCII; what is left out could open markup, an attribute or an entity.
ECHO = re.compile(rb"[ !#-%(-;=?-~]{1,1024}")
TOKEN = re.compile(rb"[A-Za-z0-9_+/=.-]{1,256}")  # no brace, quote, colon or space
SECRET = re.compile(rb"[A-Za-z0-9_+/=.-]{16,256}")
ORIGIN = re.compile(rb"[A-Za-z0-9.-]{1,253}")  # a DNS name
RATE = re.compile(rb"[0-9]{1,9}|\*")
LEASE = re.compile(rb"[1-9][0-9]{0,8}")


class Guarded(msgspec.Struct, frozen=True):
    """A part that goes into an answer, and what it may look like."""

    part: Part
    allowed: re.Pattern[bytes]
    default: bytes | None = None

    def read(self, request: Request) -> bytes:
        """Return the one value; Rejected if it is doubled, not allowed, or missing without a default."""
        found = self.part.values(request)
        if not found and self.default is not None:
            return self.default
        if len(found) != 1 or not self.allowed.fullmatch(found[0]):
            raise refused(f"{self.part} is missing, doubled or not what this provider would send")
        return found[0]


class SignedToken(msgspec.Struct, frozen=True):
    """A token of the request, signed with the endpoint's key."""

    token: Guarded
    mac: Mac


class Reply(msgspec.Struct, frozen=True):
    """What is answered: a status, headers, and either one text or the fields of a JSON object."""

    status: int = 200
    text: Guarded | None = None
    fields: tuple[tuple[str, Guarded | SignedToken | str | int], ...] = ()
    headers: tuple[tuple[str, Guarded | str], ...] = ()


class Check(msgspec.Struct, frozen=True):
    """A part that must equal a fact of the endpoint, such as the topic it asked for."""

    part: Part
    fact: str
    default: str = ""


When = Part | tuple[Part, str]


@attrs.frozen
class Handshake:
    """One way in which a provider asks whether the endpoint is ours.

    when: parts that must be there, or equal a text; only then is a request this handshake.
    signed: the request must be verified before the answer is sent.
    checks: parts that must equal facts of the endpoint, else it is refused with `refusal`.
    secret: the endpoint's secret arrives here; taken once, while pending.
    lease: how long the provider keeps the subscription, in seconds.
    while_pending: refused once the endpoint is active.
    ends: a fact, and what it is once the provider was asked to end the subscription. It asks back
        then, perhaps long after: such a handshake is answered at a removed endpoint, too.
    """

    method: str
    reply: Reply
    when: tuple[When, ...] = ()
    signed: bool = False
    checks: tuple[Check, ...] = ()
    secret: Guarded | None = None
    lease: Guarded | None = None
    while_pending: bool = False
    origins: tuple[str, ...] = ()
    refusal: int = 403
    ends: tuple[str, str] | None = None

    def applies(self, request: Request) -> bool:
        """Tell whether a request is this handshake."""
        return request.method == self.method and all(_holds(condition, request) for condition in self.when)


@attrs.frozen
class Capture:
    """What a handshake told us about the endpoint, to be kept before it is answered."""

    secret: bytes | None = attrs.field(default=None, repr=masked)
    lease_seconds: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """How to go on with a handshake: verify it first if `must_verify`, keep the capture, respond."""

    response: Response
    capture: Capture | None = None
    must_verify: bool = False


def refused(detail: str, status: int = 403) -> Rejected:
    """Return the rejection of a handshake."""
    error = Rejected("bad-handshake", detail)
    error.status = status
    return error


def answer(
    handshakes: Sequence[Handshake],
    request: Request,
    *,
    keys: Sequence[Key],
    pending: bool,
    facts: Mapping[str, str],
) -> Answer | None:
    """Answer the first handshake that a request is; None if it is none.

    keys: of the endpoint, the current one first: it signs answers.
    pending: the endpoint is being registered, its provider has not confirmed it yet.
    facts: what is known of the endpoint, such as `verify_token`, `topic`, `mode`.
    Raises Rejected with cause "bad-handshake".
    """
    for handshake in handshakes:
        if handshake.applies(request):
            return _answered(handshake, request, keys, pending, facts)
    return None


def farewell(handshakes: Sequence[Handshake], facts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the facts of an endpoint that are needed once its provider was asked to end.

    facts: those of the endpoint while it is registered.
    """
    found: dict[str, str] = {}
    for one in handshakes:
        if one.ends is not None:
            found |= {check.fact: facts[check.fact] for check in one.checks if check.fact in facts}
            found[one.ends[0]] = one.ends[1]
    return found


def _answered(
    handshake: Handshake, request: Request, keys: Sequence[Key], pending: bool, facts: Mapping[str, str]
) -> Answer:
    if handshake.while_pending and not pending:
        raise refused("the endpoint is active already", handshake.refusal)
    for check in handshake.checks:
        _check(check, request, facts, handshake.refusal)
    _check_origin(handshake, request)
    response = _response(handshake.reply, request, keys)
    return Answer(response, _captured(handshake, request, keys, pending), handshake.signed)


def _holds(condition: When, request: Request) -> bool:
    part, wanted = condition if isinstance(condition, tuple) else (condition, None)
    found = part.values(request)
    return bool(found) if wanted is None else list(found) == [wanted.encode()]


def _check(check: Check, request: Request, facts: Mapping[str, str], status: int) -> None:
    wanted = facts.get(check.fact, check.default).encode()
    found = check.part.values(request)
    if not wanted or len(found) != 1 or not hmac.compare_digest(found[0], wanted):
        raise refused(f"{check.part} is not the endpoint's {check.fact}", status)


def _check_origin(handshake: Handshake, request: Request) -> None:
    if not handshake.origins or "*" in handshake.origins:
        return
    told = header("WebHook-Request-Origin").values(request)
    if len(told) != 1 or told[0].decode("latin-1").lower() not in handshake.origins:
        raise refused("the origin is not among those allowed", handshake.refusal)


def _captured(handshake: Handshake, request: Request, keys: Sequence[Key], pending: bool) -> Capture | None:
    secret = (
        None
        if handshake.secret is None
        else _taken(handshake.secret, request, keys, pending, handshake.refusal)
    )
    lease = None
    if handshake.lease is not None and handshake.lease.part.values(request):
        lease = int(handshake.lease.read(request))
    return None if secret is None and lease is None else Capture(secret, lease)


def _taken(
    secret: Guarded, request: Request, keys: Sequence[Key], pending: bool, status: int
) -> bytes | None:
    """Return the secret to keep; None if it is the one we have, sent again."""
    told = secret.read(request)
    if not pending:
        raise refused("a secret is only taken while the endpoint is pending", status)
    if not keys:
        return told
    # The provider may repeat itself; anyone else may not replace what was agreed.
    if not any(hmac.compare_digest(told, key.secret) for key in keys):
        raise refused("the endpoint has a secret already", status)
    return None


def _response(reply: Reply, request: Request, keys: Sequence[Key]) -> Response:
    headers = [(name, _text(value, request)) for name, value in reply.headers]
    if reply.text is not None:
        body = reply.text.read(request)
        headers += [("content-type", "text/plain"), ("x-content-type-options", "nosniff")]
    elif reply.fields:
        body = msgspec.json.encode({name: _field(value, request, keys) for name, value in reply.fields})
        headers += [("content-type", "application/json"), ("x-content-type-options", "nosniff")]
    else:
        body = b""
    return Response(reply.status, body, tuple(headers))


def _text(value: Guarded | str, request: Request) -> str:
    return value if isinstance(value, str) else value.read(request).decode("ascii")


def _field(value: Guarded | SignedToken | str | int, request: Request, keys: Sequence[Key]) -> str | int:
    if isinstance(value, SignedToken):
        key = next((key.secret for key in keys if key.secret), None)
        if key is None:
            raise refused("the endpoint has no key to answer with; set its secret")
        return value.mac.sign(key, value.token.read(request)).decode()
    return value if isinstance(value, int) else _text(value, request)


def echo(part: Part, *, method: str = "GET", when: Sequence[When] = (), signed: bool = False) -> Handshake:
    """Send a part back as plain text (Dropbox, Microsoft Graph, Slack)."""
    return Handshake(method, Reply(text=Guarded(part, ECHO)), when=(*when, part), signed=signed)


def hub_challenge(*, fact: str = "verify_token") -> Handshake:
    """Send hub.challenge back if hub.verify_token equals this fact of the endpoint (Meta)."""
    challenge = query("hub.challenge")
    return Handshake(
        "GET",
        Reply(text=Guarded(challenge, ECHO)),
        when=(challenge, (query("hub.mode"), "subscribe")),
        checks=(Check(query("hub.verify_token"), fact),),
    )


def hub_intent(*, topic: str = "topic", mode: str = "mode") -> Handshake:
    """Confirm to a WebSub hub what we asked for: the facts `topic` and `mode` ("subscribe" if unset).

    Captures the granted lease. Anything else is answered 404, which the hub takes for a no. Once we
    have asked it to end the subscription, that alone is confirmed, also after the endpoint's removal.
    """
    challenge = query("hub.challenge")
    return Handshake(
        "GET",
        Reply(text=Guarded(challenge, ECHO)),
        when=(challenge,),
        checks=(Check(query("hub.topic"), topic), Check(query("hub.mode"), mode, "subscribe")),
        lease=Guarded(query("hub.lease_seconds"), LEASE),
        refusal=404,
        ends=(mode, "unsubscribe"),
    )


def crc(
    token: Part,
    *,
    field: str,
    echo_field: str | None = None,
    method: str = "GET",
    when: Sequence[When] = (),
    prefix: str = "",
    encoding: Encoding = "hex",
    signed: bool = False,
) -> Handshake:
    """Answer {field: HMAC-SHA256 of a token}, and {echo_field: token} beside it if asked (X, Zoom).

    signed: verify the request first; do so wherever the provider signs it.
    """
    guarded = Guarded(token, TOKEN)
    signature = SignedToken(guarded, Mac("sha256", prefix.encode(), encoding))
    fields = ((echo_field, guarded), (field, signature)) if echo_field else ((field, signature),)
    return Handshake(method, Reply(fields=fields), when=(*when, token), signed=signed)


def header_echo(name: str) -> Handshake:
    """Send a header back and take it for the endpoint's secret, once, while pending (Asana)."""
    secret = Guarded(Header(name), SECRET)
    return Handshake(
        "POST", Reply(headers=((name, secret),)), when=(Header(name),), secret=secret, while_pending=True
    )


def secret_in(part: Part, *, method: str = "POST") -> Handshake:
    """Take the endpoint's secret from a part, once, while pending; answer with an empty 200 (Notion)."""
    return Handshake(method, Reply(), when=(part,), secret=Guarded(part, SECRET), while_pending=True)


def head_ok() -> Handshake:
    """Answer HEAD with 200 (Trello, Intercom)."""
    return Handshake("HEAD", Reply())


def options_origin(*allowed: str) -> Handshake:
    """Grant a CloudEvents sender leave to deliver, at the rate it asks for; "*" allows every origin."""
    if not allowed:
        raise SetupError('options_origin needs the origins that may deliver, or "*"')
    origin = header("WebHook-Request-Origin")
    asked = header("WebHook-Request-Rate")
    headers: tuple[tuple[str, Guarded | str], ...] = (
        ("allow", "POST"),
        ("webhook-allowed-origin", Guarded(origin, ORIGIN)),
        ("webhook-allowed-rate", Guarded(asked, RATE, b"*")),
    )
    granted = tuple(name.lower() for name in allowed)
    return Handshake("OPTIONS", Reply(headers=headers), when=(origin,), origins=granted, refusal=405)
