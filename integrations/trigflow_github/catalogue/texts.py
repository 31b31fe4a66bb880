"""Python text as the formatter would write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WIDTH = 110


def call(start: str, arguments: Iterable[str], end: str) -> list[str]:
    """Write a call or a head in as few lines as fit; an indented one has four spaces more inside."""
    arguments = list(arguments)
    margin = " " * (len(start) - len(start.lstrip()))
    line = f"{start}({', '.join(arguments)}){end}"
    if len(line) <= WIDTH:
        return [line]
    inner = f"{margin}    {', '.join(arguments)}"
    inside = [inner] if len(inner) <= WIDTH else [f"{margin}    {argument}," for argument in arguments]
    return [f"{start}(", *inside, f"{margin}){end}"]


def import_line(module: str, names: Sequence[str], *, margin: int = 0) -> list[str]:
    """Write an import in one line, or in one for each name."""
    line = f"{' ' * margin}from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return [line]
    inside = [f"{' ' * margin}    {name}," for name in names]
    return [f"{' ' * margin}from {module} import (", *inside, f"{' ' * margin})"]


def packed(start: str, values: Iterable[str], end: str) -> list[str]:
    """Write a list of values in as few lines as hold them; the formatter must be told to leave them.

    end: a comma at its start is wanted only where all is in one line.
    """
    values = list(values)
    margin = " " * (len(start) - len(start.lstrip()))
    line = f"{start}{', '.join(values)}{end}"
    if len(line) <= WIDTH:
        return [line]
    lines: list[str] = []
    for value in values:
        if not lines or len(lines[-1]) + len(value) + 2 > WIDTH:
            lines.append(f"{margin}   ")
        lines[-1] += f" {value},"
    return [start, *lines, f"{margin}{end.removeprefix(',')}"]


def quoted(values: Iterable[str]) -> list[str]:
    """Write texts."""
    return [f'"{value}"' for value in values]


def is_wide(text: str) -> bool:
    """Tell whether a line is longer than the formatter's width."""
    return any(len(line) > WIDTH for line in text.splitlines())
