"""The folder `OUTPUT.parts` of a run in shards: what was cut, and where.

`manifest.json` is made once, whole or not at all, by whichever shard starts first; all others find it and check that
they were asked for the same. It says where the job file is cut, what the file looked like, and the settings that
change requests.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from batchproc.core.resume import Found, Step, decide
from batchproc.errors import DiskFailed, FilesDoNotFit, ForeignOutput, InputChanged, UsageError
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.packed import is_compressed
from batchproc.store.ranges import cuts_of
from batchproc.store.recover import has_lines

MANIFEST = "manifest.json"
MERGED = "merged.json"
_VERSION = 1
_PROBE = 1 << 16  # bytes at the head and at the tail of the job file that are remembered
_PATIENCE_S = 5.0  # for another process that is writing the manifest
_MOVE = "move `{}` away to cut anew: its answers are asked again then"


class Manifest(Struct, frozen=True):
    """What the shards agree on: shard `i` is the bytes from `cuts[i]` up to `cuts[i + 1]` of the job file.

    `head` and `tail` are SHA-256 of its first and last 64 KiB. `mtime_ns` is for people. `identity` are the settings
    that change requests.
    """

    jobs: str
    size: int
    mtime_ns: int
    head: str
    tail: str
    cuts: list[int]
    identity: dict[str, str | None]
    version: int = _VERSION

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self.cuts) - 1


_DECODER = msgspec.json.Decoder(Manifest)


def folder_of(output: str) -> str:
    """Where the parts of an output are."""
    return output + ".parts"


def read_manifest(output: str) -> Manifest | None:
    """The manifest of an output; None where it is not made in shards. Raises FilesDoNotFit, DiskFailed."""
    path = os.path.join(folder_of(output), MANIFEST)
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with open(path, "rb") as f:
                manifest = _DECODER.decode(f.read())
            if manifest.version > _VERSION:
                raise FilesDoNotFit(f"`{path}` was written by a newer batchproc", "go on with that one")
            return manifest
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            disk_failed("reading", path, e)
        except msgspec.MsgspecError:
            if time.monotonic() > until:  # else another process may be writing it, where files cannot be linked
                raise FilesDoNotFit(f"`{path}` is damaged", "put a copy of it back") from None
            time.sleep(0.05)


def is_merged(output: str) -> bool:
    """Whether the parts of an output were put together."""
    return os.path.exists(os.path.join(folder_of(output), MERGED))


def refuse_parts(output: str) -> None:
    """Raise for an output that an ordinary run must not write: one made in shards, or a part of one."""
    if os.path.exists(os.path.join(folder_of(output), MANIFEST)) and not is_merged(output):
        raise FilesDoNotFit(
            f"`{output}` is made in shards, whose answers are in `{folder_of(output)}`", f"`{merge_of(output)}` first"
        )
    whole, suffix = os.path.splitext(os.path.dirname(os.path.abspath(output)))
    if suffix == ".parts" and os.path.exists(os.path.join(whole + suffix, MANIFEST)):
        raise UsageError(
            f"`{output}` is a part of `{os.path.relpath(whole)}`, which is made in shards",
            f"`batchproc run … --shard i/N` goes on with it; `{merge_of(os.path.relpath(whole))}` puts all together",
        )


def merge_of(output: str) -> str:
    """The command that merges."""
    import shlex

    return f"batchproc merge {shlex.quote(output)}"


def manifest_for(output: str, jobs: str, count: int, identity: Mapping[str, str | None]) -> Manifest:
    """The manifest of an output: as it is, or made now. It is not compared with what is wanted: see `check`.

    Raises UsageError for jobs that cannot be cut, ForeignOutput where an ordinary run made the output, DiskFailed.
    """
    had = read_manifest(output)
    if had is not None:
        return had
    for path in (output, output + ".ckpt"):
        if has_lines(path):
            raise ForeignOutput(
                f"`{path}` exists, and was not made in shards",
                "go on without `--shard`, or choose another output with `-o`",
            )
    return _made(output, _new(jobs, count, identity))


def check(manifest: Manifest, output: str, jobs: str, count: int, identity: Mapping[str, str | None] | None) -> None:
    """Raise FilesDoNotFit or InputChanged where a shard is not one of this manifest; `identity` None is any."""
    move = _MOVE.format(folder_of(output))
    if count != manifest.count:
        raise FilesDoNotFit(
            f"`{output}` is made in {manifest.count} shards, not in {count}",
            f"type `--shard i/{manifest.count}`; or {move}",
        )
    size, _, head, tail = _look_of(jobs)
    if (size, head, tail) != (manifest.size, manifest.head, manifest.tail):
        what = f"had {manifest.size:,} bytes and has {size:,}" if size != manifest.size else "reads differently"
        raise InputChanged(
            f"the job file `{jobs}` is not the one that was cut into shards: it {what}",
            f"put the old one back, and send what was added by `batchproc run` after the merge; or {move}",
        )
    if identity is not None:
        decision = decide(Found(True, manifest.identity, True), identity)
        if decision.step is Step.CHANGED:
            from batchproc.store.opening import changes_text

            raise InputChanged(
                changes_text(decision),
                f"change it back to go on; `--accept-changes` goes on with this shard all the same; or {move}",
            )


def cannot_be_cut(jobs: str) -> str:
    """Why a job file cannot be read in parts; empty if it can. Raises UsageError."""
    if jobs == "-":
        return "standard input"
    if not os.path.isfile(jobs):
        return "what is no plain file"
    try:
        return "a compressed file" if is_compressed(jobs) else ""
    except OSError as e:
        raise UsageError(f"`{jobs}` cannot be opened: {e.strerror}") from e


def _new(jobs: str, count: int, identity: Mapping[str, str | None]) -> Manifest:
    size, mtime_ns, head, tail = _look_of(jobs)
    try:
        with open(jobs, "rb", buffering=0) as f:
            cuts = cuts_of(f.fileno(), size, count)
    except OSError as e:
        raise UsageError(f"`{jobs}` cannot be read: {e.strerror}") from e
    return Manifest(os.path.abspath(jobs), size, mtime_ns, head, tail, cuts, dict(identity))


def _look_of(jobs: str) -> tuple[int, int, str, str]:
    """Size, time, and digests of head and tail. Raises UsageError."""
    try:
        with open(jobs, "rb", buffering=0) as f:
            st = os.fstat(f.fileno())
            head = os.pread(f.fileno(), _PROBE, 0)
            tail = os.pread(f.fileno(), _PROBE, max(0, st.st_size - _PROBE))
    except OSError as e:
        raise UsageError(f"`{jobs}` cannot be read: {e.strerror}") from e
    return st.st_size, st.st_mtime_ns, hashlib.sha256(head).hexdigest(), hashlib.sha256(tail).hexdigest()


def _made(output: str, manifest: Manifest) -> Manifest:
    """Write the manifest, unless another process was quicker: then what that one wrote. Raises DiskFailed."""
    folder = folder_of(output)
    path = os.path.join(folder, MANIFEST)
    mine = f"{path}.{socket.gethostname()}.{os.getpid()}.new"
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    try:
        os.makedirs(folder, exist_ok=True)
        sync_folder(folder)
        _write(mine, data, os.O_TRUNC)
        try:
            os.link(mine, path)  # fails where it is there
        except FileExistsError:
            pass
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
                raise
            try:  # a file system without links: whoever reads it meanwhile waits until it is whole
                _write(path, data, os.O_EXCL)
            except FileExistsError:
                pass
        os.unlink(mine)
    except OSError as e:
        disk_failed("writing", path, e)
    sync_folder(path)
    had = read_manifest(output)
    if had is None:
        raise DiskFailed(f"`{path}` was written, and is not there", "let nothing touch the folder during a run")
    return had


def _write(path: str, data: bytes, flag: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
