"""Whether a folder is on a disk of this machine.

SQLite's WAL keeps an index in memory that all processes share; over a network
they don't, and each overwrites what the other wrote (sqlite.org/wal.html,
"Overview"). Told from Linux's own table of mounts; elsewhere it is not known.
"""

from __future__ import annotations

from pathlib import Path

from trigflow.core.errors import StoreUnusable

MOUNTS = Path("/proc/self/mountinfo")
# As the kernel calls them. Not 9p: virtual machines and sandboxes of one machine use it, too.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gfs2", "ocfs2", "beegfs"}
)
NETWORK_IN_USER_SPACE = frozenset(
    f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "juicefs")
)


def refuse_network(path: Path) -> None:
    """Return unless a store would be on a network file system; StoreUnusable if it would."""
    try:
        mounts = MOUNTS.read_text(errors="replace")
    except OSError:  # no Linux
        return
    kind = file_system_of(path.resolve(), mounts)
    if kind in NETWORK | NETWORK_IN_USER_SPACE:
        raise StoreUnusable(
            f"{path} is on a network file system ({kind}), where SQLite's WAL is not safe; "
            "put the store on a local disk (store= or TRIGFLOW_STORE)"
        )


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that an absolute path is on, empty if no line says it.

    mounts: lines of /proc/self/mountinfo (proc(5)): the fifth field is the mount point,
        the first after " - " the type; of equal mount points the last one counts.
    """
    found, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        point = Path(_unescaped(fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = kind[0], len(point.parts)
    return found


def _unescaped(text: str) -> str:
    """Undo the kernel's escapes of spaces, tabs, ends of lines and backslashes."""
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, character)
    return text
