"""What the command line shows of deliveries with marked fields."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from tests.cli.commandline import Cli
from tests.redaction.shop import EMAIL, PAYLOAD, SHOWN, Shop, payload, post
from trigflow.runtime.sealing.vault import Vault

APP = """
from tests.redaction.shop import Shop

app = Shop().app("shop.db")
"""


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with an app and its store; return the ids of a charge, a batch, a broken one and a parcel."""
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", Vault.new_key())
    (folder / "app.py").write_text(APP)
    batch = {"type": "batch", "items": [payload("ch_2"), payload("ch_3")]}

    async def fill() -> list[str]:
        async with Shop().app("shop.db").inspect() as app:
            await app.opened.rows.keep_rows()
            for body in (PAYLOAD, batch, payload(kind="broken"), payload(kind="parcel")):
                await post(app, body)
            rows = await app.opened.store.deliveries(limit=9)
            return [row.id for row in reversed(rows)]

    return anyio.run(fill)


def test_marked_values_are_redacted_and_the_rest_is_shown(kept: list[str], cli: Cli) -> None:
    charge, batch, broken, parcel = (
        cli("deliveries", "show", id_, "app.py", "--body", "--json").json for id_ in kept
    )
    assert json.loads(charge["body"]) == SHOWN
    assert "payload" not in charge["events"][0]
    assert batch["body"] == "[redacted]"
    assert [json.loads(event["payload"])["id"] for event in batch["events"]] == ["ch_2", "ch_3"]
    assert json.loads(batch["events"][0]["payload"])["customer"] == SHOWN["customer"]
    assert (broken["body"], broken["outcome"]) == ("[redacted]", "failed")
    assert json.loads(parcel["body"]) == payload(kind="parcel")


def test_the_screen_for_people_says_the_same(kept: list[str], cli: Cli) -> None:
    for id_ in kept[:3]:
        shown = cli("deliveries", "show", id_, "app.py", "--body").out
        assert "[redacted]" in shown
        assert EMAIL not in shown
    assert '"country":"DE"' in cli("deliveries", "show", kept[1], "app.py", "--body").out
    assert EMAIL in cli("deliveries", "show", kept[3], "app.py", "--body").out


def test_where_the_store_alone_is_named_sealed_bodies_stay_closed(kept: list[str], cli: Cli) -> None:
    shown = cli("deliveries", "show", kept[0], "--body", "--store", "shop.db", "--json").json
    assert shown["body"] == "[sealed; its app is needed to show it]"
    assert [event["name"] for event in shown["events"]] == ["charge"]
    named = cli("deliveries", "show", kept[0], "app.py", "--body", "--store", "shop.db", "--json").json
    assert json.loads(named["body"]) == SHOWN


def test_with_another_key_all_but_the_body_is_shown(
    kept: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", Vault.new_key())
    shown = cli("deliveries", "show", kept[0], "app.py", "--body")
    assert shown.code == 0
    assert "TRIGFLOW_SECRET_KEY" in shown.out
    assert "ch_1" in shown.out
    assert len(cli("deliveries", "list", "app.py", "--json").json) == len(kept)
    replayed = cli("replay", kept[0], "app.py")
    assert replayed.code != 0
    assert "TRIGFLOW_SECRET_KEY" in replayed.err
