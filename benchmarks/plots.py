"""Figures as pictures: SVG for pages, drawn from the same JSON as the tables."""

# matplotlib leaves most of its keywords untyped.
# pyright: basic

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.names import NOTHING

OURS, DURABLE, FLEETING, DARK = "#0b6e4f", "#4a6fa5", "#b8bec6", "#333333"
mpl.rcParams.update(
    {
        "svg.hashsalt": "trigflow",  # the same figures give the same file
        "svg.fonttype": "none",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.axisbelow": True,
        "grid.color": "#e4e7eb",
    }
)
Found = Mapping[str, Any]


def draw(run: Found, folder: Path, *, kinds: Sequence[str] = ("svg",), name: str = "latest") -> None:
    """Draw what a run holds."""
    for connections, load in run.get("loads", {}).items():
        _save(
            _bars(run, load, connections, "done", "done per second"),
            folder,
            f"{name}.done.c{connections}",
            kinds,
        )
        _save(
            _bars(run, load, connections, "cpu_us", "CPU µs per event"),
            folder,
            f"{name}.cpu.c{connections}",
            kinds,
        )
        _save(_acks(run, load, connections), folder, f"{name}.ack.c{connections}", kinds)
    if "micro" in run:
        _save(_sizes(run["micro"]["figures"]), folder, f"{name}.flat", kinds)


def draw_soak(soak: Found, folder: Path, *, kinds: Sequence[str] = ("svg",), name: str = "soak") -> None:
    """Draw the samples of a soak, one panel for each figure, over deliveries."""
    panels = (
        ("accepted/s", ("accepted",)),
        ("ack, ms", ("p50_ms", "p99_ms")),
        ("RSS, MB", ("rss_mb",)),
        ("CPU, µs per event", ("cpu_us",)),
        ("log (WAL), MB", ("wal_mb",)),
        ("queued runs", ("queue",)),
    )
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    axes = figure.subplots(3, 2, sharex=True)
    samples = soak["samples"]
    for axis, (title, names) in zip(axes.flat, panels, strict=True):
        for key, colour in zip(names, (OURS, DURABLE), strict=False):
            line = [one[key] for one in samples]
            axis.plot([one["deliveries"] for one in samples], line, color=colour, label=key[:3], lw=1.4)
        if len(names) > 1:
            axis.legend(frameon=False)
        axis.set_title(title)
        highest = max(one[key] for one in samples for key in names)
        axis.set_ylim(0, highest * 1.15 or 1)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(visible=True)
        axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    for axis in axes[-1]:
        axis.set_xlabel("deliveries")
    _save(figure, folder, name, kinds)


def _save(figure: Figure, folder: Path, name: str, kinds: Sequence[str]) -> None:
    for kind in kinds:
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(folder / f"{name}.{kind}", metadata=metadata, dpi=110)


def _colours(run: Found) -> dict[str, str]:
    def colour(one: Found) -> str:
        if one["name"].startswith("trigflow"):
            return OURS
        return FLEETING if one["keeps"] == NOTHING else DURABLE

    return {one["name"]: colour(one) for one in run["contenders"]}


def _bars(run: Found, load: Found, connections: str, key: str, title: str) -> Figure:
    """Draw one bar a contender: its median, with the range of its rounds."""
    medians, colours = load["medians"], _colours(run)
    names = sorted(medians, key=lambda name: medians[name][key], reverse=key != "done")
    figure = Figure(figsize=(9, 0.36 * len(names) + 1.4), layout="constrained")
    axis = figure.subplots()
    values = [medians[name][key] for name in names]
    axis.barh(names, values, color=[colours[name] for name in names], height=0.66)
    for row, name in enumerate(names):
        seen = [one[key] for one in load["rounds"][name]]
        axis.plot([min(seen), max(seen)], [row, row], color=DARK, lw=1.1)
        axis.annotate(
            f"{medians[name][key]:,.0f}",
            (max(seen), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 2, max(values) * 2.5)
    axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.set_title(f"{title}, {connections} connection{'s' * (connections != '1')}, one core (log scale)")
    axis.grid(visible=True, axis="x")
    axis.tick_params(axis="y", length=0)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    told = {"trigflow": OURS, "durable": DURABLE, "keeps nothing": FLEETING}
    handles = [Patch(color=colour, label=text) for text, colour in told.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _acks(run: Found, load: Found, connections: str) -> Figure:
    """Draw from p50 to p99 of the acknowledgement."""
    medians, colours = load["medians"], _colours(run)
    names = sorted(medians, key=lambda name: medians[name]["p99_ms"], reverse=True)
    figure = Figure(figsize=(9, 0.36 * len(names) + 1.4), layout="constrained")
    axis = figure.subplots()
    for row, name in enumerate(names):
        p50, p99 = medians[name]["p50_ms"], medians[name]["p99_ms"]
        axis.plot([p50, p99], [row, row], color=colours[name], lw=3, solid_capstyle="butt")
        axis.plot([p50, p99], [row, row], "o", color=colours[name], ms=6)
        axis.annotate(
            f"{p50:,.2f} … {p99:,.2f}", (p99, row), xytext=(8, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("log")
    axis.set_xlim(right=max(one["p99_ms"] for one in medians.values()) * 6)
    axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.set_title(
        f"acknowledged after ms, p50 to p99, {connections} connection{'s' * (connections != '1')} (log scale)"
    )
    axis.grid(visible=True, axis="x")
    axis.tick_params(axis="y", length=0)
    _legend(figure)
    return figure


def _sizes(figures: Found) -> Figure:
    """Draw what was timed at several sizes."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axis = figure.subplots()
    for name, one in figures.items():
        if one["by_size"]:
            sizes = [int(size.replace(",", "")) for size in one["by_size"]]
            axis.plot(sizes, list(one["by_size"].values()), "o-", label=name, lw=1.4, ms=4)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.set_title("µs each among so many jobs, endpoints or accounts (log scales)")
    axis.grid(visible=True)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
