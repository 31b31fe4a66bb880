"""A store on a network file system is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigflow.core.errors import StoreUnusable
from trigflow.stores.sqlite import SqliteStore, place
from trigflow.stores.sqlite.place import file_system_of

# The form of proc(5); the optional field before the dash may be there or not.
MOUNTS = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:40 / /srv/shared rw,relatime shared:2 - nfs4 server:/export rw,vers=4.2
23 22 8:2 / /srv/shared/local rw - xfs /dev/sdb1 rw
24 21 0:41 / /mnt/two\040words rw - cifs //server/share rw
25 21 0:42 / /over rw - ext4 /dev/sdc1 rw
26 21 0:43 / /over rw - fuse.sshfs me@host:/ rw
a line that is not understood
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/t.db", "ext4"),
        ("/srv/shared/t.db", "nfs4"),
        ("/srv/shared/local/t.db", "xfs"),
        ("/srv/sharedother/t.db", "ext4"),
        ("/mnt/two words/t.db", "cifs"),
        ("/over/t.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_last_mount_counts(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


@pytest.mark.anyio
async def test_a_store_over_a_network_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(place, "MOUNTS", mounts)
    store = SqliteStore(tmp_path / "t.db", store_id=lambda: "x")
    with pytest.raises(StoreUnusable, match=r"network file system \(nfs4\).*TRIGFLOW_STORE"):
        await store.__aenter__()
    assert not (tmp_path / "t.db").exists()
