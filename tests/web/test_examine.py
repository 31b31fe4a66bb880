"""What a proxy in front of the app does to a delivery is found by sending one like it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import httpx
import pytest
import trustme
from itsdangerous import URLSafeSerializer

from trigflow import App, Headers
from trigflow.core.findings import Finding
from trigflow.web.examine import BODY, examine, examine_certificate
from trigflow.web.probe import SALT, Prober, Unreachable

pytestmark = pytest.mark.anyio
NOW = 1_790_000_000.0
URL = "https://hooks.example.com/in"
MARKED = ("X-Hub-Signature-256", "Stripe-Signature", "X-GitHub-Event")
Change = Callable[[httpx.Request], tuple[bytes, Headers]]


def as_it_came(request: httpx.Request) -> tuple[bytes, Headers]:
    return request.content, Headers.of(list(request.headers.items()))


class Front:
    """The app behind a proxy that changes requests."""

    def __init__(self, change: Change = as_it_came, *, secret: str = "s", skew: float = 0.0) -> None:
        self.change, self.prober, self.skew = change, Prober(secret), skew
        self.posts = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        nonce = request.url.path.rpartition("/")[2]
        date = {"date": formatdate(NOW + self.skew, usegmt=True)}
        if request.method == "GET":
            return httpx.Response(200, json=self.prober.prove(nonce, "store"), headers=date)
        body, headers = self.change(request)
        told = self.prober.prove_body(nonce, "store", body, headers)
        return httpx.Response(self.posts, json=told, headers=date)


async def found(
    front: Callable[[httpx.Request], httpx.Response], *, deadline: float = 10.0
) -> dict[str, Finding]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(front)) as client:
        findings: Sequence[Finding] = await examine(
            URL, "store", Prober("s"), client, now=lambda: NOW, deadline=deadline, marked=MARKED
        )
    return {one.what: one for one in findings}


def wrong(findings: dict[str, Finding]) -> list[str]:
    return [name for name, one in findings.items() if not one.is_fine]


async def test_a_proxy_that_leaves_requests_alone_is_fine() -> None:
    findings = await found(Front())
    assert set(findings) == {"reachable", "raw body", "header fields", "latency", "clock"}
    assert not wrong(findings)


def rewritten(body: bytes) -> bytes:
    return json.dumps(json.loads(body)).encode()


REWRITINGS: Sequence[Callable[[bytes], bytes]] = [
    rewritten,
    lambda body: body.rstrip(),
    lambda body: body + b"\n",
    lambda body: body.replace(b"\r\n", b"\n"),
    lambda body: body.replace(b"\\u00e9", "é".encode()),
    lambda body: body.replace("é".encode(), b"\\u00e9"),
    lambda body: body.replace(b"1.0", b"1"),
    lambda body: body.replace(b"1E2", b"1e2"),
    lambda body: body.decode("latin-1").encode(),
]


@pytest.mark.parametrize("change", REWRITINGS)
async def test_a_proxy_that_rewrites_bodies_is_found_out(change: Callable[[bytes], bytes]) -> None:
    assert change(BODY) != BODY
    findings = await found(Front(lambda request: (change(request.content), as_it_came(request)[1])))
    assert wrong(findings) == ["raw body"]
    assert "raw bytes" in findings["raw body"].action


@pytest.mark.parametrize("name", ["x-trigflow-probe", "content-type", *(name.lower() for name in MARKED)])
async def test_a_proxy_that_drops_header_fields_is_found_out(name: str) -> None:
    def dropped(request: httpx.Request) -> tuple[bytes, Headers]:
        return request.content, Headers.of([(n, v) for n, v in request.headers.items() if n != name])

    findings = await found(Front(dropped))
    assert wrong(findings) == ["header fields"]
    assert name in findings["header fields"].detail


@pytest.mark.parametrize(
    ("skew", "is_fine"), [(0, True), (60, True), (-60, True), (200, False), (600, False), (-3600, False)]
)
async def test_a_clock_that_is_far_off_is_found_out(skew: float, is_fine: bool) -> None:
    findings = await found(Front(skew=skew))
    assert findings["clock"].is_fine is is_fine
    assert wrong(findings) == ([] if is_fine else ["clock"])


async def test_of_what_a_proxy_adds_nothing_is_told() -> None:
    def added(request: httpx.Request) -> tuple[bytes, Headers]:
        return request.content, Headers.of([*request.headers.items(), ("x-internal", "s3cret")])

    front = Front(added)
    assert not wrong(await found(front))
    told = front.prober.prove_body(
        "nonce", "store", b"", Headers.of([("x-internal", "s3cret"), ("a", "nonce")])
    )
    assert "internal" not in str(URLSafeSerializer("s", salt=SALT).loads(told["proof"]))


def raising(error: Exception, cause: Exception | None = None) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error from cause

    return answer


def redirecting(request: httpx.Request) -> httpx.Response:
    return httpx.Response(301, headers={"location": str(request.url.copy_with(scheme="https"))})


UNKNOWN_HOST = socket.gaierror(-2, "Name or service not known")
EXPIRED = ssl.SSLCertVerificationError("certificate has expired")


@pytest.mark.parametrize(
    ("front", "said"),
    [
        (redirecting, "it redirects to 'https://hooks.example.com/in/probe/"),
        (raising(httpx.ConnectError("x"), UNKNOWN_HOST), "the host does not resolve: mend its DNS record"),
        (raising(httpx.ConnectError("x"), EXPIRED), "mend the certificate"),
        (raising(httpx.ConnectError("x"), ConnectionRefusedError()), "start the app there"),
        (raising(httpx.ReadTimeout("x")), "the provider waits 10 s"),
        (raising(httpx.RemoteProtocolError("x")), "start the app there"),
    ],
)
async def test_what_keeps_a_probe_from_coming_back_is_named_with_a_way_out(
    front: Callable[[httpx.Request], httpx.Response], said: str
) -> None:
    findings = await found(front)
    assert list(findings) == wrong(findings) == ["reachable"]
    assert said in f"{findings['reachable'].detail} {findings['reachable'].action}"


async def test_a_name_that_is_reserved_for_none_is_told_as_one_that_does_not_resolve() -> None:
    async with httpx.AsyncClient() as client:
        (told,) = await examine(
            "https://hooks.invalid", "store", Prober("s"), client, now=lambda: NOW, deadline=10.0
        )
    assert "does not resolve" in told.action


async def test_an_answer_that_takes_more_than_half_of_what_the_provider_waits_is_too_slow() -> None:
    findings = await found(Front(), deadline=1e-9)
    assert wrong(findings) == ["latency"]
    assert "slow" in findings["latency"].action


async def test_a_url_that_leads_elsewhere_or_takes_no_post_is_one_finding() -> None:
    for front in (Front(secret="another"), Front()):
        front.posts = 405
        findings = await found(front)
        assert wrong(findings) == ["reachable"] == list(findings)


# --- the app's own answer


@pytest.mark.parametrize("prefix", ["", "/mounted/here"])
async def test_an_app_tells_what_arrived_of_a_probe_and_takes_no_large_one(prefix: str) -> None:
    app = App([], store="memory:", url=f"http://hooks.example.com{prefix}")
    transport = httpx.ASGITransport(app=app, root_path=prefix)
    async with app.inspect(), httpx.AsyncClient(transport=transport) as client:
        opened = app.opened
        url, prober = opened.base_url or "", opened.registering.prober
        findings = await examine(
            url, opened.store.store_id, prober, client, now=opened.clock.now, deadline=10.0
        )
        assert [one.what for one in findings if not one.is_fine] == []
        large = await client.post(f"{url}/probe/abc", content=b"x" * 65_537)
        assert large.status_code == 413
        most = await client.post(f"{url}/probe/abc", content=b"x" * 65_536)
        assert most.status_code == 200
        with pytest.raises(Unreachable, match="something else"):
            await Prober("guessed").send(url, opened.store.store_id, client, b"", {})


# --- certificates


@contextmanager
def serving_tls(context: ssl.SSLContext) -> Generator[int, None, None]:
    """Take one connection and end it; the port is yielded."""

    def take() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


async def certificate(valid_days: float) -> Finding:
    authority = trustme.CA()
    ends = datetime.now(UTC) + timedelta(days=valid_days)
    ours = authority.issue_cert("127.0.0.1", not_before=ends - timedelta(days=90), not_after=ends)
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    with ours.private_key_and_cert_chain_pem.tempfile() as path:
        serving.load_cert_chain(path)
    trusting.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    with serving_tls(serving) as port:
        now = datetime.now(UTC).timestamp
        return await examine_certificate(f"https://127.0.0.1:{port}", now=now, context=trusting)


@pytest.mark.parametrize(("days", "is_fine"), [(60, True), (15, True), (13, False), (-1, False)])
async def test_a_certificate_is_renewed_before_it_ends(days: float, is_fine: bool) -> None:
    assert (await certificate(days)).is_fine is is_fine


async def test_a_certificate_that_nobody_trusts_is_what_keeps_the_probe_from_coming_back() -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.tempfile() as path:
        serving.load_cert_chain(path)
    with serving_tls(serving) as port:
        async with httpx.AsyncClient() as client:
            (told,) = await examine(
                f"https://127.0.0.1:{port}", "store", Prober("s"), client, now=lambda: NOW, deadline=10.0
            )
    assert "mend the certificate" in told.action


async def test_a_url_without_a_certificate_is_told() -> None:
    told = await examine_certificate("http://hooks.example.com", now=lambda: NOW)
    assert "https" in told.action


async def test_the_certificate_of_a_host_that_is_not_there_is_no_crash() -> None:
    assert not (await examine_certificate("https://localhost:1", now=lambda: NOW)).is_fine
