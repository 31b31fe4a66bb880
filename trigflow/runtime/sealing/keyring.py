"""Where the keys come from that secrets are sealed with."""

from __future__ import annotations

import glob
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from trigflow.core.errors import SettingsError, SetupError
from trigflow.core.settings import Settings
from trigflow.runtime.sealing.vault import Vault

DRAFT = re.compile(r"\.[0-9a-f]{16}")
ABANDONED = 60.0  # seconds after which nobody writes a draft any more
REMEDY = (
    "have this process read it, put it back from a copy, or set TRIGFLOW_SECRET_KEY to the key that it held"
)
_warned: set[tuple[Path, int]] = set()
logger: logging.Logger = logging.getLogger("trigflow")


class Sealing(Protocol):
    """A store, as much as tells whether it holds anything that is sealed."""

    async def reseal(self, seal: Callable[[bytes], bytes], *, after: str, limit: int) -> str | None:
        """Walk over some sealed values, which `seal` may change."""
        ...


async def secret_keys(settings: Settings, store: Sealing, *, in_memory: bool) -> Sequence[str]:
    """Return the ring; without one, a key is made beside the store, readable by its owner alone.

    Raises SetupError where the file has gone and the store needs it, or it can't be used.
    """
    if settings.secret_keys:
        return settings.secret_keys
    if in_memory:
        return [Vault.new_key()]
    path = key_file(settings)
    # Asked again after the look: another process may have begun with this store meanwhile.
    if not path.exists() and await holds_sealed(store) and not path.exists():
        raise SetupError(
            f"the key file {path} is missing, and the store {settings.store} holds secrets that were sealed "
            "with it; put it back, or set TRIGFLOW_SECRET_KEY to the key that it held. If the key is lost, "
            'nothing can open them: see docs/security.md, "A lost key"'
        )
    if not path.exists():
        _make(path)
    return kept_keys(settings)


async def holds_sealed(store: Sealing) -> bool:
    """Tell whether a store holds anything sealed; nothing is changed."""
    found: list[bool] = []

    def look(sealed: bytes) -> bytes:
        found.append(True)
        return sealed

    after: str | None = ""
    while after is not None and not found:
        after = await store.reseal(look, after=after, limit=1)
    return bool(found)


def key_file(settings: Settings) -> Path:
    """Return where the ring beside the store is kept: keys, one a line, the current one first."""
    return Path(f"{settings.store}.key")


def kept_keys(settings: Settings) -> Sequence[str]:
    """Return the ring as it is now; nothing where there is none: none is made.

    Raises SetupError where the file can't be read, or holds something else than keys.
    """
    path = key_file(settings)
    if settings.secret_keys or not os.path.lexists(path):
        return settings.secret_keys
    try:
        keys = path.read_text(encoding="ascii").replace(",", " ").split()
        _warn_of_readers(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise SetupError(f"the key file {path} leads nowhere; {REMEDY}") from None
        return ()
    except (OSError, ValueError) as error:
        why = f"can't be read ({error.strerror})" if isinstance(error, OSError) else "holds no keys"
        raise SetupError(f"the key file {path} {why}; {REMEDY}") from None
    if not keys:
        raise SetupError(f"the key file {path} is empty; {REMEDY}")
    try:
        Vault(keys)
    except SettingsError:
        raise SetupError(f"the key file {path} holds something else than keys; {REMEDY}") from None
    return keys


def _warn_of_readers(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and (path, mode) not in _warned:  # not refused: a mounted secret may have no other mode
        _warned.add((path, mode))
        logger.warning(
            "the key file %s can be read by others (mode %o); run `chmod 600` on it, and "
            "`trigflow keys rotate` if somebody may have read it", path, mode,
        )  # fmt: skip


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
