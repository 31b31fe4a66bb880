"""The fake holds requests against GitHub's description of its API, and its answers fit it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.integrations.trigflow_github.keys import app_token, public_pem
from trigflow_github.testing import FakeGitHub

jsonschema = pytest.importorskip("jsonschema")
HOOKS = "/repos/acme/web/hooks"
DEAD = "http://127.0.0.1:9/hook"  # nobody listens on the discard port
SCHEMAS: Mapping[str, Any] = json.loads((Path(__file__).parent / "vectors" / "responses.json").read_text())


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="good") as running:
        yield running


@pytest.fixture
def api(fake: FakeGitHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake.url, headers={"authorization": "Bearer good"}) as connected:
        yield connected


def as_json_schema(schema: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema's null."""
    if isinstance(schema, list):
        return [as_json_schema(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    told = cast("dict[str, Any]", schema)
    plain = {name: as_json_schema(item) for name, item in told.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if told.get("nullable") is True else plain


def fits(operation: str, answer: httpx.Response) -> None:
    schema = SCHEMAS[operation][str(answer.status_code)]
    if schema is None:
        assert answer.content == b""
    else:
        jsonschema.validate(answer.json(), as_json_schema(schema))


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", HOOKS, {"events": "push"}, "For 'properties/events', \"push\" is not an array."),
        ("POST", HOOKS, {"evnets": ["push"]}, '"evnets" is not a permitted key.'),
        ("POST", HOOKS, {"active": "yes"}, "For 'properties/active', \"yes\" is not a boolean."),
        ("POST", HOOKS, {"config": None}, "For 'properties/config', nil is not an object."),
        ("POST", "/orgs/acme/hooks", {}, '"name", "config" weren\'t supplied.'),
        ("POST", "/orgs/acme/hooks", {"name": "web", "config": {}}, '"url" wasn\'t supplied.'),
        ("PATCH", f"{HOOKS}/1", {"add_events": [1]}, "1 is not a string."),
        ("PATCH", f"{HOOKS}/1/config", {"insecure_ssl": True}, "true"),
    ],
)
def test_what_does_not_fit_the_description_is_a_422(
    api: httpx.Client, method: str, path: str, body: Any, said: str
) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == 422
    message = answer.json()["message"]
    assert message.startswith("Invalid request.\n\n")
    assert message.endswith(said) or said in message
    assert answer.json()["documentation_url"].startswith("https://docs.github.com/rest/")
    assert "#" in answer.json()["documentation_url"]
    assert api.get(HOOKS).json() == []


def test_a_query_outside_its_enumeration_is_refused(fake: FakeGitHub, api: httpx.Client) -> None:
    hook = fake.add_hook("acme/web", DEAD)
    answer = api.get(f"{HOOKS}/{hook.id}/deliveries", params={"status": "lost"})
    assert answer.status_code == 422
    assert '"lost" is not a member of ["success", "failure"]' in answer.json()["message"]


def test_an_error_links_to_the_documentation_of_its_operation(api: httpx.Client) -> None:
    link = "https://docs.github.com/rest/repos/webhooks#get-a-repository-webhook"
    assert api.get(f"{HOOKS}/1").json() == {
        "message": "Not Found",
        "documentation_url": link,
        "status": "404",
    }


def test_the_answers_about_webhooks_fit_the_description(fake: FakeGitHub, api: httpx.Client) -> None:
    hook = {"events": ["issues"], "config": {"url": DEAD, "content_type": "json", "secret": "hush"}}
    for path, place, key in (
        (HOOKS, "acme/web", "/repos/{owner}/{repo}"),
        ("/orgs/acme/hooks", "acme", "/orgs/{org}"),
    ):
        made = api.post(path, json={"name": "web", **hook})
        fits(f"POST {key}/hooks", made)
        fits(f"POST {key}/hooks", api.post(path, json={"name": "web", **hook}))
        one, rest = f"{path}/{made.json()['id']}", f"{key}/hooks/{{hook_id}}"
        fake.settle()
        fake.emit(place, "issues", fake.payload("acme/web", "issues", "opened"))
        fits(f"GET {key}/hooks", api.get(path))
        fits(f"GET {rest}", api.get(one))
        fits(f"PATCH {rest}", api.patch(one, json={"active": False}))
        fits(f"GET {rest}/config", api.get(f"{one}/config"))
        fits(f"PATCH {rest}/config", api.patch(f"{one}/config", json={"secret": "new"}))
        fits(f"POST {rest}/pings", api.post(f"{one}/pings"))
        deliveries = api.get(f"{one}/deliveries")
        fits(f"GET {rest}/deliveries", deliveries)
        number = deliveries.json()[0]["id"]
        fits(f"GET {rest}/deliveries/{{delivery_id}}", api.get(f"{one}/deliveries/{number}"))
        again = api.post(f"{one}/deliveries/{number}/attempts")
        fits(f"POST {rest}/deliveries/{{delivery_id}}/attempts", again)
        assert again.status_code == 202
        fits(f"DELETE {rest}", api.delete(one))
        fits(f"GET {rest}", api.get(one))


def test_the_answers_about_an_app_fit_the_description(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    app = fake.add_app(public_pem(key), events=["issues"], url=DEAD, secret="hush")
    one = fake.install("acme")
    fake.settle()
    headers = {"authorization": f"Bearer {app_token(key, app.id, now=fake.now())}"}
    with httpx.Client(base_url=fake.url, headers=headers) as api:
        fits("GET /app", api.get("/app"))
        fits("GET /app/hook/config", api.get("/app/hook/config"))
        fits("PATCH /app/hook/config", api.patch("/app/hook/config", json={"secret": "new"}))
        deliveries = api.get("/app/hook/deliveries")
        fits("GET /app/hook/deliveries", deliveries)
        number = deliveries.json()[0]["id"]
        fits("GET /app/hook/deliveries/{delivery_id}", api.get(f"/app/hook/deliveries/{number}"))
        fits(
            "POST /app/hook/deliveries/{delivery_id}/attempts",
            api.post(f"/app/hook/deliveries/{number}/attempts"),
        )
        fits("GET /app/installations", api.get("/app/installations"))
        fits("GET /app/installations/{installation_id}", api.get(f"/app/installations/{one.id}"))
        fits("GET /repos/{owner}/{repo}/installation", api.get("/repos/acme/web/installation"))
        fits("GET /orgs/{org}/installation", api.get("/orgs/acme/installation"))
        for body in ({}, {"repositories": ["web"], "permissions": {"issues": "read"}}):
            made = api.post(f"/app/installations/{one.id}/access_tokens", json=body)
            assert made.status_code == 201
            fits("POST /app/installations/{installation_id}/access_tokens", made)
        api.headers["authorization"] = f"Bearer {made.json()['token']}"
        fits("GET /installation/repositories", api.get("/installation/repositories"))


def test_the_answers_about_accounts_fit_the_description(api: httpx.Client) -> None:
    fits("GET /user", api.get("/user"))
    fits("GET /user/repos", api.get("/user/repos"))
    fits("GET /user/orgs", api.get("/user/orgs"))
    fits("GET /orgs/{org}/repos", api.get("/orgs/acme/repos"))


words = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("web")
values = st.recursive(words, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
configs = st.dictionaries(
    st.sampled_from(["url", "secret", "content_type", "insecure_ssl", "x"]), values, max_size=3
)
bodies = st.dictionaries(
    st.sampled_from(["name", "config", "events", "active", "add_events", "other"]),
    values | configs,
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["", "/1", "/1/config"]), bodies | configs)
def test_no_body_is_answered_but_by_the_description_or_a_client_error(rest: str, body: Any) -> None:
    with FakeGitHub(token="good") as fake:
        method = "PATCH" if rest else "POST"
        answer = httpx.request(
            method, f"{fake.url}{HOOKS}{rest}", json=body, headers={"authorization": "Bearer good"}
        )
        assert answer.status_code in ({404, 422} if rest else {201, 422})
        if answer.status_code == 422:
            fits("POST /repos/{owner}/{repo}/hooks", answer)
        if answer.status_code == 201:
            accepted = {"name", "config", "events", "active"}
            assert set(body) <= accepted
            assert all(isinstance(name, str) for name in body.get("events", []))
