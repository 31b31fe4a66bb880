"""How providers sign, and how anybody may check it: pairs of a signer and an oracle in plain Python."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.hostile.sent import Sent, b64, fresh, hex_hash, hex_mac, items, mac

ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED25519_PUBLIC = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
P256 = derive_private_key(0xC0FFEE, SECP256R1())
P256_PUBLIC = b64(P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sign_hub(sent: Sent, key: bytes, now: float) -> Sent:
    return sent.with_headers(x_hub_signature_256=b"sha256=" + hex_mac("sha256", key, sent.body))


def hub(sent: Sent, key: bytes, now: float) -> bool:
    return sent.one("x-hub-signature-256") == b"sha256=" + hex_mac("sha256", key, sent.body)


def sign_stripe(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = hex_mac("sha256", key, at + b"." + sent.body)
    return sent.with_headers(stripe_signature=b"t=" + at + b",v1=" + signature)


def stripe(sent: Sent, key: bytes, now: float) -> bool:
    # Every repeat of the header counts as one list more; the time may stand there once.
    values = b",".join(value for name, value in sent.headers if name == b"stripe-signature")
    times, given = items(values, b"t"), items(values, b"v1")
    if len(times) != 1 or not fresh(times[0], now):
        return False
    return hex_mac("sha256", key, times[0] + b"." + sent.body) in given


def sign_slack(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = b"v0=" + hex_mac("sha256", key, b"v0:" + at + b":" + sent.body)
    return sent.with_headers(x_slack_request_timestamp=at, x_slack_signature=signature)


def slack(sent: Sent, key: bytes, now: float) -> bool:
    at = sent.one("x-slack-request-timestamp")
    signed = b"v0=" + hex_mac("sha256", key, b"v0:" + (at or b"") + b":" + sent.body)
    return fresh(at, now) and sent.one("x-slack-signature") == signed


def sign_standard(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = b64(mac("sha256", key, b"msg_1." + at + b"." + sent.body))
    return sent.with_headers(webhook_id="msg_1", webhook_timestamp=at, webhook_signature=b"v1," + signature)


def standard(sent: Sent, key: bytes, now: float) -> bool:
    for family in ("webhook", "svix"):
        given = [value for name, value in sent.headers if name == f"{family}-signature".encode()]
        if any(value.strip() for value in given):
            id_, at = sent.one(f"{family}-id"), sent.one(f"{family}-timestamp")
            if id_ is None or not fresh(at, now) or len(given) != 1 or at is None:
                return False
            signed = b"v1," + b64(mac("sha256", key, id_ + b"." + at + b"." + sent.body))
            return signed in given[0].split()
    return False


def sign_mailgun(sent: Sent, key: bytes, now: float) -> Sent:
    at, word = str(int(now)), hex_hash(sent.body).decode()[:50]
    signature = hex_mac("sha256", key, f"{at}{word}".encode()).decode()
    signed = {"timestamp": at, "token": word, "signature": signature}
    event = sent.json()
    return attrs.evolve(sent, body=json.dumps({"signature": signed, "event-data": event}).encode())


def mailgun(sent: Sent, key: bytes, now: float) -> bool:
    body = sent.json()
    signed = body.get("signature") if isinstance(body, dict) else None
    if not isinstance(signed, dict):
        return False
    texts = [signed.get(name) for name in ("timestamp", "token", "signature")]
    at, word, signature = (
        str(text).encode("utf-8", "surrogatepass") if isinstance(text, str | int) else None for text in texts
    )
    if at is None or word is None or signature is None or isinstance(texts[1], bool):
        return False
    return fresh(at, now) and signature == hex_mac("sha256", key, at + word)


def sign_twilio(sent: Sent, key: bytes, now: float) -> Sent:
    sent = attrs.evolve(sent, body=b"payload=%7B%7D&B=2&A=1&A=").with_headers(
        content_type="application/x-www-form-urlencoded"
    )
    return sent.with_headers(x_twilio_signature=b64(mac("sha1", key, _twilio_text(sent))))


def _twilio_text(sent: Sent) -> bytes:
    pairs = sorted({(k.encode("latin-1"), v.encode("latin-1")) for k, v in sent.form()})
    return sent.url.encode() + b"".join(name + value for name, value in pairs)


def twilio(sent: Sent, key: bytes, now: float) -> bool:
    given = sent.one("x-twilio-signature")
    hashes = re.findall(rb"(?:^|&)bodySHA256(?:=([^&]*))?(?=&|$)", sent.query)
    if hashes and hashes != [hex_hash(sent.body)]:
        return False
    if sent.media_type == "application/x-www-form-urlencoded":
        return given == b64(mac("sha1", key, _twilio_text(sent)))
    return (bool(hashes) or not sent.body) and given == b64(mac("sha1", key, sent.url.encode()))


def sign_hubspot(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now * 1000)).encode()
    return sent.with_headers(
        x_hubspot_request_timestamp=at,
        x_hubspot_signature_v3=b64(mac("sha256", key, _hubspot_text(sent, at))),
    )


def _hubspot_text(sent: Sent, at: bytes) -> bytes:
    url = sent.url
    for character in ":/?@!$'()*,;":
        code = f"%{ord(character):02X}"
        url = url.replace(code, character).replace(code.lower(), character)
    return sent.method.encode() + url.encode("utf-8") + sent.body + at


def hubspot(sent: Sent, key: bytes, now: float) -> bool:
    at = sent.one("x-hubspot-request-timestamp")
    if at is None or not fresh(at, now, unit=1000):
        return False
    return sent.one("x-hubspot-signature-v3") == b64(mac("sha256", key, _hubspot_text(sent, at)))


def sign_hashed(sent: Sent, key: bytes, now: float) -> Sent:
    return sent.with_headers(x_hubspot_signature=hex_hash(key + sent.body))


def hashed(sent: Sent, key: bytes, now: float) -> bool:
    return sent.one("x-hubspot-signature") == hex_hash(key + sent.body)


def sign_discord(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = ED25519.sign(at + sent.body).hex()
    return sent.with_headers(x_signature_timestamp=at, x_signature_ed25519=signature)


def discord(sent: Sent, key: bytes, now: float) -> bool:
    at, given = sent.one("x-signature-timestamp"), sent.one("x-signature-ed25519")
    if at is None or not fresh(at, now) or given is None or not re.fullmatch(rb"[0-9a-f]{128}", given):
        return False
    try:
        ED25519.public_key().verify(bytes.fromhex(given.decode()), at + sent.body)
    except InvalidSignature:
        return False
    return True


def sign_sendgrid(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = b64(P256.sign(at + sent.body, ECDSA(SHA256())))
    return sent.with_headers(x_twilio_email_event_webhook_timestamp=at).with_headers(
        x_twilio_email_event_webhook_signature=signature
    )


def sendgrid(sent: Sent, key: bytes, now: float) -> bool:
    at = sent.one("x-twilio-email-event-webhook-timestamp")
    given = sent.one("x-twilio-email-event-webhook-signature")
    if at is None or not fresh(at, now) or given is None:
        return False
    try:
        P256.public_key().verify(base64.b64decode(given, validate=True), at + sent.body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def sign_zendesk(sent: Sent, key: bytes, now: float) -> Sent:
    at = f"{datetime.fromtimestamp(int(now), UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
    signature = b64(mac("sha256", key, at + sent.body))
    return sent.with_headers(x_zendesk_webhook_signature=signature, x_zendesk_webhook_signature_timestamp=at)


def zendesk(sent: Sent, key: bytes, now: float) -> bool:
    at = sent.one("x-zendesk-webhook-signature-timestamp")
    if at is None or sent.one("x-zendesk-webhook-signature") != b64(mac("sha256", key, at + sent.body)):
        return False
    try:
        moment = datetime.fromisoformat(at.decode())
    except ValueError:
        return False
    return moment.tzinfo is not None and abs(moment.timestamp() - now) <= 300


def sign_token(sent: Sent, key: bytes, now: float) -> Sent:
    return sent.with_headers(authorization=b"Bearer " + key)


def token(sent: Sent, key: bytes, now: float) -> bool:
    return sent.one("authorization") == b"Bearer " + key


def sign_graph(sent: Sent, key: bytes, now: float) -> Sent:
    value = [{"clientState": key.decode(), "said": sent.json()}]
    return attrs.evolve(sent, body=json.dumps({"id": "1", "value": value}).encode())


def graph(sent: Sent, key: bytes, now: float) -> bool:
    body = sent.json()
    value = body.get("value") if isinstance(body, dict) else None
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, dict) and item.get("clientState") == key.decode() for item in value)


def sign_websub(sent: Sent, key: bytes, now: float) -> Sent:
    return sent.with_headers(x_hub_signature=b"sha512=" + hex_mac("sha512", key, sent.body))


def websub(sent: Sent, key: bytes, now: float) -> bool:
    named, _, signature = (sent.one("x-hub-signature") or b"").partition(b"=")
    if named.decode("latin-1") not in ("sha1", "sha256", "sha384", "sha512"):
        return False
    return signature == hex_mac(named.decode(), key, sent.body)


def sign_rotating(sent: Sent, key: bytes, now: float) -> Sent:
    return sent.with_headers(x_old=hex_mac("sha1", key, sent.body))


def rotating(sent: Sent, key: bytes, now: float) -> bool:
    """The new signature decides wherever it is there; only without it the old one counts."""
    new = [value for name, value in sent.headers if name == b"x-new"]
    if any(new):
        return new == [hex_mac("sha256", key, sent.body)]
    return sent.one("x-old") == hex_mac("sha1", key, sent.body)


def sign_zoom(sent: Sent, key: bytes, now: float) -> Sent:
    at = str(int(now)).encode()
    signature = b"v0=" + hex_mac("sha256", key, b"v0:" + at + b":" + sent.body)
    return sent.with_headers(x_zm_request_timestamp=at, x_zm_signature=signature)


def zoom(sent: Sent, key: bytes, now: float) -> bool:
    at = sent.one("x-zm-request-timestamp")
    signed = b"v0=" + hex_mac("sha256", key, b"v0:" + (at or b"") + b":" + sent.body)
    return fresh(at, now) and sent.one("x-zm-signature") == signed
