"""A person's consent: where it is asked for, what for, and what comes of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from trigflow import Credentials, OAuth2, SetupError, Unauthorized
from trigflow.runtime.connections.known import Known
from trigflow_github import GitHub
from trigflow_github.testing import FakeGitHub

OUR_APP = Credentials({"client_id": "Iv1", "client_secret": "hush"})
CALLBACK = "http://127.0.0.1:8765/callback"
VERIFIER = "v" * 43
NOW = datetime.now(UTC)


def consent(integration: GitHub) -> OAuth2:
    [found] = [way for way in integration.auth if isinstance(way, OAuth2)]
    return found


def asked_for(integration: GitHub) -> list[str]:
    url = consent(integration).authorize(OUR_APP, redirect_url=CALLBACK, state="s", verifier=VERIFIER)
    return parse_qs(urlsplit(url).query)["scope"][0].split()


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.github.com/", "https://github.com"),
        ("https://git.acme.dev/api/v3", "https://git.acme.dev"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_people_log_in_where_the_api_is(api: str, web: str) -> None:
    assert consent(GitHub(base_url=api)).authorize_url == f"{web}/login/oauth/authorize"


@pytest.mark.parametrize(
    ("environ", "web"),
    [
        ({"GITHUB_API_URL": "https://git.acme.dev/api/v3"}, "https://git.acme.dev"),
        ({"GITHUB_API_URL": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        (
            {"GITHUB_API_URL": "https://git.acme.dev/api/v3", "GITHUB_SERVER_URL": "https://login.acme.dev/"},
            "https://login.acme.dev",
        ),
    ],
)
def test_people_log_in_at_the_server_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], web: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for integration in (GitHub(), GitHub(repo="a/b")):
        assert consent(integration).authorize_url == f"{web}/login/oauth/authorize"
    given = consent(GitHub(base_url="https://other.dev/api/v3"))
    assert given.authorize_url == "https://other.dev/login/oauth/authorize"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"GITHUB_APP_ID": "7"}, "GITHUB_APP_PRIVATE_KEY"),
        ({"GITHUB_APP_PRIVATE_KEY": "k"}, "GITHUB_APP_ID"),
        ({"GITHUB_APP_INSTALLATION_ID": "9", "GITHUB_APP_ID": "7"}, "GITHUB_APP_PRIVATE_KEY"),
        ({"GITHUB_CLIENT_ID": "c"}, "GITHUB_CLIENT_SECRET"),
    ],
)
def test_of_what_is_set_up_by_half_only_the_missing_half_is_named(environ: dict[str, str], told: str) -> None:
    hub = GitHub()
    known = Known({"github": hub}, {}, {}, environ)
    assert known.missing("github") == f"no credentials: set {told}"
    way = next(way for way in hub.auth if told in [field.env for field in way.app_fields])
    with pytest.raises(SetupError, match=f"set {told}, or app_credentials= of the App"):
        known.app(hub, way, {})


def test_a_key_that_a_file_holds_is_not_named_as_missing(tmp_path: Path) -> None:
    (tmp_path / "app.pem").write_text("k")
    hub, environ = GitHub(), {"GITHUB_APP_PRIVATE_KEY_PATH": str(tmp_path / "app.pem")}
    assert Known({"github": hub}, {}, {}, environ).missing("github") == "no credentials: set GITHUB_APP_ID"


def test_no_more_is_asked_for_than_webhooks_need_unless_you_say_so() -> None:
    assert asked_for(GitHub()) == asked_for(GitHub(repo="a/b")) == ["admin:repo_hook"]
    assert asked_for(GitHub(org="acme")) == ["admin:repo_hook", "admin:org_hook"]
    assert asked_for(GitHub(scopes=("repo",))) == ["repo"]


async def code_of(fake: FakeGitHub, http: httpx.AsyncClient, way: OAuth2) -> dict[str, str]:
    url = way.authorize(OUR_APP, redirect_url=CALLBACK, state="s", verifier=VERIFIER)
    assert url.startswith(fake.url)
    answer = await http.get(url)
    query = urlsplit(answer.headers["location"]).query
    return {name: values[0] for name, values in parse_qs(query).items()}


@pytest.mark.anyio
async def test_a_person_who_agrees_gives_a_token_that_may_make_webhooks() -> None:
    with FakeGitHub() as fake:
        fake.add_oauth_app("Iv1", "hush", callbacks=[CALLBACK])
        integration = GitHub(base_url=fake.url)
        way = consent(integration)
        async with httpx.AsyncClient() as http:
            told = await code_of(fake, http, way)
            assert told["state"] == "s"
            token = await way.exchange(
                OUR_APP, told["code"], redirect_url=CALLBACK, verifier=VERIFIER, http=http, now=NOW
            )
        assert token.expires_at is None
        async with integration.client(Credentials(dict(token.values))) as hub:
            checked = await integration.check(hub)
            assert (checked.label, checked.missing) == ("octocat", ())
            assert await hub.hooks(repo="acme/web") == []


@pytest.mark.anyio
async def test_another_verifier_or_a_used_code_is_refused_though_github_says_200() -> None:
    with FakeGitHub() as fake:
        fake.add_oauth_app("Iv1", "hush", callbacks=[CALLBACK])
        way = consent(GitHub(base_url=fake.url))
        async with httpx.AsyncClient() as http:
            code = (await code_of(fake, http, way))["code"]
            for _ in range(2):
                with pytest.raises(Unauthorized) as caught:
                    await way.exchange(
                        OUR_APP, code, redirect_url=CALLBACK, verifier="w" * 43, http=http, now=NOW
                    )
                assert code not in str(caught.value)


@pytest.mark.anyio
async def test_the_token_of_a_github_apps_user_is_refreshed_and_the_old_one_is_useless() -> None:
    with FakeGitHub() as fake:
        fake.add_oauth_app("Iv1", "hush", callbacks=[CALLBACK], expiring=True)
        integration = GitHub(base_url=fake.url)
        way = consent(integration)
        async with httpx.AsyncClient() as http:
            code = (await code_of(fake, http, way))["code"]
            first = await way.exchange(
                OUR_APP, code, redirect_url=CALLBACK, verifier=VERIFIER, http=http, now=NOW
            )
            assert first.expires_at == NOW + timedelta(hours=8)
            second = await way.token(OUR_APP, Credentials(dict(first.values)), http, now=NOW)
        async with integration.client(Credentials(dict(second.values))) as hub:
            assert (await integration.check(hub)).missing == ()
        async with integration.client(Credentials(dict(first.values))) as hub:
            with pytest.raises(Unauthorized):
                await integration.check(hub)
