"""What strangers wrote is shown, and does nothing to the terminal that shows it."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest
from hypothesis import given, strategies as st

from trigflow.cli.screen import moment, safe, say, show_json, show_table, styled

# Near-valid on purpose: an escape sequence, a bidirectional override, a carriage return, rich's markup.
nasty = st.lists(
    st.text() | st.sampled_from(["\x1b[2J", "\x9b2J", "\u202e", "\r", "\x07", "[red]", "[/]"])
).map("".join)


@given(nasty)
def test_no_control_character_is_left(text: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in safe(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_can_be_shown_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


@given(nasty)
def test_json_is_ascii_without_control_characters_and_says_the_same(text: str) -> None:
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", printed.append)
        show_json({"text": text})
    assert printed[0].replace("\n", "").isprintable()
    assert printed[0].isascii()
    assert json.loads(printed[0]) == {"text": text}


def test_markup_in_a_value_is_shown_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]no[/red] \x1b[31m")
    show_table(("[b]",), [("[link=x]y[/link]",)], empty="")
    out = capsys.readouterr().out
    assert "[red]no[/red] \\x1b[31m" in out
    assert "[link=x]y[/link]" in out
    assert "\x1b" not in out


def test_a_pipe_reads_the_same_words_as_a_terminal_without_the_styles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    say("state ", styled("failed"), "  [b]as written[/b]\nand more")
    assert capsys.readouterr().out == "state failed  [b]as written[/b]\nand more\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    say("state ", styled("failed"), "  [b]as written[/b]\nand more")
    assert capsys.readouterr().out == "state \x1b[31mfailed\x1b[0m  [b]as written[/b]\nand more\n"


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_700_000_000_123, "2023-11-14T22:13:20.123Z"), (None, None)],
)
def test_times_are_told_in_utc(milliseconds: int | None, told: str | None) -> None:
    assert moment(milliseconds) == told


# --- tables on a screen


class Screen(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def shown(rows: list[tuple[str, ...]], *, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal of so many columns shows of a table."""
    screen = Screen()
    with monkeypatch.context() as here:
        here.setattr("sys.stdout", screen)
        here.setenv("COLUMNS", str(columns))
        here.setenv("NO_COLOR", "1")
        here.setenv("TERM", "xterm")
        show_table(("id", "state", "why"), rows, empty="nothing")
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()


ids = st.text("abcdef0123456789_", min_size=20, max_size=40)


@given(
    st.lists(st.tuples(ids, st.sampled_from(["active", "failing"]), st.text("ab ", max_size=60))),
    st.integers(45, 200),
)
def test_an_id_is_never_cut_and_no_line_is_wider_than_the_terminal(
    rows: list[tuple[str, str, str]], columns: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = shown([tuple(row) for row in rows], columns=columns, monkeypatch=monkeypatch)
    for name, _, why in rows:
        assert any(name in line for line in lines)
        assert all(any(word in line for line in lines) for word in why.split())
    if max((len(word) for row in rows for word in (row[0], *row[2].split())), default=0) + 20 <= columns:
        assert all(len(line) <= columns for line in lines if not line.startswith("why"))


def test_what_is_too_wide_for_the_terminal_is_shown_a_value_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("sub_" + "1" * 26, "active", ""), ("sub_" + "2" * 26, "failing", "refused")]
    assert shown(rows, columns=40, monkeypatch=monkeypatch) == [
        "", f"id     sub_{'1' * 26}", "state  active",
        "", f"id     sub_{'2' * 26}", "state  failing", "why    refused",
    ]  # fmt: skip


def test_into_a_pipe_goes_every_word_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("id", "url"), [("x" * 150, "y" * 150)], empty="nothing")
    out = capsys.readouterr().out
    assert "x" * 150 in out
    assert "y" * 150 in out
