"""The hunt finds what it is to find: else its silence says nothing."""

from __future__ import annotations

import base64
import importlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import apsw
import pytest
from hypothesis import given, strategies as st

from tests.redaction.hunt import Hunt, Listener

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=40)
_lz4: Any = importlib.import_module("lz4.block")
DISGUISES: list[Callable[[str], bytes]] = [
    str.encode,
    lambda text: text.encode().hex().encode(),
    lambda text: base64.b64encode(text.encode()),
    lambda text: base64.urlsafe_b64encode(b"user:" + text.encode() + b":more"),
    lambda text: base64.b64encode(b"longer" + text.encode()),
    lambda text: quote(text).encode(),
    lambda text: quote(text, safe="").encode(),
    lambda text: quote_plus(text).encode(),
    lambda text: json.dumps({"a": [text]}).encode(),
    lambda text: json.dumps(json.dumps({"a": text})).encode(),
    lambda text: repr(text).encode(),
    lambda text: repr(json.dumps([text]).encode()).encode(),
    lambda text: repr(json.dumps([text], ensure_ascii=False).encode()).encode(),
    lambda text: repr(text.encode()).encode(),
    lambda text: text.encode("utf-16"),
]


@pytest.mark.parametrize("disguise", DISGUISES)
@given(secret=secrets, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_secret_is_found_in_every_disguise(
    disguise: Callable[[str], bytes], secret: str, before: bytes, after: bytes
) -> None:
    hunt = Hunt()
    hunt.plant("it", secret)
    hunt.search("here", before + disguise(secret) + after)
    assert [found.secret for found in hunt.found] == ["it"]


@given(secrets, st.binary(max_size=60))
def test_what_may_be_somewhere_is_not_found_there_and_nothing_is_found_in_noise(
    secret: str, noise: bytes
) -> None:
    hunt = Hunt()
    hunt.plant("it", secret)
    hunt.search("here", secret, but=["it"])
    hunt.search("noise", noise)
    assert hunt.found == []


def test_a_secret_is_found_in_a_packed_cell_of_a_database_and_in_its_wal(tmp_path: Path) -> None:
    hunt = Hunt()
    hunt.plant("it", "hunter2hunter2")
    connection: Any = apsw.Connection(str(tmp_path / "t.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t(body BLOB)")
    packed = _lz4.compress(b"x" * 50 + b'{"a":"hunter2h' + b'unter2"}' * 2)
    connection.execute("INSERT INTO t VALUES(?)", (packed,))
    hunt.search_folder(tmp_path)
    connection.close()
    assert "t.db t.body" in {found.place for found in hunt.found}


def test_a_secret_is_found_in_a_log_record_and_in_the_cause_of_its_exception() -> None:
    logger, listener = logging.Logger("test"), Listener()
    logger.addHandler(listener)
    try:
        try:
            raise KeyError("hunter2hunter2")
        except KeyError as error:
            raise ValueError("no such thing") from error
    except ValueError:
        logger.exception("it failed")
    logger.debug("%s", "hunter3hunter3")
    hunt = Hunt()
    hunt.plant("raised", "hunter2hunter2")
    hunt.plant("told", "hunter3hunter3")
    hunt.search("log", *listener.lines)
    assert {found.secret for found in hunt.found} == {"raised", "told"}
