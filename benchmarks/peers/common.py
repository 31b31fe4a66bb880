"""What every contender shares: the secret, and GitHub's signature check as its docs show it."""

import hashlib
import hmac
import os

SECRET = os.environ.get("WEBHOOK_SECRET", "trigflow-bench-secret").encode()


def verify(body: bytes, signature: str | None) -> bool:
    if not signature:
        return False
    return hmac.compare_digest("sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(), signature)
