"""A GitHub App's tokens: what is signed, what is asked for, what is made of refusals."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, strategies as st

from trigflow import ApiError, ApiKey, Credentials, Forbidden, RateLimited, SetupError, Unauthorized
from trigflow_github import GitHub, GitHubApp, github
from trigflow_github.app_auth import app_token

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
APP = Credentials({"app_id": "1234", "private_key": PEM})
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
ENVIRON = {"GITHUB_APP_ID": "1234", "GITHUB_APP_PRIVATE_KEY": PEM}
GITHUBS_CLOCK_IS_OFF = timedelta(seconds=59)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> dict[str, Any]:
    """Check a JWT as its receiver does, without the library that made it."""
    signed, _, signature = token.rpartition(".")
    KEY.public_key().verify(part(signature), signed.encode(), padding.PKCS1v15(), SHA256())
    head, body = (json.loads(part(text)) for text in signed.split("."))
    assert head == {"alg": "RS256", "typ": "JWT"}
    return dict(body)


@given(moments, st.sampled_from([-GITHUBS_CLOCK_IS_OFF, timedelta(0), GITHUBS_CLOCK_IS_OFF]))
def test_github_takes_the_jwt_though_its_clock_differs_by_a_minute(now: datetime, off: timedelta) -> None:
    token, ends = app_token(APP, now=now)
    claims = claims_of(token)
    theirs = (now + off).timestamp()
    assert claims["iss"] == "1234"
    assert claims["iat"] <= theirs
    assert theirs < claims["exp"] <= theirs + 600
    assert ends.timestamp() == claims["exp"]


def test_a_key_from_an_environment_file_may_have_its_lines_escaped() -> None:
    token, _ = app_token(Credentials({"app_id": "1", "private_key": PEM.replace("\n", "\\n")}), now=NOW)
    assert claims_of(token)["iss"] == "1"


EC_PEM = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize("pem", ["a secret", PEM[:200], PEM.replace("RSA", "DSA"), EC_PEM, "ü", "\x00"])
def test_what_is_no_key_is_refused_unquoted(pem: str) -> None:
    with pytest.raises(SetupError, match="GITHUB_APP_PRIVATE_KEY") as caught:
        app_token(Credentials({"app_id": "1", "private_key": pem}), now=NOW)
    assert caught.value.__cause__ is None
    assert pem not in str(caught.value)


class Asked:
    """Answers one request and keeps it."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.request: httpx.Request | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return self.answer


async def mint(handler: Callable[[httpx.Request], httpx.Response], integration: GitHub = github) -> Any:
    [way] = [one for one in integration.auth if isinstance(one, GitHubApp)]
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        made = await way.token(APP, Credentials({"installation_id": "42"}), http, now=NOW)
        assert not http.is_closed
        return made


@pytest.mark.anyio
async def test_without_an_installation_the_app_acts_as_itself() -> None:
    def nothing_is_asked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    async with httpx.AsyncClient(transport=httpx.MockTransport(nothing_is_asked)) as http:
        made = await GitHubApp().token(APP, Credentials({}), http, now=NOW)
    assert claims_of(made.values["token"])["iss"] == "1234"
    assert made.expires_at is not None
    assert NOW < made.expires_at <= NOW + timedelta(minutes=10)
    assert made.account == "1234"


TOKEN: Any = {"token": "ghs_anothersecret", "expires_at": "2026-01-02T04:04:05Z", "permissions": {}}


@pytest.mark.anyio
async def test_a_token_of_an_installation_is_asked_for_with_the_jwt() -> None:
    asked = Asked(httpx.Response(201, json=TOKEN))
    made = await mint(asked)
    assert asked.request is not None
    assert asked.request.method == "POST"
    assert str(asked.request.url) == "https://api.github.com/app/installations/42/access_tokens"
    assert claims_of(asked.request.headers["authorization"].removeprefix("Bearer "))["iss"] == "1234"
    assert dict(made.values) == {"token": "ghs_anothersecret"}
    assert made.expires_at == datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
    assert made.account == "42"
    assert "anothersecret" not in repr(made)


@pytest.mark.anyio
async def test_an_enterprise_server_makes_its_own_tokens() -> None:
    asked = Asked(httpx.Response(201, json=TOKEN))
    await mint(asked, GitHub(base_url="https://git.acme.dev/api/v3"))
    assert asked.request is not None
    assert str(asked.request.url) == "https://git.acme.dev/api/v3/app/installations/42/access_tokens"


REFUSALS: list[tuple[int, str, Mapping[str, str], type[Exception]]] = [
    (404, "Not Found", {}, Unauthorized),  # it was uninstalled
    (403, "This installation has been suspended", {}, Forbidden),
    (401, "A JSON web token could not be decoded", {}, Unauthorized),
    (403, "You have exceeded a secondary rate limit.", {}, RateLimited),
    (429, "", {"retry-after": "7"}, RateLimited),
    (503, "", {}, ApiError),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "message", "headers", "kind"), REFUSALS)
async def test_a_refusal_for_good_needs_a_person_another_does_not(
    status: int, message: str, headers: Mapping[str, str], kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        await mint(Asked(httpx.Response(status, json={"message": message}, headers=headers)))
    assert type(caught.value) is kind
    assert PEM not in str(caught.value)


def test_an_app_is_read_from_the_environment() -> None:
    way = GitHubApp()
    app = way.app_from_environment(ENVIRON)
    assert app is not None
    assert dict(app) == {"app_id": "1234", "private_key": PEM}
    assert dict(way.from_environment(ENVIRON) or {}) == {}
    assert way.from_environment({**ENVIRON, "GITHUB_APP_INSTALLATION_ID": "42"}) is not None


def test_an_installation_without_an_app_is_nothing() -> None:
    way = GitHubApp()
    assert way.from_environment({"GITHUB_APP_INSTALLATION_ID": "42"}) is None
    assert way.from_environment({}) is None
    assert way.app_from_environment({"GITHUB_APP_ID": "1234"}) is None


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "app.pem"
    file.write_text(PEM)
    named = {"GITHUB_APP_ID": "1234", "GITHUB_APP_PRIVATE_KEY_PATH": str(file)}
    app = GitHubApp().app_from_environment(named)
    assert app is not None
    assert app["private_key"] == PEM
    with pytest.raises(SetupError, match="can't be read"):
        GitHubApp().app_from_environment(
            {**named, "GITHUB_APP_PRIVATE_KEY_PATH": str(tmp_path / "nowhere.pem")}
        )


def test_a_token_goes_before_an_app_unless_the_events_are_the_apps() -> None:
    environ = {**ENVIRON, "GITHUB_TOKEN": "ghp_x", "GITHUB_APP_INSTALLATION_ID": "42"}
    assert dict(GitHub().credentials(environ) or {}) == {"token": "ghp_x"}
    assert dict(GitHub(app=True).credentials(environ) or {}) == {"installation_id": "42"}


def test_whoever_has_ways_of_their_own_keeps_them() -> None:
    class Mine(GitHub, id="mine", auth=[ApiKey("MY_TOKEN")]):
        """Another GitHub."""

    assert [way.remedy() for way in Mine(app=True, base_url="https://git.acme.dev/api/v3").auth] == [
        "set MY_TOKEN"
    ]


def test_what_is_not_installed_is_named_with_the_command() -> None:
    program = (
        "import sys; sys.modules['jwt'] = None\n"
        "from datetime import UTC, datetime\n"
        "from trigflow import Credentials, SetupError\n"
        "from trigflow_github.app_auth import app_token\n"
        "try: app_token(Credentials({'app_id': '1', 'private_key': 'x'}), now=datetime.now(UTC))\n"
        "except SetupError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "trigflow[github-app]" in told.stdout


def test_only_who_has_an_app_pays_for_the_library() -> None:
    program = "import sys, trigflow_github; print('jwt' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.anyio
@pytest.mark.parametrize("given", ["ghp_a-token-of-a-person", "5/../6", "٣", "1\n"])
async def test_what_is_no_number_of_an_installation_is_neither_asked_for_nor_quoted(given: str) -> None:
    def nothing_is_asked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    async with httpx.AsyncClient(transport=httpx.MockTransport(nothing_is_asked)) as http:
        with pytest.raises(SetupError, match="no number") as caught:
            await GitHubApp().token(APP, Credentials({"installation_id": given}), http, now=NOW)
    assert given not in str(caught.value)
