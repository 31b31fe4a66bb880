"""What every contender shares: the secret, GitHub's signature check as its docs show it, and the job."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

SECRET = os.environ.get("WEBHOOK_SECRET", "trigflow-bench-secret").encode()


def verify(body: bytes, signature: str | None) -> bool:
    """Tell whether a body was signed with the secret; takes X-Hub-Signature-256."""
    if not signature:
        return False
    return hmac.compare_digest("sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(), signature)


def is_opened_issue(headers: Mapping[str, str], event: dict[str, Any]) -> bool:
    """Tell whether the job is for this event."""
    return headers.get("x-github-event") == "issues" and event.get("action") == "opened"


def summary(event: dict[str, Any]) -> dict[str, Any]:
    """Do the job."""
    return {"number": event["issue"]["number"], "title": event["issue"]["title"]}
