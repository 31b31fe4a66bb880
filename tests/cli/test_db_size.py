"""`trigflow db stats`, `prune` and `vacuum`: what is in a store, what may go, and the disk that it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.cli.commandline import Cli, Served
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import connect
from trigflow.stores.sqlite.shrinking import rewrite

LONG_AGO, MANY = 1_000, 60


def delivery(number: int) -> r.NewDelivery:
    name = f"{number:06d}"
    run = r.NewRun(f"run_{name}", "triage", LONG_AGO, (r.Enqueue(f"run_{name}", LONG_AGO, 0, None),))
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, (run,))
    return r.NewDelivery(
        f"dlv_{name}", "ep", "sub", LONG_AGO, "accepted", "", 200, "POST", b"[]", os.urandom(9_000),
        events=(event,),
    )  # fmt: skip


async def fill(path: Path) -> None:
    """Put deliveries of long ago in; all of their runs but one have ended."""
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        for number in range(MANY):
            await store.accept(delivery(number))
            if number:
                await store.cancel(f"run_{number:06d}", (r.Dequeue(f"run_{number:06d}"),), at=LONG_AGO)


@pytest.fixture
def store(app_file: Path, folder: Path) -> Path:
    """The store of the app."""
    anyio.run(fill, folder / "trigflow.db")
    return folder / "trigflow.db"


def test_stats_count_what_is_there(cli: Cli, store: Path) -> None:
    told = cli("db", "stats", "--json").json
    rows = {name: table["rows"] for name, table in told["tables"].items()}
    assert (rows["deliveries"], rows["dedupe"], rows["finishes"]) == (MANY, MANY, MANY - 1)
    assert (told["deliveries"], told["queue"], told["id"]) == ({"accepted": MANY}, {"queued": 1}, "abc")
    assert told["tables"]["deliveries"]["oldest"] == "1970-01-01T00:00:01.000Z"
    assert MANY * 9_000 < told["tables"]["deliveries"]["bytes"] < told["bytes"]
    shown = cli("db", "stats", "--store", store).out
    assert f"{MANY} accepted" in shown
    assert "1 queued" in shown


def test_a_large_store_is_counted_only_if_asked(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigflow.cli.db.SMALL", 1)
    told = cli("db", "stats", "--json").json
    assert (told["tables"]["runs"]["rows"], told["tables"]["runs"]["bytes"]) == (None, None)
    assert (told["queue"], told["tables"]["queue"]["rows"]) == ({"queued": 1}, 1)
    assert "--full" in cli("db", "stats").out
    assert cli("db", "stats", "--full", "--json").json["tables"]["runs"]["rows"] == MANY


def test_a_dry_run_says_what_pruning_then_does_and_a_run_that_has_not_ended_stays(
    cli: Cli, store: Path
) -> None:
    would = cli("db", "prune", "--dry-run", "--json").json["removed"]
    assert cli("db", "stats", "--json").json["tables"]["runs"]["rows"] == MANY
    counts = {one["kind"]: one["rows"] for one in would}
    assert (counts["runs"], counts["deliveries"], counts["bodies"]) == (MANY - 1, MANY - 1, MANY - 1)
    done = {one["kind"]: one["rows"] for one in cli("db", "prune", "--json").json["removed"]}
    assert (done["runs"], done["deliveries"], done["bodies"]) == (MANY - 1, MANY - 1, 0)
    assert done["dedupe"] == MANY - 1, "one has its event still"
    left = {name: table["rows"] for name, table in cli("db", "stats", "--json").json["tables"].items()}
    assert [left[name] for name in ("runs", "deliveries", "events", "dedupe", "queue")] == [1, 1, 1, 1, 1]
    assert cli("db", "check", "--full").code == 0


def test_pruning_keeps_to_the_settings_of_the_app(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNS", "DELIVERIES", "DEDUPE", "NOISE", "REGISTRATIONS"):
        monkeypatch.setenv(f"TRIGFLOW_KEEP_{name}", "forever")
    done = {one["kind"]: one["rows"] for one in cli("db", "prune", "--json").json["removed"]}
    assert done["bodies"] == MANY - 1
    assert set(done) == {"bodies", "processes"}
    assert "bodies" in cli("db", "prune").out


def test_vacuum_gives_the_disk_back_while_the_store_is_in_use(
    cli: Cli, store: Path, serve: Callable[..., Served]
) -> None:
    cli("db", "prune")
    serve("serve")
    refused = cli("db", "vacuum", "--full")
    assert refused.code == 1
    assert "open in another process" in refused.err
    told = cli("db", "vacuum", "--json").json
    assert told["after"] < told["before"] / 2
    assert cli("db", "stats", "--json").json["free"] == 0
    assert cli("db", "check", "--full").code == 0


def test_a_full_vacuum_keeps_everything_and_the_mode_of_the_file(cli: Cli, store: Path) -> None:
    before = cli("db", "stats", "--json").json
    store.chmod(0o640)
    cli("db", "vacuum", "--full")
    after = cli("db", "stats", "--json").json
    assert store.stat().st_mode & 0o777 == 0o640
    for told in (before, after):
        for table in told["tables"].values():
            table.pop("bytes")
    assert (after["tables"], after["id"], after["version"]) == (before["tables"], "abc", before["version"])
    assert cli("db", "check", "--full").code == 0
    assert cli("db", "prune").code == 0
    assert cli("db", "vacuum", "--json").json["after"] < after["bytes"] / 2, "it can still be shrunk in use"


def test_a_store_that_can_not_be_shrunk_in_use_says_what_does_it(cli: Cli, folder: Path, store: Path) -> None:
    connection = connect(store)
    connection.pragma("journal_mode", "delete")
    connection.pragma("auto_vacuum", "none")
    connection.execute("VACUUM")
    connection.close()
    refused = cli("db", "vacuum")
    assert refused.code == 2
    assert "--full" in refused.err
    rewrite(store)
    assert cli("db", "vacuum").code == 0


def test_a_full_vacuum_is_refused_without_room_for_it(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(store.parent)._replace(free=100_000)

    def nearly_full(path: Path) -> object:
        return usage

    monkeypatch.setattr("shutil.disk_usage", nearly_full)
    before = store.read_bytes()
    refused = cli("db", "vacuum", "--full")
    assert refused.code == 1
    assert "needs" in refused.err
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.glob(".*.db.*")] == []
