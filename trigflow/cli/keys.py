"""The keys that secrets are sealed with: a new one, and the end of the old ones.

    rotate   a new key first in the ring, everything sealed anew
    retire   everything sealed anew once more, then the old keys go

While a process still works with the old ring, it seals with the old key. So then `rotate`
leaves the old key in the ring, and `retire` comes after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App as Commands, Parameter

from trigflow.cli.opening import StorePath, TargetName, exists, looked_into
from trigflow.cli.project import resolved
from trigflow.cli.screen import say, styled
from trigflow.core.errors import RegistrationError
from trigflow.core.settings import Settings
from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.runtime.sealing.keyring import key_file, replace_ring, secret_keys
from trigflow.runtime.sealing.vault import Vault

BATCH = 200  # values sealed anew in one transaction
AWAKE = 120.0  # seconds since the last beat of a process that may still work
commands = Commands(name="keys", help="The keys that secrets in the store are sealed with.")


@commands.command
async def rotate(target: TargetName = None, *, store: StorePath = None) -> None:
    """Make a new key and seal everything in the store with it.

    With the key file beside the store all is done here; with TRIGFLOW_SECRET_KEY the
    new value of that is printed first, and a second call does the rest.
    """
    settings = resolved(target, store).settings
    if settings.secret_keys:
        await _rotate_given(settings)
        return
    async with looked_into(target, store) as opened:
        path, old = key_file(settings), await secret_keys(settings, opened, in_memory=False)
        ring = [Vault.new_key(), *old]
        await _prove(opened, old)
        replace_ring(path, ring)
        count = await _seal_anew(opened, ring)
        awake = await _somebody_works(opened)
        if not awake:
            replace_ring(path, ring[:1])
            await _seal_anew(opened, ring)  # what somebody sealed before, and wrote after the walk
        await _audit(opened, f"{count} batches; {'the old key stays' if awake else 'the old key is gone'}")
    say("rotated    ", styled(str(path), "bold"))
    if awake:
        say("a process works with the old key: restart it, then `trigflow keys retire`")


@commands.command
async def retire(
    target: TargetName = None,
    *,
    force: Annotated[
        bool, Parameter(negative="", help="Also while a process works that knows the old keys alone.")
    ] = False,
    store: StorePath = None,
) -> None:
    """Seal everything with the first key of the ring once more; then the other keys go.

    Refuses while a process is at work that was started before the last rotation.
    """
    settings = resolved(target, store).settings
    async with looked_into(target, store) as opened:
        ring = await secret_keys(settings, opened, in_memory=False)
        rotated_at = 0.0 if settings.secret_keys else key_file(settings).stat().st_mtime
        if not force and not settings.secret_keys and await _somebody_knows_the_old(opened, rotated_at):
            raise RegistrationError(
                "a process is at work that was started before the last rotation and knows the old key "
                "alone; restart it first, or pass --force"
            )
        await _seal_anew(opened, ring)
        if not settings.secret_keys:
            replace_ring(key_file(settings), ring[:1])
            await _seal_anew(opened, ring)  # what somebody sealed before, and wrote after the walk
        await _audit(opened, "the old keys are gone")
    if settings.secret_keys and len(ring) > 1:
        say("everything is sealed with the first key: leave the others out of TRIGFLOW_SECRET_KEY")
    else:
        say("retired    everything is sealed with one key")


async def _rotate_given(settings: Settings) -> None:
    ring = settings.secret_keys
    if len(ring) == 1:
        Vault(ring)  # refuses what is no key
        if exists(settings.store):
            async with looked_into(None, settings.store) as opened:
                await _prove(opened, ring)
        say("set this for every process of the app and restart them; then call `trigflow keys rotate` again:")
        print(f"TRIGFLOW_SECRET_KEY={Vault.new_key()},{ring[0]}")
        return
    async with looked_into(None, settings.store) as opened:
        await _seal_anew(opened, ring)
        await _audit(opened, "sealed with the first key of TRIGFLOW_SECRET_KEY")
    say("everything is sealed with the first key: leave the others out of TRIGFLOW_SECRET_KEY and restart")


async def _prove(store: Store, keys: Sequence[str]) -> None:
    """Find out whether the keys fit before anything changes; StoreUnusable where they do not."""
    vault = Vault(keys)
    after: str | None = ""
    while after is not None:
        after = await store.reseal(lambda sealed: (vault.open(sealed), sealed)[1], after=after, limit=BATCH)


async def _seal_anew(store: Store, keys: Sequence[str]) -> int:
    vault = Vault(keys)
    after: str | None = ""
    count = 0
    while after is not None:
        after = await store.reseal(vault.seal_anew, after=after, limit=BATCH)
        count += 1
    return count


async def _somebody_works(store: Store) -> bool:
    last = await store.last_beat()
    return last is not None and last > (time.time() - AWAKE) * 1000


async def _somebody_knows_the_old(store: Store, rotated_at: float) -> bool:
    """Tell whether a process is at work that is older than the ring (unix seconds)."""
    eldest = await store.eldest(alive_since=int((time.time() - AWAKE) * 1000))
    return eldest is not None and eldest < rotated_at * 1000


async def _audit(store: Store, detail: str) -> None:
    entry = r.AuditEntry(int(time.time() * 1000), "the command line", "rotate", "secret key", detail)
    await store.log_audit(entry)
