"""What strangers wrote is shown, and does nothing to the terminal that shows it."""

from __future__ import annotations

import json

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
