"""A body of 12 kB: verified, and turned into what a job asks for."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import TypedDict

import msgspec

from benchmarks.load import PAYLOAD, SECRET, signature_of
from benchmarks.micro.timing import Figure, in_turns
from trigflow import Headers, Key, Request
from trigflow.core.payloads import structure_into
from trigflow_github.payloads import Issues
from trigflow_github.source import webhook


class _Issue(TypedDict):
    number: int
    title: str


class _View(TypedDict):
    """What a job that uses three fields declares."""

    action: str
    issue: _Issue


def take(quick: bool) -> Mapping[str, Figure]:
    """Time structuring and verification, beside the plainest way to do a part of them."""
    body = PAYLOAD.read_bytes()
    whole, view = structure_into(Issues), structure_into(_View)
    calls: dict[str, Callable[[], object]] = {
        "whole": lambda: whole(body),
        "view": lambda: view(body),
        "plain": lambda: msgspec.json.decode(body),
        "json": lambda: json.loads(body),
        "verify": _verify(body),
        "digest": lambda: hmac.digest(SECRET.encode(), body, hashlib.sha256),
    }
    costs = in_turns(calls, quick=quick)
    return {
        "structuring": _beside(costs, "whole", "json", "json.loads into dicts"),
        "structuring three fields": _beside(costs, "view", "json", "json.loads into dicts"),
        "decoding into dicts": _beside(costs, "plain", "json", "json.loads into dicts"),
        "verification": _beside(costs, "verify", "digest", "hmac.digest alone"),
    }


def _verify(body: bytes) -> Callable[[], object]:
    headers = Headers.of(
        {
            "Host": "hooks.example.com",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": "issues",
            "X-Hub-Signature-256": f"sha256={signature_of(SECRET, body)}",
        }
    )
    request = Request("POST", "https://hooks.example.com/e/a/b", headers, body)
    keys, now = (Key(SECRET.encode()),), time.time()
    return lambda: webhook.verify.verify(request, keys, now=now)


def _beside(costs: Mapping[str, float], name: str, baseline: str, against: str) -> Figure:
    return Figure("µs", costs[name], against, costs[name] / costs[baseline])
