"""What a person or a program reads: text without a terminal's control characters, tables, JSON.

Requests that nobody has verified are shown too. What strangers wrote is never
taken for markup, nor sent to a terminal as it is: it could move the cursor,
change the title or hide lines.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NOT_A_TERMINAL = 200  # columns; wide enough that `grep` finds ids in one piece
WIDEST = 10_000
STYLES: Mapping[str, str] = {
    "accepted": "green", "succeeded": "green", "active": "green", "done": "green",
    "duplicate": "yellow", "ignored": "yellow", "skipped": "yellow", "pending": "yellow", "waiting": "yellow",
    "rejected": "red", "failed": "red", "failing": "red", "cancelled": "magenta",
    "paused": "magenta", "silent": "red", "expired": "red", "disabled": "red", "removed": "dim",
    "refused": "red",
}  # fmt: skip


def safe(text: object) -> str:
    """Return text that only shows; control characters are written as escapes, line ends are kept."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in str(text)
    )


class Styled(NamedTuple):
    """Text that is safe to show, and its style."""

    text: str
    style: str


def styled(text: object, style: str = "") -> Styled:
    """Make text for the screen; without a style, words such as `failed` have their own."""
    return Styled(safe(text), style or STYLES.get(str(text), ""))


def console() -> Console:
    """Make a console for standard output as it is now."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else NOT_A_TERMINAL
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=True)


def say(*parts: Styled | str) -> None:
    """Print a line."""
    texts = [part if isinstance(part, Styled) else Styled(safe(part), "") for part in parts]
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        console().print(*map(_rich, texts), sep="")
    else:  # rich takes 50 ms and 2 MB, and would print the same: a server in the background needs none
        print("".join(text for text, _ in texts))


def _rich(part: Styled) -> Text:
    from rich.text import Text

    return Text(part.text, style=part.style)


def warn(text: str) -> None:
    """Print one line beside the output."""
    print(f"trigflow: {safe(' '.join(text.split()))}", file=sys.stderr)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows, or one line where there are none; where they are too wide, a line for each value."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    cells = [[cell if isinstance(cell, Styled) else styled(cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*map(_rich, row))
    screen = console()
    least, most = _widths([[Styled(name, "") for name in columns], *cells])
    around = screen.measure(table, options=screen.options.update(max_width=WIDEST)).maximum - sum(most)
    if not sys.stdout.isatty():
        screen.width = max(screen.width, sum(least) + around)
    if sum(least) + around <= screen.width:
        excess = sum(most) + around - screen.width
        for column, low, high in reversed(list(zip(table.columns, least, most, strict=True))):
            column.width = high - min(max(excess, 0), high - low)
            excess -= high - column.width
        screen.print(table, soft_wrap=False)
        return
    for row in cells:
        say()
        show_fields({name: cell if cell.text else "" for name, cell in zip(columns, row, strict=True)})


def _widths(rows: Sequence[Sequence[Styled]]) -> tuple[list[int], list[int]]:
    """Return how wide each column must be so that no word is cut (ids are copied), and can be."""
    from rich.cells import cell_len

    least = [
        max(cell_len(word) for cell in column for word in ["", *cell.text.split()])
        for column in zip(*rows, strict=True)
    ]
    most = [
        max(cell_len(line) for cell in column for line in ["", *cell.text.split("\n")])
        for column in zip(*rows, strict=True)
    ]
    return least, most


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values below each other; what is empty is left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "")}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        say(
            styled(f"{name:<{width}}  ", "dim"),
            value if isinstance(value, Styled) else styled(value),
        )


def show_json(value: object) -> None:
    """Print JSON for programs; only ASCII, which no terminal takes for a command."""
    print(json.dumps(value, indent=2, default=str))


async def show_json_each(values: AsyncIterable[object]) -> None:
    """Print a JSON list as its values come; none is kept."""
    before = "["
    async for value in values:
        print(before, textwrap.indent(json.dumps(value, indent=2, default=str), "  "), sep="\n", end="")
        before = ","
    print("[]" if before == "[" else "\n]")


def moment(milliseconds: int | None) -> str | None:
    """Return unix milliseconds as ISO 8601 in UTC."""
    if milliseconds is None:
        return None
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def clock_time(milliseconds: int | None) -> str:
    """Return unix milliseconds as a person reads it, in this machine's zone."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def subscriber_key(text: bytes | None) -> str | None:
    """Return the key of the subscriber whom an event is for; what else is kept of one is not shown."""
    return None if text is None else str(parsed(text)["key"])


def parsed(text: bytes | None) -> Any:
    """Return kept JSON as values; None where there is none."""
    return None if text is None else json.loads(text)
