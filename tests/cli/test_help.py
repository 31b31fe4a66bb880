"""The help is complete, and the page that describes the command line names the same commands and options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import Parameter
from pathlib import Path

import pytest
from cyclopts import App

from trigflow.cli import commands

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SHARED = {"--store", "--url", "--json", "--help", "--version"}  # described once, at the top


def walked(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """Return every command with its whole name; what only shows help is none."""
    for name in group:
        if not name.startswith("-"):
            command = group[name]
            inner = list(walked(command, (*path, name)))
            yield from inner or [(" ".join((*path, name)), command)]


COMMANDS = dict(walked(commands))


def options(command: App) -> set[str]:
    """Return the options of a command as a person writes them; of a pair the positive one."""
    arguments = command.assemble_argument_collection()
    told = (one for one in arguments if one.field_info.kind is Parameter.KEYWORD_ONLY)
    return {one.names[0] for one in told}


def described(name: str) -> str:
    """Return what the page says of a command, up to the next one's section."""
    parts = [part for part in re.split(r"\n(?=## )", PAGE) if mentions(part, name)]
    return "\n".join(parts)


def mentions(text: str, name: str) -> bool:
    """Tell whether a command is named: alone, in a row of its group, or by the last word beside it."""
    first, _, last = name.partition(" ")
    if re.search(rf"trigflow {re.escape(name)}\b", text):
        return True
    return bool(last) and bool(re.search(rf"trigflow {first} [^`]*\b{last}\b|`{last} [A-Z`]", text))


def test_there_are_all_commands() -> None:
    assert {"plan", "apply", "subscriptions list", "connections remove", "keys rotate"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_own_options_are_described(name: str) -> None:
    text = described(name)
    assert text, name
    own = {one for one in options(COMMANDS[name]) if one not in SHARED}
    missing = {one for one in own if not re.search(rf"{one}\b|--no-{one[2:]}\b", text)}
    assert missing == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_in_a_sentence(name: str) -> None:
    first = COMMANDS[name].help.splitlines()[0]
    assert re.fullmatch(r"[A-Z][^\n]{5,110}[.]", first), first


def test_the_page_names_no_option_that_is_none() -> None:
    every = {one for command in COMMANDS.values() for one in options(command)} | SHARED
    every |= {f"--no-{one[2:]}" for one in every}
    foreign = {"--cov"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - every - foreign == set()
