"""A consent through an app's pages: begun by a link, bound to a browser, used once."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.runtime.connecting import KEY, described
from tests.sources.oauth_provider import CLIENT, Provider, provider
from tests.sources.parcels import Parcels
from trigflow import App, SetupError
from trigflow.runtime.connections.consent import oauth_of
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
URL = "https://hooks.example.com/in"


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as running:
        yield running


def made(served: Provider, store: str | Path, clock: VirtualClock, **settings: Any) -> tuple[App, Parcels]:
    integration = described(served.url)
    told: dict[str, Any] = {"url": URL, "register": "off", "secret_key": KEY, **settings}
    app = App(store=str(store), app_credentials={integration: CLIENT}, clock=clock, **told)
    return app, integration


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def app(served: Provider, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[tuple[App, Parcels]]:
    app, integration = made(served, tmp_path / "store.db", clock)
    async with app.inspect():
        yield app, integration


class Browser:
    """A browser at an app that is mounted at /in, behind https."""

    def __init__(self, app: App) -> None:
        self.pages = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, root_path="/in"), base_url="https://hooks.example.com"
        )

    async def get(self, url: str) -> httpx.Response:
        return await self.pages.get(url)

    async def agree(self, url: str) -> str:
        """Follow the link to the provider, agree, and return where it sends back to."""
        begun = await self.get(url)
        assert begun.status_code == 303
        async with httpx.AsyncClient() as outside:
            back = (await outside.get(begun.headers["location"])).headers["location"]
        return str(back)


async def refused(answer: httpx.Response, title: str) -> None:
    assert answer.status_code in (400, 403, 502)
    assert f"<h1>{title}</h1>" in answer.text


async def test_who_follows_the_link_and_agrees_is_connected(
    app: tuple[App, Parcels], served: Provider
) -> None:
    built, parcels = app
    browser = Browser(built)
    back = await browser.agree(built.authorize_url(parcels, "user-42", then="/settings?tab=1"))
    assert back.startswith(f"{URL}/oauth/callback?")
    ended = await browser.get(back)
    assert (ended.status_code, ended.headers["location"]) == (303, "/settings?tab=1")
    (one,) = await built.connections(parcels)
    assert (one.ref, one.kind, one.label, one.account) == ("parcels/user-42", "oauth2", "Ann", "7")
    client = await built.opened.clients.get("parcels/user-42")
    assert client.token in served.tokens


async def test_the_pages_are_strict_and_the_cookie_is_for_them_alone(app: tuple[App, Parcels]) -> None:
    built, parcels = app
    browser = Browser(built)
    begun = await browser.get(built.authorize_url(parcels, "user"))
    cookie = begun.headers["set-cookie"]
    assert cookie.split("; ")[1:] == ["Max-Age=600", "Path=/in/oauth", "HttpOnly", "SameSite=Lax", "Secure"]
    page = await browser.get(f"{URL}/oauth/callback?state=<script>")
    for answer in (begun, page):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_link_and_a_state_are_good_once(app: tuple[App, Parcels]) -> None:
    built, parcels = app
    browser = Browser(built)
    link = built.authorize_url(parcels, "user")
    back = await browser.agree(link)
    await refused(await browser.get(link), "This link was used already")
    assert (await browser.get(back)).status_code == 200
    await refused(await browser.get(back), "This link was used already")


async def test_what_was_used_in_one_process_is_used_in_all(
    app: tuple[App, Parcels], served: Provider, tmp_path: Path, clock: VirtualClock
) -> None:
    built, parcels = app
    link = built.authorize_url(parcels, "user")
    back = await (browser := Browser(built)).agree(link)
    other, _ = made(served, tmp_path / "store.db", clock)
    async with other.inspect():
        await refused(await Browser(other).get(link), "This link was used already")
        elsewhere = Browser(other)
        elsewhere.pages.cookies = browser.pages.cookies
        assert (await elsewhere.get(back)).status_code == 200  # begun there, finished here
        await refused(await browser.get(back), "This link was used already")


async def test_another_browser_can_not_finish_and_does_not_spoil_it(app: tuple[App, Parcels]) -> None:
    built, parcels = app
    browser = Browser(built)
    back = await browser.agree(built.authorize_url(parcels, "user"))
    await refused(await Browser(built).get(back), "Another browser began this")
    assert (await browser.get(back)).status_code == 200


async def test_a_link_and_a_consent_that_take_too_long_are_over(
    app: tuple[App, Parcels], clock: VirtualClock
) -> None:
    built, parcels = app
    browser = Browser(built)
    late = built.authorize_url(parcels, "user")
    back = await browser.agree(built.authorize_url(parcels, "user"))
    clock.advance(timedelta(minutes=10))
    await refused(await browser.get(late), "This took too long")
    await refused(await browser.get(back), "This took too long")
    assert await built.connections() == []


@pytest.mark.parametrize("at", [3, 30, -3])
async def test_a_state_or_link_that_was_changed_is_refused(app: tuple[App, Parcels], at: int) -> None:
    built, parcels = app
    browser = Browser(built)
    for name, url in (
        ("state", await browser.agree(built.authorize_url(parcels, "user"))),
        ("ticket", built.authorize_url(parcels, "user")),
    ):
        path, query = url.split("?")
        told = {key: value[0] for key, value in parse_qs(query).items()}
        was = told[name]
        told[name] = was[:at] + ("A" if was[at] != "A" else "B") + was[at:][1:]
        await refused(await browser.get(f"{path}?{urlencode(told)}"), "This link does not work")


async def test_a_link_is_no_state(app: tuple[App, Parcels]) -> None:
    built, parcels = app
    ticket = parse_qs(urlsplit(built.authorize_url(parcels, "user")).query)["ticket"][0]
    answer = await Browser(built).get(f"{URL}/oauth/callback?{urlencode({'state': ticket, 'code': 'c'})}")
    await refused(answer, "This link does not work")


async def test_who_says_no_is_not_connected(app: tuple[App, Parcels], served: Provider) -> None:
    built, parcels = app
    served.denies = True
    browser = Browser(built)
    back = await browser.agree(built.authorize_url(parcels, "user"))
    await refused(await browser.get(back), "Not connected")
    assert await built.connections() == []


async def test_a_provider_that_fails_is_told_without_its_words_or_ours(
    app: tuple[App, Parcels], served: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    built, parcels = app
    browser = Browser(built)
    with caplog.at_level(logging.DEBUG):
        back = await browser.agree(built.authorize_url(parcels, "user"))
        code = parse_qs(urlsplit(back).query)["code"][0]
        served.odd = (400, f'{{"error": "invalid_grant", "error_description": "code {code}"}}'.encode(), {})
        caplog.clear()
        answer = await browser.get(back)
    await refused(answer, "Not connected")
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("trigflow"))
    assert "invalid_grant" in ours
    for secret in (code, CLIENT["client_secret"], back):
        assert secret not in answer.text + ours


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "x"]
)
async def test_the_end_can_not_lead_to_another_site(app: tuple[App, Parcels], then: str) -> None:
    built, parcels = app
    with pytest.raises(SetupError, match="no path of this site"):
        built.authorize_url(parcels, "user", then=then)


@pytest.mark.parametrize("length", [10, 2_000, 3_300, 3_500, 3_600, 3_700, 3_800, 3_900, 10_000])
async def test_a_link_that_is_given_leads_to_its_end_however_long_that_is(
    app: tuple[App, Parcels], length: int
) -> None:
    built, parcels = app
    then = "/" + "".join(random.Random(0).choices(ascii_letters + digits, k=length))
    try:
        link = built.authorize_url(parcels, "user", then=then)
    except SetupError:
        assert length > 2_000
        return
    browser = Browser(built)
    ended = await browser.get(await browser.agree(link))
    assert (ended.status_code, ended.headers["location"]) == (303, then)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "start"), ("POST", "callback"), ("GET", "other"), ("HEAD", "start")]
)
async def test_there_is_nothing_else_there(app: tuple[App, Parcels], method: str, path: str) -> None:
    answer = await Browser(app[0]).pages.request(method, f"{URL}/oauth/{path}")
    assert answer.status_code == 404


async def test_our_secret_goes_with_no_client_but_ours(app: tuple[App, Parcels]) -> None:
    built, parcels = app
    with pytest.raises(SetupError, match="client_secret"):
        built.opened.consents.link(parcels, "user", client={"client_id": "of-the-account"})
    whole = {"client_id": "of-the-account", "client_secret": "of-the-account-too"}
    begun = await Browser(built).get(built.opened.consents.link(parcels, "user", client=whole))
    assert parse_qs(urlsplit(begun.headers["location"]).query)["client_id"] == ["of-the-account"]


async def test_a_link_needs_a_url_and_our_own_client(served: Provider, clock: VirtualClock) -> None:
    app, parcels = made(served, "memory:", clock, url=None)
    async with app.inspect():
        with pytest.raises(SetupError, match="TRIGFLOW_URL"):
            app.authorize_url(parcels, "user")
    nobody = App(store="memory:", url=URL, secret_key=KEY, register="off", clock=clock)
    async with nobody.inspect():
        with pytest.raises(SetupError, match="PARCELS_CLIENT_ID and PARCELS_CLIENT_SECRET"):
            nobody.authorize_url(parcels, "user")


async def test_a_link_and_a_state_are_good_once_though_the_clock_is_set_back(
    app: tuple[App, Parcels], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, parcels = app
    browser = Browser(built)
    link = built.authorize_url(parcels, "user")
    back = await browser.agree(link)
    assert (await browser.get(back)).status_code == 200
    now = clock.now() - 5
    monkeypatch.setattr(clock, "now", lambda: now)
    await refused(await browser.get(link), "This link was used already")
    await refused(await browser.get(back), "This link was used already")


@pytest.mark.parametrize(
    ("declared", "sent", "title"),
    [
        ("https://a.example", "https://a.example", ""),
        ("https://a.example", None, "Another provider answered"),
        ("https://a.example", "https://a.example/", "Another provider answered"),
        (None, "https://anything.example", ""),
    ],
)
async def test_the_answer_of_another_provider_is_refused(
    app: tuple[App, Parcels], served: Provider, declared: str | None, sent: str | None, title: str
) -> None:
    built, parcels = app
    oauth_of(built.opened.connections.known.required("parcels")).issuer = declared
    browser = Browser(built)
    back = await browser.agree(built.authorize_url(parcels, "user"))
    answer = await browser.get(back if sent is None else f"{back}&{urlencode({'iss': sent})}")
    if title:
        await refused(answer, title)
        assert await built.connections() == []
        assert "code" not in [form.get("grant_type") for form in served.forms]
    else:
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "query",
    ["a&" * 4000, "state=" + "x" * 8000, "state=%F0%9F%90%8D&code=%00", "state=\xe9&state=b", "state=%ff"],
)
async def test_odd_queries_are_refused_in_plain_words(app: tuple[App, Parcels], query: str) -> None:
    scope = {
        "type": "http", "method": "GET", "path": "/in/oauth/callback", "root_path": "/in",
        "query_string": query.encode("latin-1"), "headers": [(b"cookie", b"a=\xff; =; ;;; b")],
    }  # fmt: skip
    answer = await app[0].opened.consent("/oauth/callback", scope)
    assert answer.status == 400
    assert b"This link does not work" in answer.body
