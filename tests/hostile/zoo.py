"""One source of each kind: every scheme, decoder and handshake that there is, with its oracle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import attrs

from tests.hostile import schemes as s
from tests.hostile.sent import Oracle, Signer, b64
from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    Integration,
    Secret,
    event,
    hmac_any,
    hmac_sha1,
    hmac_sha256,
    json_or_form,
    standard_webhooks,
    trigger,
)
from trigflow.core.triggers import Trigger
from trigflow.sources.decode import Decoder, decode_json, no_body
from trigflow.sources.derived import SORTED_FORM, either, unescaped
from trigflow.sources.handshake import (
    Handshake,
    crc,
    echo,
    head_ok,
    header_echo,
    hub_challenge,
    hub_intent,
    options_origin,
    secret_in,
)
from trigflow.sources.parts import BODY, METHOD, URL, header, json, kv, query
from trigflow.sources.verify import (
    SECRET,
    Verifier,
    ecdsa_p256,
    ed25519,
    first_of,
    hashed,
    token,
)
from trigflow.testing import VirtualClock

MANY_MINUTES = timedelta(minutes=5)
KEY = b"s3cr3t-of-the-zoo-0123456789abcdef"  # of every source; looked for in answers and logs
FIXED = KEY.decode()


@attrs.frozen
class Kind:
    """How one source is declared, signed and judged."""

    verify: Verifier
    sign: Signer
    genuine: Oracle
    handshakes: tuple[Handshake, ...] = ()
    decode: Decoder = decode_json
    facts: dict[str, str] = attrs.field(factory=dict[str, str])
    learns: bool = False  # its key arrives in the handshake


def _stamped(name: str) -> dict[str, Any]:
    return {"timestamp": header(name), "key": FIXED}


KINDS: dict[str, Kind] = {
    "hub": Kind(
        hmac_sha256("X-Hub-Signature-256", prefix="sha256=", key=FIXED), s.sign_hub, s.hub,
        decode=json_or_form("payload"), handshakes=(head_ok(),),
    ),
    "stripe": Kind(
        hmac_sha256(
            kv("Stripe-Signature", "v1"), over=(kv("Stripe-Signature", "t"), ".", BODY),
            timestamp=kv("Stripe-Signature", "t"), key=FIXED,
        ),
        s.sign_stripe, s.stripe,
    ),
    "slack": Kind(
        hmac_sha256(
            "X-Slack-Signature", prefix="v0=", over=("v0:", header("X-Slack-Request-Timestamp"), ":", BODY),
            **_stamped("X-Slack-Request-Timestamp"),
        ),
        s.sign_slack, s.slack, (echo(json("challenge"), method="POST", signed=True),),
    ),
    "standard": Kind(
        standard_webhooks(key="whsec_" + b64(KEY).decode()), s.sign_standard, s.standard,
    ),
    "mailgun": Kind(
        hmac_sha256(
            json("signature.signature"), over=(json("signature.timestamp"), json("signature.token")),
            timestamp=json("signature.timestamp"), key=FIXED, once=True,
        ),
        s.sign_mailgun, s.mailgun,
    ),
    "twilio": Kind(
        hmac_sha1("X-Twilio-Signature", over=(URL, SORTED_FORM), encoding="base64", key=FIXED),
        s.sign_twilio, s.twilio, decode=json_or_form("payload"),
    ),
    "hubspot": Kind(
        hmac_sha256(
            "X-HubSpot-Signature-v3", encoding="base64", unit="ms",
            over=(METHOD, unescaped(URL), BODY, header("X-HubSpot-Request-Timestamp")),
            **_stamped("X-HubSpot-Request-Timestamp"),
        ),
        s.sign_hubspot, s.hubspot, (options_origin("sender.example.com"),),
    ),
    "hashed": Kind(
        hashed("X-HubSpot-Signature", over=(SECRET, BODY), key=FIXED), s.sign_hashed, s.hashed,
        decode=no_body,
    ),
    "discord": Kind(
        ed25519(
            "X-Signature-Ed25519", over=(header("X-Signature-Timestamp"), BODY),
            timestamp=header("X-Signature-Timestamp"), key=s.ED25519_PUBLIC,
        ),
        s.sign_discord, s.discord,
    ),
    "sendgrid": Kind(
        ecdsa_p256(
            "X-Twilio-Email-Event-Webhook-Signature", key=s.P256_PUBLIC,
            over=(header("X-Twilio-Email-Event-Webhook-Timestamp"), BODY),
            timestamp=header("X-Twilio-Email-Event-Webhook-Timestamp"),
        ),
        s.sign_sendgrid, s.sendgrid,
    ),
    "zendesk": Kind(
        hmac_sha256(
            "X-Zendesk-Webhook-Signature", encoding="base64", unit="rfc3339",
            over=(header("X-Zendesk-Webhook-Signature-Timestamp"), BODY),
            **_stamped("X-Zendesk-Webhook-Signature-Timestamp"),
        ),
        s.sign_zendesk, s.zendesk,
    ),
    "token": Kind(token("Authorization", prefix="Bearer ", key=FIXED), s.sign_token, s.token),
    "graph": Kind(
        token(json("value[*].clientState"), key=FIXED), s.sign_graph, s.graph,
        (echo(query("validationToken"), method="POST"),),
    ),
    "websub": Kind(
        hmac_any("X-Hub-Signature", key=FIXED), s.sign_websub, s.websub, (hub_intent(),),
        facts={"topic": "https://example.com/feed"},
    ),
    "rotating": Kind(
        first_of(hmac_sha256("X-New", key=FIXED), hmac_sha1("X-Old", key=FIXED)), s.sign_rotating, s.rotating,
        (hub_challenge(),), facts={"verify_token": "not-a-secret-but-private"},
    ),
    "zoom": Kind(
        hmac_sha256(
            "x-zm-signature", prefix="v0=", over=("v0:", header("x-zm-request-timestamp"), ":", BODY),
            **_stamped("x-zm-request-timestamp"),
        ),
        s.sign_zoom, s.zoom,
        (crc(
            json("payload.plainToken"), field="encryptedToken", echo_field="plainToken", method="POST",
            when=((json("event"), "endpoint.url_validation"),), signed=True,
        ),),
    ),
    "x": Kind(
        hmac_sha256("X-Hub-Signature-256", prefix="sha256=", key=FIXED), s.sign_hub, s.hub,
        (crc(query("crc_token"), field="response_token", prefix="sha256=", encoding="base64"),),
    ),
    "asana": Kind(
        hmac_sha256("X-Hub-Signature-256", prefix="sha256="), s.sign_hub, s.hub,
        (header_echo("X-Hook-Secret"),), learns=True,
    ),
    "notion": Kind(
        hmac_sha256("X-Hub-Signature-256", prefix="sha256="), s.sign_hub, s.hub,
        (secret_in(either(json("verification_token"), query("verification_token"))),), learns=True,
    ),
}  # fmt: skip


class Client:
    """What no job asks for."""


@attrs.define
class Heard:
    """Which sources' handlers were called, and with what: emptied by whoever looks."""

    calls: list[str] = attrs.field(factory=list[str])


def source_of(name: str, kind: Kind, heard: Heard) -> ExternalSource[str, Client, int]:
    """Declare a source whose handler tells that it was called and takes any JSON."""
    source: ExternalSource[str, Client, int] = ExternalSource(
        f"zoo.{name}", params=str, client=Client, data=int, verify=kind.verify, handshakes=kind.handshakes,
        decode=kind.decode, secret=Secret.HANDSHAKE if kind.learns else Secret.APP,
        facts=lambda params, secret: kind.facts,
    )  # fmt: skip

    @source.handler
    def handle(delivery: Delivery[str, int]) -> Iterable[Event | Ignored]:
        heard.calls.append(name)
        match delivery.payload:
            case {"id": str(id_)} if id_:
                return [Event("thing", id_, delivery.payload)]
            case {"many": list(found)}:
                return [Event("thing", f"m{number}", item) for number, item in enumerate(found[:20])]
            case _:
                return [Ignored("nothing")]

    return source


def zoo(heard: Heard, **settings: Any) -> App:
    """Build an app that listens to every kind of source."""
    return App(
        [_job(name, kind, heard) for name, kind in KINDS.items()],
        **{
            "store": "memory:", "register": "off", "clock": VirtualClock(), "chance": lambda: 0.0,
            "rate_limit": 0, "url": "https://hooks.example.com", **settings,
        },
    )  # fmt: skip


def _job(name: str, kind: Kind, heard: Heard) -> Any:
    source = source_of(name, kind, heard)

    class One(Integration, id=f"zoo-{name}"):
        @event("thing", dict[str, object], source=source)
        def thing(self) -> str:
            """A thing."""
            return "params"

    async def job(payload: object) -> None: ...

    wanted: Trigger[object] = One().thing()
    return trigger(wanted, filter={"go": [1, 2], "who": {"$startsWith": "a"}}, id=name)(job)


async def endpoints(app: App) -> dict[str, str]:
    """Return the paths of the endpoints by the name of their source."""
    found: Sequence[Any] = await app.opened.store.endpoints()
    return {one.source.removeprefix("zoo."): f"{app.opened.mark}{one.token}" for one in found}
