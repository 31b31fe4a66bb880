"""While a key is rotated, processes of one app understand each other's links and probes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.runtime.connecting import described
from tests.sources.oauth_provider import CLIENT, Provider, provider
from trigflow import App, SetupError
from trigflow.runtime.sealing.keyring import replace_ring
from trigflow.runtime.sealing.vault import Vault

pytestmark = pytest.mark.anyio
URL = "https://hooks.example.com"


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as running:
        yield running


def ticket_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["ticket"][0]


async def opened_on(stack: AsyncExitStack, store: Path, served: Provider) -> App:
    parcels = described(served.url)
    app = App(app_credentials={parcels: CLIENT}, store=str(store), url=URL, register="off")
    return await stack.enter_async_context(app.inspect())


async def probe(asks: App, answers: App) -> None:
    """Have one process ask a probe that another one answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers.opened.prove(request.url.path.rpartition("/")[2]))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        opened = asks.opened
        await opened.registering.prober.check(URL, opened.store.store_id, client, lambda: None)


async def test_links_and_probes_are_understood_across_a_rotation(tmp_path: Path, served: Provider) -> None:
    store, parcels = tmp_path / "t.db", described(served.url)
    async with AsyncExitStack() as stack:
        old = await opened_on(stack, store, served)
        path = tmp_path / "t.db.key"
        before = ticket_of(old.authorize_url(parcels, "before"))
        replace_ring(path, [Vault.new_key(), *path.read_text().split()])
        new = await opened_on(stack, store, served)
        for made, asked, name in ((new, old, "a"), (old, new, "b")):
            ticket = ticket_of(made.authorize_url(parcels, name))
            begun = await asked.opened.consents.begin(ticket)
            assert begun.url.startswith(served.url)
            await probe(made, asked)
        await new.opened.consents.begin(before)


async def test_an_app_whose_key_file_has_gone_does_not_open(tmp_path: Path, served: Provider) -> None:
    store, path = tmp_path / "t.db", tmp_path / "t.db.key"
    served.tokens.add("a-good-token")
    async with AsyncExitStack() as stack:
        app = await opened_on(stack, store, served)
        await app.connect(described(served.url), "ann", {"token": "a-good-token"})
    kept = path.read_text()
    path.unlink()
    for _ in range(2):
        async with AsyncExitStack() as stack:
            with pytest.raises(SetupError, match=r"t\.db\.key is missing"):
                await opened_on(stack, store, served)
    assert not path.exists()
    path.write_text(kept)
    async with AsyncExitStack() as stack:
        app = await opened_on(stack, store, served)
        assert (await app.opened.clients.get("parcels/ann")).token == "a-good-token"
