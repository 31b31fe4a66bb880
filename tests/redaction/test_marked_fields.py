"""Fields marked sensitive: the job reads them, always; nobody else does, ever."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.redaction.hunt import Hunt, Listener
from tests.redaction.shop import (
    CARD,
    EMAIL,
    PAYLOAD,
    SHOWN,
    Narrow,
    Sample,
    Shop,
    ended,
    latest,
    payload,
    post,
)
from trigflow import (
    IO,
    App,
    Delivery,
    ExternalSource,
    Integration,
    Retry,
    SetupError,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.runtime.sealing.shown import Shown
from trigflow.runtime.sealing.vault import Vault

pytestmark = pytest.mark.anyio
KEY, NEW, OTHER = Vault.new_key(), Vault.new_key(), Vault.new_key()


@pytest.fixture
def log() -> Generator[Listener]:
    """Everything that is logged, at every level."""
    listener, root = Listener(), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(1)
    yield listener
    root.removeHandler(listener)
    root.setLevel(level)


@pytest.fixture
def store(tmp_path: Path, log: Listener) -> Generator[Path]:
    """A store that holds no marked value when the test is over, nor does the log."""
    yield tmp_path / "shop.db"
    hunt = Hunt()
    hunt.plant("email", EMAIL)
    hunt.plant("card", str(CARD))
    hunt.search_folder(tmp_path)
    hunt.search("log", *log.lines)
    assert [str(found) for found in hunt.found] == []


async def shown(app: App) -> tuple[str, list[str]]:
    """Return the body and the payloads of the newest delivery as people see them."""
    opened = app.opened
    found = await opened.store.delivery((await latest(app)).id)
    assert found is not None
    reader = Shown(opened.store, opened.sealer)
    events = await opened.store.events(found[0].id)
    body = await reader.body(*found, events)
    return body.decode(), [(await reader.payload(found[0], one)).decode() for one in events]


async def test_the_job_gets_the_full_payload_and_people_see_the_rest(store: Path) -> None:
    shop = Shop()
    async with shop.app(store, KEY) as app:
        assert (await post(app, PAYLOAD)).status == 200
        await ended(app)
        body, (text,) = await shown(app)
    assert shop.seen == [PAYLOAD]
    assert (json.loads(body), json.loads(text)) == (SHOWN, SHOWN)


async def test_a_process_that_finds_the_run_in_the_store_gives_the_job_the_same(store: Path) -> None:
    shop = Shop()
    async with shop.app(store, KEY).inspect() as app:  # takes deliveries, executes nothing
        await app.opened.rows.keep_rows()
        await post(app, PAYLOAD)
        await post(app, {"type": "batch", "items": [payload("ch_2"), payload("ch_3")]})
    async with shop.app(store, KEY) as app:
        with anyio.fail_after(10):
            while len(shop.seen) < 3:
                await anyio.sleep(0.01)
    assert sorted(shop.seen, key=lambda one: one["id"]) == [PAYLOAD, payload("ch_2"), payload("ch_3")]


async def test_a_retry_and_a_replay_give_the_job_the_same(store: Path) -> None:
    shop = Shop()

    async def job(payload: dict[str, Any], delivery: Delivery[str, int]) -> None:
        shop.seen.append((payload, delivery.payload))
        if len(shop.seen) == 1:
            raise ValueError(f"nobody knows {payload['customer']['email']}")

    shop.job = job
    once = Retry(times=1, first=timedelta(milliseconds=1))
    async with shop.app(store, KEY, retry=once) as app:
        await post(app, PAYLOAD)
        detail = await ended(app)
        assert [one.error for one in detail.attempts] == ["ValueError: nobody knows [redacted]"]
        assert await app.replay((await latest(app)).id)
        with anyio.fail_after(10):
            while len(shop.seen) < 3:
                await anyio.sleep(0.01)
    assert shop.seen == [(PAYLOAD, PAYLOAD)] * 3


async def test_a_body_that_its_handler_failed_at_is_sealed_and_can_be_replayed(store: Path) -> None:
    shop = Shop()
    async with shop.app(store, KEY) as app:
        assert (await post(app, payload(kind="broken"))).status == 200
        row = await latest(app)
        assert (row.outcome, row.sealed) == ("failed", True)
        assert row.cause.startswith("handler: KeyError at shop.py:")
        assert await shown(app) == ("[redacted]", [])
        shop.mended = True
        assert await app.replay(row.id)
        await ended(app)
    assert shop.seen == [payload(kind="broken")]


@pytest.mark.parametrize("kind", ["odd", "refund"])
async def test_a_body_that_brought_nothing_that_is_known_is_sealed(store: Path, kind: str) -> None:
    async with Shop().app(store, KEY) as app:
        await post(app, payload(kind=kind))
        assert (await latest(app)).sealed
        assert (await shown(app))[0] == "[redacted]"


async def test_where_the_payloads_are_parts_of_the_body_they_are_shown_instead_of_it(store: Path) -> None:
    async with Shop().app(store, KEY) as app:
        await post(app, {"type": "batch", "items": [payload("ch_1"), payload("ch_2")]})
        body, texts = await shown(app)
    assert body == "[redacted]"
    assert [json.loads(text) for text in texts] == [SHOWN, {**SHOWN, "id": "ch_2"}]


async def test_an_event_without_marks_is_kept_and_shown_as_it_is(tmp_path: Path) -> None:
    shop = Shop()
    async with shop.app(tmp_path / "s.db", KEY) as app:
        await post(app, payload(kind="parcel"))
        await ended(app, job="carried")
        assert not (await latest(app)).sealed
        assert json.loads((await shown(app))[0]) == payload(kind="parcel")
    assert shop.seen == [payload(kind="parcel")]


@pytest.mark.parametrize(
    "filter_",
    [
        {"customer": {"email": ["bob@example.com"]}},
        {"customer": {"email": [{"$not": [EMAIL]}]}},
        {"lines": {"card": [1]}},
        {"$not": {"customer": {"email": [EMAIL]}}},
        {"$or": [{"customer": {"email": ["bob@example.com"]}}, {"type": ["x"]}]},
    ],
)
async def test_why_a_job_did_not_run_is_told_without_a_marked_value(
    store: Path, filter_: Mapping[str, object]
) -> None:
    async with Shop(filter=filter_).app(store, KEY) as app:
        await post(app, PAYLOAD)
        row = await latest(app)
    assert row.trace is not None
    assert b'"job":"charged"' in row.trace


async def test_a_payload_that_does_not_fit_is_told_without_a_marked_value(store: Path) -> None:
    async def job(payload: Narrow) -> None: ...

    async with Shop(job).app(store, KEY) as app:
        await post(app, PAYLOAD)
        error = (await ended(app)).row.error
    assert error is not None
    assert error.startswith("PayloadError: customer.email: does not fit its annotation")


async def test_errors_of_the_job_its_tasks_and_its_hooks_quote_no_marked_value(store: Path) -> None:
    def task(email: str, card: int) -> None:
        raise ValueError(f"{email!r} has no card {card}")

    async def job(payload: dict[str, Any], io: IO) -> None:
        try:
            await io.task("look", task, payload["customer"]["email"], payload["lines"][1]["card"])
        except ValueError as error:
            raise RuntimeError(f"failed for {payload['customer']}") from error

    async with Shop(job).app(store, KEY) as app:
        await post(app, PAYLOAD)
        detail = await ended(app)
    assert [one.error for one in detail.tasks] == ["ValueError: '[redacted]' has no card [redacted]"]
    assert detail.row.error == "RuntimeError: failed for {'email': '[redacted]', 'country': 'DE'}"


async def test_a_rotated_key_ring_opens_what_older_keys_sealed(store: Path) -> None:
    shop = Shop()
    async with shop.app(store, KEY) as app:
        await post(app, PAYLOAD)
        await ended(app)
    async with shop.app(store, NEW, KEY) as app:
        assert json.loads((await shown(app))[0]) == SHOWN
        await app.replay((await latest(app)).id)
        with anyio.fail_after(10):
            while len(shop.seen) < 2:
                await anyio.sleep(0.01)
    assert shop.seen == [PAYLOAD, PAYLOAD]


async def test_with_a_wrong_key_runs_wait_and_everything_but_the_body_is_shown(
    store: Path, log: Listener
) -> None:
    shop = Shop()
    async with shop.app(store, KEY).inspect() as app:
        await app.opened.rows.keep_rows()
        await post(app, PAYLOAD)
    async with shop.app(store, OTHER) as app:
        with anyio.fail_after(10):
            while not any("can't be opened" in line for line in log.lines):
                await anyio.sleep(0.01)
        (row,) = await app.opened.store.runs(limit=9)
        assert row.state in ("waiting", "running")
        body, (text,) = await shown(app)
        assert "TRIGFLOW_SECRET_KEY" in body
        assert "TRIGFLOW_SECRET_KEY" in text
    assert any("TRIGFLOW_SECRET_KEY" in line and "run_" in line for line in log.lines)
    assert shop.seen == []


async def test_a_marked_field_that_no_example_has_is_a_mistake_in_the_set_up() -> None:
    source: ExternalSource[str, object, int] = ExternalSource(
        "x.webhook", params=str, client=object, data=int, verify=hmac_sha256("X-Sig")
    )

    class Wrong(Integration, id="wrong"):
        @event("x", dict[str, Any], source=source, examples=lambda: {"a": Sample(b"{}")}, sensitive=["a.b"])
        def x(self) -> str:
            """X."""
            return ""

    async def job(payload: dict[str, Any]) -> None: ...

    with pytest.raises(SetupError, match=r"event x, sensitive: none of its examples has a\.b"):
        App([trigger(Wrong().x())(job)])


# Text that is not among what a delivery holds anyway.
private = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs"]), min_size=9, max_size=60)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(email=private, card=st.integers(10**11, 10**15))
def test_no_marked_value_whatsoever_is_stored_in_clear(
    tmp_path_factory: pytest.TempPathFactory, email: str, card: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    sent = payload(customer={"email": email}, lines=[{"card": card}])
    shop = Shop(filter={"customer": {"email": [{"$not": [email]}]}})

    async def deliver() -> None:
        async with shop.app(folder / "s.db", KEY).inspect() as app:
            await app.opened.rows.keep_rows()
            for body in (sent, {**sent, "type": "broken"}, {"type": "batch", "items": [sent]}):
                assert (await post(app, body)).status == 200

    anyio.run(deliver)
    hunt = Hunt()
    hunt.plant("email", email)
    hunt.plant("card", str(card))
    hunt.search_folder(folder)
    assert hunt.found == []
