"""An app full of secrets, each in a place where it might be told; what they are says the environment.

It is copied beside a store as app.py, for the command line to load.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import attrs
import httpx
import msgspec

from trigflow import (
    IO,
    ApiError,
    ApiKey,
    App,
    Credentials,
    Delivery,
    Event,
    ExternalSource,
    Field,
    Ignored,
    Integration,
    Registered,
    Registration,
    Retry,
    Secret,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.sources.handshake import header_echo
from trigflow_github import github


class BankClient:
    """A client that wants its token in the URL, and whose errors quote what was asked."""

    def __init__(self, credentials: Credentials) -> None:
        self._http = httpx.AsyncClient(
            base_url=os.environ["BANK_API_URL"],
            params={"access_token": credentials["token"]},
            headers={"x-client-secret": credentials["client_secret"]},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, path: str, **said: str) -> httpx.Response:
        answer = await self._http.post(path, json=said)
        try:
            answer.raise_for_status()  # its text holds the URL
        except httpx.HTTPStatusError as error:
            raise ApiError(f"POST {path}", answer.status_code, answer.text) from error
        return answer


class Iban(enum.Enum):
    EXAMPLE = "DE00 EXAMPLE"


@attrs.frozen
class Narrow:
    iban: Iban


@attrs.frozen
class Sample:
    text: bytes

    def read(self) -> bytes:
        return self.text


def samples() -> Mapping[str, Sample]:
    return {"one": Sample(b'{"id":"1","type":"transfer","iban":"DE00 EXAMPLE"}')}


bank_hook = ExternalSource(
    "bank.webhook", params=str, client=BankClient, data=str, verify=hmac_sha256("X-Sig")
)


@bank_hook.register
async def register(reg: Registration[str, str], bank: BankClient) -> Registered[str]:
    await bank.ask("/webhooks", url=reg.url, secret=reg.secret)
    return Registered("hook_1")


@bank_hook.handler
def handle(delivery: Delivery[str, str]) -> Iterable[Event | Ignored]:
    said = delivery.payload
    if said["type"] == "broken":
        raise ValueError(f"what is this: {said}")
    return [Event(said["type"], said["id"], said)] if "type" in said else [Ignored("odd")]


mail_hook = ExternalSource(
    "mail.webhook",
    params=str,
    client=object,
    data=str,
    verify=hmac_sha256("X-Sig"),
    secret=Secret.HANDSHAKE,
    handshakes=[header_echo("X-Hook-Secret")],
)


@mail_hook.handler
def read_mail(delivery: Delivery[str, str]) -> Iterable[Event]:
    return [Event("mail", delivery.payload["id"], delivery.payload)]


class Bank(
    Integration,
    id="bank",
    auth=[ApiKey("BANK_TOKEN", Field("client_secret", "BANK_CLIENT_SECRET", "Client secret"))],
):
    def client(self, credentials: Credentials) -> BankClient:
        return BankClient(credentials)

    @event("transfer", dict[str, Any], source=bank_hook, examples=samples, sensitive=["iban"])
    def transfer(self) -> str:
        """Money moved."""
        return "account"

    @event("note", dict[str, Any], source=bank_hook)
    def note(self) -> str:
        """A note."""
        return "account"


class Mail(Integration, id="mail"):
    @event("mail", dict[str, Any], source=mail_hook)
    def mail(self) -> str:
        """A mail."""
        return "inbox"


bank, mail = Bank(), Mail()
MISSED: Mapping[str, object] = {"iban": [{"$startsWith": "FR"}]}


@trigger(bank.transfer(), id="reads")
async def reads(payload: dict[str, Any], io: IO) -> int:
    io.log("read", characters=len(payload["iban"]))
    return await io.task("count", len, payload["iban"])


@trigger(bank.transfer(), id="misses", filter=MISSED)
async def misses(payload: dict[str, Any]) -> None: ...


@trigger(bank.transfer(), id="refuses")
async def refuses(payload: Narrow) -> None: ...


@trigger(bank.transfer(), id="fails", retry=Retry(times=0))
async def fails(payload: dict[str, Any]) -> None:
    raise ValueError(msgspec.json.encode(payload))


@trigger(bank.note(), id="calls")
async def calls(payload: dict[str, Any], client: BankClient) -> None:
    await client.ask("/notes", id=payload["id"])


@trigger(mail.mail(), id="mails")
async def mails(payload: dict[str, Any]) -> None: ...


@trigger(github.issues(repo="acme/web"), id="issues")
async def issues(payload: dict[str, Any]) -> None: ...


app = App(jobs=[reads, misses, refuses, fails, calls, mails, issues], register="off")
