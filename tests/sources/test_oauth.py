"""OAuth against a provider that talks HTTP, and the odd answers that providers give."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given, strategies as st

from tests.sources.oauth_provider import CLIENT, Provider, provider
from tests.sources.parcels import client_credentials, oauth
from trigflow import ApiError, Credentials, RateLimited, SetupError, Unauthorized
from trigflow.sources.oauth import Manual, OAuth2, new_verifier

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APP = Credentials(CLIENT)
BACK = "https://hooks.example.com/oauth/callback"


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as running:
        yield running


async def agree(url: str) -> dict[str, str]:
    """Agree in a browser; returns what it is sent back with."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
    return {name: value[0] for name, value in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@pytest.mark.anyio
@pytest.mark.parametrize("client_auth", ["post", "basic"])
async def test_a_consent_becomes_a_token_and_each_refresh_token_is_replaced(
    served: Provider, client_auth: Any
) -> None:
    way = oauth(served.url, client_auth=client_auth)
    verifier = new_verifier()
    back = await agree(way.authorize(APP, redirect_url=BACK, state="s&?/", verifier=verifier))
    assert back["state"] == "s&?/"
    async with httpx.AsyncClient() as http:
        first = await way.exchange(
            APP, back["code"], redirect_url=BACK, verifier=verifier, http=http, now=NOW
        )
        assert first.values["token"] in served.tokens
        assert first.expires_at == NOW + timedelta(hours=1)
        second = await way.token(APP, Credentials(first.values), http, now=NOW)
        assert second.values["refresh_token"] != first.values["refresh_token"]
        with pytest.raises(Unauthorized, match="invalid_grant"):
            await way.token(APP, Credentials(first.values), http, now=NOW)
        await way.revoke(APP, Credentials(second.values), http)
        assert second.values["refresh_token"] not in served.refreshes
    in_form = ["client_secret" in form for form in served.forms]
    assert in_form == [client_auth == "post"] * 3


@pytest.mark.anyio
async def test_a_code_is_good_only_with_the_verifier_that_its_challenge_was_made_of(served: Provider) -> None:
    way = oauth(served.url)
    back = await agree(way.authorize(APP, redirect_url=BACK, state="s", verifier=new_verifier()))
    async with httpx.AsyncClient() as http:
        with pytest.raises(Unauthorized):
            await way.exchange(
                APP, back["code"], redirect_url=BACK, verifier=new_verifier(), http=http, now=NOW
            )


def test_the_authorize_url_says_what_was_declared() -> None:
    way = OAuth2(
        "https://a.example/authorize?fixed=1", "https://a.example/token", client_id="A", client_secret="B",
        scopes=["one", "two"], separator=",", authorize={"prompt": "consent"}, pkce=False,
    )  # fmt: skip
    query = parse_qs(urlsplit(way.authorize(APP, redirect_url=BACK, state="s", verifier="v")).query)
    assert query == {
        "fixed": ["1"], "response_type": ["code"], "client_id": ["our-app"], "redirect_uri": [BACK],
        "scope": ["one,two"], "state": ["s"], "prompt": ["consent"],
    }  # fmt: skip


# RFC 7636, appendix B: the verifier and the challenge that it gives.
def test_the_challenge_is_that_of_the_standard() -> None:
    url = oauth("https://a.example").authorize(
        APP, redirect_url=BACK, state="s", verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge"] == ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]
    assert query["code_challenge_method"] == ["S256"]


async def answered(status: int, body: bytes, headers: dict[str, str] | None = None, **options: Any) -> Any:
    """Refresh at a token endpoint that answers this."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers or {}))
    async with httpx.AsyncClient(transport=transport) as http:
        way = oauth("https://a.example", **options)
        return await way.token(APP, Credentials({"refresh_token": "old-refresh-token"}), http, now=NOW)


@pytest.mark.anyio
async def test_a_form_is_read_as_an_answer_too() -> None:
    token = await answered(200, urlencode({"access_token": "new", "expires_in": "60"}).encode())
    assert (token.values, token.expires_at) == ({"token": "new"}, NOW + timedelta(minutes=1))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (200, "bad_refresh_token", Unauthorized),  # as an HTTP 200
        (400, "invalid_grant", Unauthorized),
        (401, "invalid_client", ApiError),
        (200, "incorrect_client_credentials", ApiError),
        (400, "temporarily_unavailable", ApiError),
        (200, "busy", ApiError),
        (503, "invalid_grant", ApiError),  # whatever a failing provider says
        (429, "invalid_grant", RateLimited),
    ],
)
async def test_what_is_refused_for_good_is_told_from_what_may_pass(
    status: int, error: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised:
        await answered(status, json.dumps({"error": error}).encode(), later=["busy"])
    assert type(raised.value) is kind


@pytest.mark.anyio
async def test_a_refresh_token_that_is_never_used_is_not_kept() -> None:
    body = b'{"access_token": "new", "refresh_token": "never-used", "expires_in": 60}'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as http:
        token = await oauth("https://a.example", refresh=False).exchange(
            APP, "code", redirect_url="https://b.example", verifier=new_verifier(), http=http, now=NOW
        )
    assert (token.values, token.expires_at) == ({"token": "new"}, NOW + timedelta(minutes=1))


@pytest.mark.anyio
async def test_a_provider_that_limits_says_until_when() -> None:
    with pytest.raises(RateLimited) as raised:
        await answered(429, b"", {"retry-after": "90"})
    assert raised.value.until == NOW + timedelta(seconds=90)


@pytest.mark.anyio
async def test_odd_answers_are_made_plain_by_what_the_author_declares() -> None:
    told = {"ok": True, "authed_user": {"access_token": "deep"}, "team": {"id": "T1"}, "bot": 5}
    token = await answered(
        200,
        json.dumps(told).encode(),
        token_from=lambda answer: {**answer, **answer["authed_user"]},
        account_from=lambda answer: answer["team"]["id"],
        keeps=["bot"],
    )
    assert (dict(token.values), token.account) == ({"token": "deep", "bot": "5"}, "T1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
names = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "error", "error_description", "scope", "x"]
)


@given(
    st.integers(200, 599), st.binary() | st.dictionaries(names, values).map(lambda v: json.dumps(v).encode())
)
def test_whatever_a_token_endpoint_answers_is_a_token_or_an_error_of_ours(status: int, body: bytes) -> None:
    import anyio

    async def ask() -> None:
        told = ""
        try:
            token = await answered(status, body)
        except (Unauthorized, ApiError) as error:
            told = str(error)
        else:
            assert isinstance(token.values["token"], str)
            assert token.expires_at is None or token.expires_at > NOW
        assert "our-secret-5x" not in told
        assert "old-refresh-token" not in told

    anyio.run(ask)


@pytest.mark.anyio
async def test_no_error_quotes_what_was_sent(served: Provider) -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(Unauthorized) as raised:
            await oauth(served.url).token(APP, Credentials({"refresh_token": "ref-unknown-1"}), http, now=NOW)
    assert "[redacted] is over" in str(raised.value)
    assert "ref-unknown-1" not in str(raised.value)


@pytest.mark.anyio
async def test_a_provider_that_can_not_be_reached_may_be_asked_again() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(ApiError, match="no answer"):
            await oauth("http://127.0.0.1:1").token(APP, Credentials({"refresh_token": "r"}), http, now=NOW)


@pytest.mark.anyio
async def test_client_credentials_need_nobody(served: Provider) -> None:
    async with httpx.AsyncClient() as http:
        token = await client_credentials(served.url).token(Credentials({}), APP, http, now=NOW)
    assert token.values["token"] in served.tokens
    assert served.forms[-1] == {"grant_type": "client_credentials", "scope": "read"}


@pytest.mark.anyio
@pytest.mark.parametrize("told", [3600, 3600.0, "3600", "3600.0"])
async def test_the_life_of_a_token_is_read_however_it_is_written(told: object) -> None:
    token = await answered(200, json.dumps({"access_token": "new", "expires_in": told}).encode())
    assert token.expires_at == NOW + timedelta(hours=1)


@pytest.mark.anyio
async def test_an_account_that_is_a_number_is_text_from_then_on() -> None:
    told = json.dumps({"access_token": "new", "user": {"id": 7}}).encode()
    token = await answered(200, told, account_from=lambda answer: answer["user"]["id"])
    assert token.account == "7"


@pytest.mark.parametrize(
    "url", ["http://a.example/x", "ftp://a.example", "a.example", "https://", "https://[::1", "http://[::1"]
)
def test_tokens_are_sent_nowhere_that_can_be_overheard(url: str) -> None:
    with pytest.raises(SetupError, match="https"):
        OAuth2(url, "https://a.example", client_id="A", client_secret="B")


def test_nothing_shows_a_secret_of_its_own_accord() -> None:
    assert "our-secret" not in repr(APP)
    assert Manual().fields == ()
    assert dict(Manual("X").from_environment({"X": "whsec"}) or {}) == {"secret": "whsec"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reads", [lambda told: told["user"]["token"], lambda told: int(told["access_token"])]
)
async def test_what_an_odd_answer_holds_is_in_no_error(reads: Any) -> None:
    body = json.dumps({"access_token": "a-token-of-somebody"}).encode()
    for name in ("token_from", "account_from"):
        with pytest.raises(ApiError) as raised:
            await answered(200, body, **{name: reads})
        told = "".join(traceback.format_exception(raised.value))
        assert "a-token-of-somebody" not in told
        assert "not as expected" in told


@pytest.mark.anyio
async def test_an_answer_that_is_nested_without_end_is_one_that_can_not_be_read() -> None:
    with pytest.raises(ApiError):
        await answered(200, b"[" * 100_000)
