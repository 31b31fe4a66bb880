"""The private key of a GitHub App under test, and the JWTs that it signs."""

import base64
import json
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def app_token(key: rsa.RSAPrivateKey, issuer: int | str, *, now: datetime, **claims: Any) -> str:
    """Sign what GitHub documents for an App; claims: instead of, and beside, `iat`, `exp` and `iss`."""
    seconds = int(now.timestamp())
    told = {"iat": seconds - 60, "exp": seconds + 540, "iss": issuer, **claims}
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, told)]
    signature = key.sign(".".join(parts).encode(), padding.PKCS1v15(), SHA256())
    return ".".join([*parts, _encoded(signature)])
