"""The Python on the pages of the documentation: each page's blocks in order, as one module.

`python tests/examples/pages.py FOLDER` writes the modules, for a type checker.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What a page may use without importing it: a page about filters need not repeat the imports.
PRELUDE = """\
from collections.abc import *
from datetime import timedelta
from trigflow import *
from trigflow_github import *
from trigflow_github.payloads import Issues, Push
"""
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return every page that holds Python."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if blocks(page)]


def blocks(page: Path) -> list[str]:
    """Return a page's Python."""
    return _BLOCK.findall(page.read_text())


def module(page: Path) -> str:
    """Return a page's Python as one module."""
    return "\n".join([PRELUDE, *blocks(page)])


if __name__ == "__main__":
    for one in pages():
        name = one.stem.lower().replace("-", "_")
        (Path(sys.argv[1]) / f"page_{name}.py").write_text(module(one))
