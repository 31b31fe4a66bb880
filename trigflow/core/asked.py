"""What is asked for a subscription, as it is kept: words such as "renew rotate". Pure."""

from __future__ import annotations


def is_asked(asked: str, what: str) -> bool:
    """Tell whether a word is among those asked for."""
    return what in asked.split()


def also_asked(asked: str, what: str) -> str:
    """Return the words with another one; each stands there once, in the order in which they came."""
    return asked if not what or is_asked(asked, what) else f"{asked} {what}".strip()


def no_more_asked(asked: str, what: str) -> str:
    """Return the words without one."""
    return " ".join(word for word in asked.split() if word != what)
