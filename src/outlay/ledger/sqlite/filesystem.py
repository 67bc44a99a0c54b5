"""Which filesystem a path lies on: SQLite's locks and shared memory do not hold on network filesystems."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from outlay.errors import UnsafeFilesystem

UNSAFE: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)
_MOUNTS: Final = Path("/proc/mounts")


def filesystem_type(path: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the filesystem that holds `path`, such as ext4; "unknown" where the system does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    resolved = path.resolve()
    best, kind = -1, "unknown"
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " ").replace("\\011", "\t"))
        depth = len(point.parts)
        # The last mount on the same point hides the ones before it.
        if depth >= best and resolved.is_relative_to(point):
            best, kind = depth, fields[2]
    return kind


def refuse_unsafe(path: Path, kind: str) -> None:
    """Raises UnsafeFilesystem for a network filesystem."""
    if kind in UNSAFE:
        raise UnsafeFilesystem(
            f"{path} lies on {kind}, a network filesystem whose locks SQLite cannot trust; "
            "put the ledger on a local disk and copy backups there"
        )
