"""What of a request may be shown."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from trigflow.core.redact import hidden_values, redacted_headers, redacted_text, without

HIDDEN = "[redacted]"
SECRET = [
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Gitlab-Token", "X-Api-Key",
    "x-api_key", "X-Hub-Signature-256", "Stripe-Signature", "X-Shopify-Hmac-Sha256", "X-Sig", "X-Access-Key",
    "X-Client-Secret", "X-Password", "X-Passwd", "X-Signed-JWT", "X-Bearer", "Content-Mac",
]  # fmt: skip
PLAIN = [
    "Content-Type", "X-GitHub-Event", "X-GitHub-Delivery", "X-Event-Key", "User-Agent", "Design",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_credentials_and_signatures_are_hidden(name: str) -> None:
    shown = redacted_headers([(name.encode(), b"hunter2")])
    assert b"hunter2" not in shown
    assert json.loads(shown)[0][0] == name


@pytest.mark.parametrize("name", PLAIN)
def test_the_rest_is_shown(name: str) -> None:
    assert json.loads(redacted_headers([(name.encode(), b"value")])) == [[name, "value"]]


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))))
def test_any_bytes_can_be_shown_in_the_order_received(raw: list[tuple[bytes, bytes]]) -> None:
    shown = json.loads(redacted_headers(raw))
    assert [name for name, _ in shown] == [name.decode("latin-1") for name, _ in raw]


def test_the_values_that_are_hidden_can_be_looked_for() -> None:
    raw = [(b"authorization", b"Bearer abc"), (b"user-agent", b"curl"), (b"x-sig", b"123")]
    assert sorted(set(hidden_values(raw))) == ["123", "Bearer abc", "abc"]


# --- messages

random_text = st.text(st.sampled_from("abcdefgHIJKLMN0123456789"), min_size=24, max_size=40).filter(
    lambda text: not text.isalpha() and not text.isdigit()
)
around = st.sampled_from(["", "'", '"', " ", "(", "for url '", "\n"])


@given(random_text, around, around)
@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1/me?access_token={}",
        "https://api.example.com/v1/me?page=2&key={}&more=1",
        "https://api.example.com/cb#access_token={}",
        "https://api.example.com/v1?{}",
        "https://user:{}@api.example.com/v1",
        "https://{}@api.example.com/v1",
        "postgresql://app:{}@db/app",
        "https://hooks.example.com/services/T0/B0/{}",
        "https://api.example.com/bot1234:{}/getMe",
    ],
)
def test_urls_in_messages_show_no_secret(url: str, secret: str, before: str, after: str) -> None:
    shown = redacted_text(f"Client error '401'{before}{url.format(secret)}{after}")
    assert secret not in shown
    assert url.partition("://")[0] in shown


def test_where_a_url_leads_is_still_told() -> None:
    assert redacted_text("no answer from https://api.example.com:8443/v1/acme/web?page=2&state=x") == (
        f"no answer from https://api.example.com:8443/v1/acme/web?page={HIDDEN}&state={HIDDEN}"
    )
    kept = "GET http://127.0.0.1:8000/hooks/6f1f7c7e-9d0a-4b2f-8a3f-2a9f0c1d2e3f answered 404; see a/b?c=d"
    assert redacted_text(kept) == kept


def test_a_token_of_an_endpoint_is_hidden_also_without_a_host() -> None:
    token = "abcdefgh234567abcdefgh234567abcd"
    shown = redacted_text(f"hook /e/abcdefgh/{token} exists")
    assert shown == f"hook /e/abcdefgh/{HIDDEN} exists"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
def test_what_an_authorization_header_holds_is_hidden(scheme: str) -> None:
    assert "aGVsbG86d29ybGQ" not in redacted_text(f"refused 'authorization: {scheme} aGVsbG86d29ybGQ='")


@given(random_text, st.sampled_from(["access_token", "client-secret", "API_KEY", "x_password", "Signature"]))
def test_what_is_named_like_a_secret_is_hidden_outside_of_urls_too(secret: str, name: str) -> None:
    for told in (f"asked with /me?a=b&{name}={secret} and", f"Client({name}='{secret}')", f"{name}={secret}"):
        assert secret not in redacted_text(told)
        assert name in redacted_text(told)


@given(st.text(max_size=200))
def test_any_message_can_be_redacted(text: str) -> None:
    assert isinstance(redacted_text(text), str)


LONG = ["a" * 200_000, "a://" * 50_000, "a://b?" + "=&" * 50_000, "Bearer " * 50_000, "token" * 40_000]
foreign = st.text(st.characters(min_codepoint=0x2600, exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize("text", LONG)
def test_nobody_chooses_how_long_it_takes(text: str) -> None:
    redacted_text(text)  # quadratic time would take minutes here


@given(st.lists(foreign, max_size=3), st.text(st.characters(max_codepoint=0x2000), max_size=20))
def test_known_secrets_are_taken_out(secrets: list[str], text: str) -> None:
    shown = without("".join(f"{secret}{text}{quote(secret)}" for secret in secrets), secrets)
    assert not [secret for secret in secrets if secret in shown or quote(secret) in shown]
