"""Asking a person who sits at a terminal."""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from trigflow.core.errors import SetupError


def typed(prompt: str, *, secret: bool = False) -> str:
    """Return what is typed, without spaces around it; a secret is not shown.

    Blocks, also beside an event loop: nothing else goes on while a person is asked. Ctrl+C
    interrupts at once; an end of the input (Ctrl+D) is a SetupError.
    """
    sys.stdout.flush()
    try:
        with _interruptible():
            return (getpass.getpass(prompt) if secret else input(prompt)).strip()
    except EOFError:
        raise SetupError("nothing was typed, so nothing was done") from None


def refuse_pipe(remedy: str) -> None:
    """Raise SetupError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise SetupError(f"standard input is no terminal, so nobody can be asked; {remedy}")


@contextmanager
def _interruptible() -> Generator[None, None, None]:
    """Let Ctrl+C end what blocks: an event loop's handler would wait for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
