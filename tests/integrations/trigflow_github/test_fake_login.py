"""The fake's web login: codes, tokens, refresh tokens that are rotated."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import attrs
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.integrations.trigflow_github.keys import public_pem
from trigflow_github.testing import FakeGitHub

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACK = "http://127.0.0.1/callback"
JSON = {"accept": "application/json"}
HTTP = httpx.Client(verify=False)  # one for all: making one reads certificates for a while


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(clock=lambda: NOON) as running:
        running.add_oauth_app("plain", "hush", callbacks=[BACK, "https://app.example.com/in"])
        running.add_oauth_app("expiring", "hush", callbacks=[BACK], expiring=True)
        yield running


def authorize(fake: FakeGitHub, client: str = "plain", **query: str) -> httpx.URL:
    told = {"client_id": client, "redirect_uri": f"{BACK}?a=1", "state": "s&t", **query}
    answer = HTTP.get(f"{fake.url}/login/oauth/authorize", params=told)
    assert answer.status_code == 302
    return httpx.URL(answer.headers["location"])


def exchange(fake: FakeGitHub, client: str = "plain", **form: str) -> dict[str, Any]:
    told = {"client_id": client, "client_secret": "hush", **form}
    answer = HTTP.post(f"{fake.url}/login/oauth/access_token", data=told, headers=JSON)
    assert answer.status_code == 200
    return answer.json()  # type: ignore[no-any-return]


def code_for(fake: FakeGitHub, client: str = "plain", **query: str) -> str:
    return authorize(fake, client, **query).params["code"]


def whose(fake: FakeGitHub, token: str) -> int:
    return HTTP.get(f"{fake.url}/user", headers={"authorization": f"Bearer {token}"}).status_code


def test_the_browser_comes_back_with_a_code_and_its_state(fake: FakeGitHub) -> None:
    back = authorize(fake, redirect_uri="http://127.0.0.1:4321/callback?a=1")
    assert (back.host, back.port, back.path) == ("127.0.0.1", 4321, "/callback")
    assert (back.params["a"], back.params["state"]) == ("1", "s&t")
    assert len(back.params["code"]) > 10


@pytest.mark.parametrize(
    "redirect",
    ["https://evil.example.com/in", "https://app.example.com:444/in", "https://app.example.com/inside",
     "http://app.example.com/in"],
)  # fmt: skip
def test_only_a_registered_place_gets_a_code(fake: FakeGitHub, redirect: str) -> None:
    back = authorize(fake, redirect_uri=redirect)
    assert (back.host, back.params["error"]) == ("127.0.0.1", "redirect_uri_mismatch")
    assert "code" not in back.params


def test_a_person_may_say_no(fake: FakeGitHub) -> None:
    fake.refuse_login()
    assert authorize(fake).params["error"] == "access_denied"
    assert "code" in authorize(fake).params


def test_a_code_gives_a_token_with_the_scopes_once(fake: FakeGitHub) -> None:
    code = code_for(fake, scope="repo gist")
    told = exchange(fake, code=code)
    assert set(told) == {"access_token", "scope", "token_type"}
    assert (told["scope"], told["token_type"]) == ("repo,gist", "bearer")
    assert told["access_token"].startswith("gho_")
    answer = HTTP.get(f"{fake.url}/user", headers={"authorization": f"token {told['access_token']}"})
    assert (answer.status_code, answer.headers["x-oauth-scopes"]) == (200, "repo, gist")
    assert exchange(fake, code=code)["error"] == "bad_verification_code"


def test_the_answer_is_a_form_unless_json_is_asked_for(fake: FakeGitHub) -> None:
    told = {"client_id": "plain", "client_secret": "hush", "code": code_for(fake, scope="repo")}
    answer = HTTP.post(f"{fake.url}/login/oauth/access_token", json=told)
    assert answer.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert {"scope": "repo", "token_type": "bearer"}.items() <= dict(parse_qsl(answer.text)).items()
    wrong = HTTP.post(f"{fake.url}/login/oauth/access_token", data=told)
    assert (wrong.status_code, parse_qs(wrong.text)["error"]) == (200, ["bad_verification_code"])


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"client_id": "nobody"}, "incorrect_client_credentials"),
        ({"code": "none"}, "bad_verification_code"),
        ({"redirect_uri": "http://127.0.0.1/callback/other"}, "redirect_uri_mismatch"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "ghr_none"}, "bad_refresh_token"),
    ],
)
def test_an_error_comes_as_a_200(fake: FakeGitHub, form: Mapping[str, str], error: str) -> None:
    told = exchange(fake, **{"code": code_for(fake), **form})
    assert told["error"] == error
    assert {"error_description", "error_uri"} <= set(told)


def test_a_code_expires_after_ten_minutes_and_is_for_its_client_alone(fake: FakeGitHub) -> None:
    late, early = code_for(fake), code_for(fake)
    assert exchange(fake, "expiring", code=code_for(fake))["error"] == "bad_verification_code"
    fake.advance(minutes=9, seconds=59)
    assert "access_token" in exchange(fake, code=early)
    fake.advance(seconds=1)
    assert exchange(fake, code=late)["error"] == "bad_verification_code"


def test_a_challenge_wants_its_verifier(fake: FakeGitHub) -> None:
    # The pair of RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert "access_token" in exchange(fake, code=code_for(fake, **asked), code_verifier=verifier)
    for form in ({"code_verifier": "wrong"}, {}):
        assert "error" in exchange(fake, code=code_for(fake, **asked), **form)
    assert "error" in authorize(fake, code_challenge=verifier, code_challenge_method="plain").params


def test_a_user_token_lives_for_eight_hours(fake: FakeGitHub) -> None:
    told = exchange(fake, "expiring", code=code_for(fake, "expiring", scope="repo"))
    assert (told["expires_in"], told["scope"]) == (28800, "")
    assert told["access_token"].startswith("ghu_")
    assert told["refresh_token"].startswith("ghr_")
    fake.advance(hours=7, minutes=59, seconds=59)
    assert whose(fake, told["access_token"]) == 200
    fake.advance(seconds=1)
    assert whose(fake, told["access_token"]) == 401


def test_an_oauth_app_sees_the_webhooks_it_made_and_no_others(fake: FakeGitHub) -> None:
    token = exchange(fake, code=code_for(fake, scope="repo"))["access_token"]
    other = fake.add_hook("acme/web", "http://127.0.0.1:9/other")
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=fake.url, headers=headers) as api:
        made = api.post("/repos/acme/web/hooks", json={"config": {"url": "http://127.0.0.1:9/mine"}}).json()
        assert [hook["id"] for hook in api.get("/repos/acme/web/hooks").json()] == [made["id"]]
        assert api.get(f"/repos/acme/web/hooks/{other.id}").status_code == 404
        assert api.delete(f"/repos/acme/web/hooks/{other.id}").status_code == 404
        api.headers["authorization"] = "Bearer fake-token"
        assert [hook["id"] for hook in api.get("/repos/acme/web/hooks").json()] == [other.id]


def test_a_user_token_of_an_app_sees_where_the_app_is_installed(fake: FakeGitHub) -> None:
    key = rsa.generate_private_key(65537, 2048)
    fake.add_app(public_pem(key), client_id="Iv1", client_secret="hush", callbacks=[BACK])
    fake.add_repository("other/site")
    fake.install("other")
    token = exchange(fake, "Iv1", code=code_for(fake, "Iv1"))["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    seen = HTTP.get(f"{fake.url}/user/repos", headers=headers)
    assert [repository["full_name"] for repository in seen.json()] == ["other/site"]
    assert "x-oauth-scopes" not in seen.headers
    assert HTTP.get(f"{fake.url}/repos/acme/web/hooks", headers=headers).status_code == 404


def test_a_missing_scope_looks_like_nothing_there_and_is_named(fake: FakeGitHub) -> None:
    fake.add_token("small", scopes=["gist", "read:repo_hook"])
    headers = {"authorization": "Bearer small"}
    assert HTTP.get(f"{fake.url}/repos/acme/web/hooks", headers=headers).status_code == 200
    answer = HTTP.post(f"{fake.url}/repos/acme/web/hooks", headers=headers, json={})
    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
    assert "write:repo_hook" in answer.headers["x-accepted-oauth-scopes"]
    assert answer.headers["x-oauth-scopes"] == "gist, read:repo_hook"


@attrs.define
class Pair:
    access: str
    refresh: str
    ends: timedelta
    refresh_ends: timedelta
    used: bool = False


class TokensAgree(RuleBasedStateMachine):
    """Access and refresh tokens beside a plain model: two ends, and whether it was used."""

    pairs = Bundle("pairs")

    @initialize()
    def start(self) -> None:
        self.fake = FakeGitHub(clock=lambda: NOON).__enter__()
        self.fake.add_oauth_app("expiring", "hush", callbacks=[BACK], expiring=True)
        self.past = timedelta()
        self.model: list[Pair] = []

    def teardown(self) -> None:
        self.fake.__exit__()

    def paired(self, told: Mapping[str, Any]) -> Pair:
        ends = self.past + timedelta(hours=8)
        pair = Pair(told["access_token"], told["refresh_token"], ends, self.past + timedelta(days=184))
        self.model.append(pair)
        return pair

    @rule(target=pairs)
    def log_in(self) -> Pair:
        return self.paired(exchange(self.fake, "expiring", code=code_for(self.fake, "expiring")))

    @rule(target=pairs, old=pairs)
    def refresh(self, old: Pair) -> Pair:
        told = exchange(self.fake, "expiring", grant_type="refresh_token", refresh_token=old.refresh)
        if old.used or old.refresh_ends <= self.past:
            assert told["error"] == "bad_refresh_token"
            return old
        old.used = True
        return self.paired(told)

    @rule(by=st.sampled_from([timedelta(seconds=1), timedelta(hours=4), timedelta(days=92)]))
    def time_passes(self, by: timedelta) -> None:
        self.fake.advance(by)
        self.past += by

    @invariant()
    def who_is_let_in_is_the_model(self) -> None:
        for pair in self.model:
            good = not pair.used and self.past < pair.ends
            assert whose(self.fake, pair.access) == (200 if good else 401)


TokensAgree.TestCase.settings = settings(
    max_examples=15, stateful_step_count=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTokensAgree = TokensAgree.TestCase


def test_the_login_needs_no_token_and_counts_against_no_limit(fake: FakeGitHub) -> None:
    fake.limit = 0
    assert "access_token" in exchange(fake, code=code_for(fake))
    assert urlsplit(fake.url).hostname == "127.0.0.1"
