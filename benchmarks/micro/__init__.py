"""Single parts of the path, timed in one process: what a part costs, and whether it stays flat.

    python -m benchmarks.micro [NAME …]

Each figure stands beside a baseline that was timed in turns with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.micro import matching, payloads, routing, starting
from benchmarks.micro.timing import Figure

Take = Callable[[bool], Mapping[str, Figure]]  # True: quickly, to see that it works
PARTS: Mapping[str, Take] = {
    "matching": matching.take,
    "payloads": payloads.take,
    "routing": routing.take,
    "starting": starting.take,
}


def take(names: Sequence[str] = (), *, quick: bool = False) -> dict[str, Figure]:
    """Take the figures of some parts; of all where none is named."""
    found: dict[str, Figure] = {}
    for name, part in PARTS.items():
        if not names or name in names:
            found |= part(quick)
    return found
