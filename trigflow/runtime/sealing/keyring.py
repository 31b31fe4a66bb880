"""Where the keys come from that secrets are sealed with."""

from __future__ import annotations

import glob
import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trigflow.core.settings import Settings
from trigflow.runtime.sealing.vault import Vault

DRAFT = re.compile(r"\.[0-9a-f]{16}")
ABANDONED = 60.0  # seconds after which nobody writes a draft any more
logger: logging.Logger = logging.getLogger("trigflow")


def secret_keys(settings: Settings, *, in_memory: bool) -> Sequence[str]:
    """Return the ring; without one, a key is made beside the store, readable by its owner alone."""
    if settings.secret_keys:
        return settings.secret_keys
    if in_memory:
        return [Vault.new_key()]
    path = key_file(settings)
    if not path.exists():
        _make(path)
    return kept_keys(settings)


def key_file(settings: Settings) -> Path:
    """Return where the ring beside the store is kept: keys, one a line, the current one first."""
    return Path(f"{settings.store}.key")


def kept_keys(settings: Settings) -> Sequence[str]:
    """Return the ring as it is now; nothing where there is none: none is made."""
    path = key_file(settings)
    if settings.secret_keys or not path.exists():
        return settings.secret_keys
    return path.read_text().replace(",", " ").split()


def replace_ring(path: Path, keys: Sequence[str]) -> None:
    """Put another ring in the place of a file's: whole or not at all, readable by its owner alone."""
    _remove_drafts(path)
    draft = _draft(path, keys)
    try:
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the old name may come back after a power cut
    finally:
        os.close(folder)


def _remove_drafts(path: Path) -> None:
    """Remove what processes that were killed have left: keys in clear, of which nobody knows."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*"):
        with suppress(OSError):
            if DRAFT.fullmatch(draft.suffix) and draft.stat().st_mtime < time.time() - ABANDONED:
                draft.unlink()


def _draft(path: Path, keys: Sequence[str]) -> Path:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:  # noqa: PTH123 - mode
        file.write("\n".join(keys))
        file.flush()
        os.fsync(file.fileno())  # what was sealed with it would be lost with it
    return draft


def _make(path: Path) -> None:
    """Write a key whole or not at all: another process that starts now must read the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, [Vault.new_key()])
    try:
        with suppress(FileExistsError):
            _move(draft, path)
            logger.info(
                "made a secret key beside the store: %s (set TRIGFLOW_SECRET_KEY to keep it elsewhere)", path
            )
    finally:
        draft.unlink(missing_ok=True)


def _move(draft: Path, path: Path) -> None:
    """Give a file its name; FileExistsError where another process was first."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        draft.rename(path)
