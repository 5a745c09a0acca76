"""One writer per study: a lock that the kernel frees on any death, and a refusal of network file systems."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import IO

from bitjoule.search.store import StoreError

__all__ = ["NETWORK_FILE_SYSTEMS", "StudyLock", "file_system_of", "refuse_network_file_system"]

NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.beegfs", "ocfs2", "pvfs2", "orangefs"),
    }
)
MOUNTS = Path("/proc/mounts")


class StudyLock:
    """`study.lock`, held by `flock` for as long as this object is open.

    Raises:
        StoreError: another process holds it; the text says which, where and since when.
    """

    def __init__(self, path: Path) -> None:
        file: IO[str] = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise StoreError(f"study is being run by {holder}") from None
        file.truncate(0)
        since = datetime.now().astimezone().strftime("%H:%M")
        file.write(f"process {os.getpid()} on host {os.uname().nodename} since {since}")
        file.flush()
        self._file = file

    def close(self) -> None:
        """Free the lock; the file stays."""
        self._file.close()


def file_system_of(path: Path, mounts: str) -> str:
    """Type of the file system that holds `path`, from the text of /proc/mounts; "" when it is not listed.

    >>> from pathlib import Path
    >>> file_system_of(Path("/data/a.study"), "disk / ext4 rw 0 0\\nserver:/x /data nfs4 rw 0 0\\n")
    'nfs4'
    """
    best, kind = Path(), ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode().decode("unicode_escape"))
        inside = point == path or point in path.parents
        if inside and (not kind or len(point.parts) >= len(best.parts)):
            best, kind = point, fields[2]
    return kind


def refuse_network_file_system(path: Path, mounts: str | None = None) -> None:
    """WAL needs shared memory between processes of one machine: refuse NFS and the like.

    Raises:
        StoreError: `path` lies on a network file system; names the remedy.
    """
    if mounts is None:
        if not MOUNTS.exists():
            return
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
    kind = file_system_of(path.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} lies on a network file system ({kind}), where a study cannot be stored safely: "
            "put the study on a local disk, workers may be remote"
        )
