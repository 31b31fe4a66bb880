"""What a delivery meets on its way through the public URL: asked by sending one like it.

reachable? ─> body kept byte for byte? header fields? ─> fast enough? ─> clock, certificate

Proxies that decode and encode JSON, add a line end, or answer slowly break every webhook's
signature or deadline, and the provider's error says nothing of why.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from email.utils import parsedate_to_datetime
from statistics import median
from urllib.parse import urlsplit

import anyio
import httpx
from anyio.streams.tls import TLSAttribute

from trigflow.core.findings import Finding
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.web.probe import TIMEOUT, Arrived, Prober, Unreachable

PART = "public URL"
# What proxies like to rewrite: escapes, raw unicode, doubled keys, 1.0, spaces, the line end.
BODY = (
    b'{"b": 1,  "a": "\\u00e9 \xc3\xa9 \xf0\x9f\x90\x8d \\/", "b": 2, '
    b'"n": 1.0, "e": 1E2, "s": "</script>&amp;"} \r\n'
)
FIELDS = {
    "content-type": "application/json; charset=utf-8",
    "x-trigflow-probe": 't=1, v1="a=b", v1=c',
    "user-agent": "trigflow-doctor",
}
TRIES = 5
MOST_SKEW = 120.0  # seconds; signatures are refused at 300
SOON = 14 * 86_400.0  # seconds until a certificate ends
HTTPS_PORT = 443


async def examine(
    url: str,
    store_id: str,
    prober: Prober,
    client: httpx.AsyncClient,
    *,
    now: Callable[[], float],
    deadline: float,
    marked: Collection[str] = (),
) -> Sequence[Finding]:
    """Look at a public URL.

    deadline: seconds in which the strictest provider must be answered.
    marked: names of header fields that providers sign and address deliveries with.
    """
    try:
        await prober.check(url, store_id, client, lambda: None)
        arrived = [await prober.send(url, store_id, client, BODY, FIELDS, marked) for _ in range(TRIES)]
    except Unreachable as error:
        return [Finding(PART, "reachable", str(error), _way_out(error.__cause__, deadline))]
    last = arrived[-1]
    return [
        Finding(PART, "reachable", url),
        _body(last),
        _fields(last),
        _latency([one.took for one in arrived], deadline),
        _clock(last.date, now()),
    ]


def _way_out(cause: BaseException | None, deadline: float) -> str:
    """Say what to do where no probe came back, by the error of the connection."""
    if isinstance(cause, httpx.TimeoutException):
        return (
            f"find out what is slow: the app, or a proxy in front; the provider waits {deadline:g} s, then "
            "counts the delivery as failed"
        )
    causes = _causes(cause)
    if any(isinstance(one, socket.gaierror) for one in causes):
        return "the host does not resolve: mend its DNS record, or set url= or TRIGFLOW_URL to one that does"
    if any(isinstance(one, ssl.SSLError) for one in causes):
        return "mend the certificate, see there: providers send nothing to a host that can't prove its name"
    if isinstance(cause, httpx.HTTPError):
        return "start the app there, let the network reach it, or set url= or TRIGFLOW_URL to where it is"
    return "make the public URL lead to this app, as said"


def _causes(error: BaseException | None) -> Sequence[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _body(arrived: Arrived) -> Finding:
    if arrived.is_same:
        return Finding(PART, "raw body", "kept byte for byte")
    return Finding(
        PART,
        "raw body",
        f"changed on the way: {len(BODY)} bytes were sent, {arrived.length} arrived",
        "have the proxy in front pass bodies on unread: signatures are over the raw bytes",
    )


def _fields(arrived: Arrived) -> Finding:
    if not arrived.changed:
        return Finding(PART, "header fields", "kept")
    return Finding(
        PART,
        "header fields",
        f"changed or dropped on the way: {', '.join(arrived.changed)}",
        "have the proxy in front pass header fields on: signatures and event names stand there",
    )


def _latency(took: Sequence[float], deadline: float) -> Finding:
    """Judge the median: one slow answer is no deadline missed."""
    middle = median(took)
    told = f"{middle * 1000:.0f} ms (median of {len(took)}; the provider waits {deadline:g} s)"
    if middle <= deadline / 2:
        return Finding(PART, "latency", told)
    action = "bring app and public URL closer together, or find out what is slow in front of the app"
    return Finding(PART, "latency", told, action)


def _clock(date: str | None, now: float) -> Finding:
    if date is None:
        return Finding(PART, "clock", "the answer has no Date field to compare with")
    try:
        skew = abs(parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return Finding(PART, "clock", "the answer's Date field can't be read")
    if skew <= MOST_SKEW:
        return Finding(PART, "clock", "as that of the public URL")
    action = "set the clock (NTP): signatures with a time are refused at 5 minutes"
    return Finding(PART, "clock", f"{skew:.0f} s away from that of the public URL", action)


async def examine_certificate(
    url: str, *, now: Callable[[], float], context: ssl.SSLContext | None = None
) -> Finding:
    """Look at the certificate behind a public URL; `context` tells which are trusted."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        action = "use https: most providers send to nothing else, and anybody on the way can read along"
        return Finding(PART, "certificate", "none: the URL is not https", action)
    host, port = parts.hostname, parts.port or HTTPS_PORT
    asked = await attempt_async(lambda: _ends_at(host, port, context))
    if isinstance(asked, Raised):
        told = f"{type(asked.error).__name__} {asked.error}".strip()
        if not isinstance(asked.error, ssl.SSLError):  # no name, no answer: there was none to look at
            return Finding(PART, "certificate", f"not seen: {told}", "make the public URL lead to this app")
        return Finding(PART, "certificate", f"not accepted: {told}", "mend the certificate or its chain")
    return _certificate(asked.value - now())


def _certificate(left: float) -> Finding:
    days = f"ends in {left / 86_400:.0f} days"
    if left > SOON:
        return Finding(PART, "certificate", days)
    return Finding(PART, "certificate", days, "renew it: providers send nothing to an expired one")


async def _ends_at(host: str, port: int, context: ssl.SSLContext | None) -> float:
    """Return when the certificate ends (unix seconds)."""
    with anyio.fail_after(TIMEOUT):
        async with await anyio.connect_tcp(
            host, port, tls=True, ssl_context=context, tls_standard_compatible=False
        ) as stream:
            certificate = stream.extra(TLSAttribute.peer_certificate)  # noqa: S610 - no database
    ends = (certificate or {}).get("notAfter")
    return ssl.cert_time_to_seconds(str(ends))
