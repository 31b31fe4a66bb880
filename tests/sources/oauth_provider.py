"""A provider with OAuth on this machine: real HTTP, refresh tokens that are taken once.

GET /authorize   a person who agrees: back with a code     POST /token, /revoke
GET /me          whose token it is                         POST /odd: see `odd`
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

CLIENT = {"client_id": "our-app", "client_secret": "our-secret-5x"}


class Provider:
    """What the provider knows, and what a test tells it to do."""

    def __init__(self) -> None:
        self.url = ""
        self.life: object = 3600  # of a token, as `expires_in` says it; None: it is not said
        self.odd: tuple[int, bytes, dict[str, str]] | None = None  # the next answers of /token
        self.denies = False
        self.pkce = True
        self.client: dict[str, str] = dict(CLIENT)
        self.codes: dict[str, dict[str, str]] = {}
        self.refreshes: set[str] = set()
        self.tokens: set[str] = set()
        self.used: Counter[str] = Counter()  # how often each refresh token came
        self.forms: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()  # while a test holds it, nothing is answered
        self.arrived = 0

    def grant(self) -> dict[str, Any]:
        """Make tokens."""
        access, refresh = f"acc-{secrets.token_hex(8)}", f"ref-{secrets.token_hex(8)}"
        self.tokens.add(access)
        self.refreshes.add(refresh)
        told: dict[str, Any] = {"access_token": access, "refresh_token": refresh, "token_type": "bearer"}
        return told if self.life is None else {**told, "expires_in": self.life}

    def token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer the token endpoint."""
        self.forms.append(form)
        self.headers.append(headers)
        sent = {name: form.get(name, "") for name in self.client}
        if headers.get("authorization", "").startswith("Basic "):
            id_, _, secret = base64.b64decode(headers["authorization"][6:]).decode().partition(":")
            sent = {"client_id": id_, "client_secret": secret}
        if sent != self.client:
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "client_credentials":
            return 200, self.grant()
        if form["grant_type"] == "refresh_token":
            self.used[form["refresh_token"]] += 1
            if form["refresh_token"] not in self.refreshes:
                return 400, {
                    "error": "invalid_grant",
                    "error_description": f"{form['refresh_token']} is over",
                }
            self.refreshes.discard(form["refresh_token"])
            return 200, self.grant()
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if self.pkce and _challenge(form.get("code_verifier", "")) != asked.get("code_challenge"):
            return 400, {"error": "invalid_grant", "error_description": "wrong verifier"}
        return 200, self.grant()

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser is sent."""
        back = {"state": query["state"]}
        if self.denies:
            return f"{query['redirect_uri']}?{urlencode({'error': 'access_denied', **back})}"
        code = secrets.token_hex(8)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, **back})}"


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


@contextmanager
def provider() -> Generator[Provider, None, None]:
    """Serve a provider."""
    told = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            with told.lock:
                if parts.path == "/authorize":
                    self._answer(302, b"", {"Location": told.authorize(dict(parse_qsl(parts.query)))})
                elif self.headers.get("authorization", "").removeprefix("Bearer ") in told.tokens:
                    self._answer(200, json.dumps({"id": 7, "name": "Ann"}).encode(), {})
                else:
                    self._answer(401, b"{}", {})

        def do_POST(self) -> None:
            told.arrived += 1
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            with told.lock:
                if self.path == "/revoke":
                    told.tokens.discard(form["token"])
                    told.refreshes.discard(form["token"])
                    self._answer(200, b"", {})
                elif told.odd is not None:
                    told.forms.append(form)
                    self._answer(*told.odd)
                else:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    status, answer = told.token(form, headers)
                    self._answer(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
