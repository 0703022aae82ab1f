"""The manifest of a run in shards, and the attempts of a shard."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storekit import IDENTITY, JOBS, answer, readable, whole

from batchproc.errors import FilesDoNotFit, ForeignOutput, InputChanged, UsageError
from batchproc.store.attempts import attempts_at, copied_in, copy_answers, next_number, path_of
from batchproc.store.checkpoint import Header, Told, header_records, result_record, told_record
from batchproc.store.opening import open_store
from batchproc.store.parts import (
    MANIFEST,
    MERGED,
    cannot_be_cut,
    check,
    folder_of,
    manifest_for,
    read_manifest,
    refuse_parts,
)


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    """A job file."""
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b'{"a":1}\n' * 30_000)
    return str(path)


@pytest.fixture
def output(tmp_path: Path) -> str:
    """The name of an output."""
    return str(tmp_path / "out.jsonl")


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_all_that_start_at_once_agree(jobs: str, output: str, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four shards with different opinions: one is written, all get that one, and nothing else is left."""
    if not links:

        def refuse(*args: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    names = iter(range(10**6))
    monkeypatch.setattr(os, "getpid", lambda: next(names))
    with ThreadPoolExecutor(32) as pool:
        made = list(pool.map(lambda n: manifest_for(output, jobs, 1 + n % 8, IDENTITY), range(64)))
    assert len({m.count for m in made}) == 1
    assert all(m == made[0] for m in made)
    assert os.listdir(folder_of(output)) == [MANIFEST]


def test_what_does_not_fit_the_manifest_is_refused(jobs: str, output: str) -> None:
    """Other cuts, another input, other settings; each with the way on."""
    manifest = manifest_for(output, jobs, 4, IDENTITY)
    check(manifest, output, jobs, 4, IDENTITY)
    with pytest.raises(FilesDoNotFit, match="made in 4 shards, not in 5") as cuts:
        check(manifest, output, jobs, 5, IDENTITY)
    assert "--shard i/4" in (cuts.value.hint or "")
    with pytest.raises(InputChanged, match="model was `m` and is now `n`"):
        check(manifest, output, jobs, 4, {"model": "n"})
    check(manifest, output, jobs, 4, None)  # --accept-changes
    os.utime(jobs, (1, 1))
    check(manifest, output, jobs, 4, IDENTITY)  # copied to another machine: another time is no other file
    data = Path(jobs).read_bytes()
    for at in (0, len(data) - 3):  # head and tail are looked at
        Path(jobs).write_bytes(data[:at] + b"?" + data[at + 1 :])
        with pytest.raises(InputChanged, match="reads differently"):
            check(manifest, output, jobs, 4, IDENTITY)
    Path(jobs).write_bytes(data + b"{}\n")
    with pytest.raises(InputChanged, match="had 240,000 bytes and has 240,003") as longer:
        check(manifest, output, jobs, 4, IDENTITY)
    assert "after the merge" in (longer.value.hint or "")


def test_an_output_that_was_not_made_in_shards_is_left_alone(jobs: str, output: str) -> None:
    """Neither output nor checkpoint of an ordinary run gets parts beside it."""
    for path in (output, output + ".ckpt"):
        Path(path).write_bytes(b"{}\n")
        with pytest.raises(ForeignOutput):
            manifest_for(output, jobs, 4, IDENTITY)
        assert not os.path.exists(folder_of(output))
        os.unlink(path)


def test_a_damaged_manifest_is_said(jobs: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for as long as another process may be writing it, and no longer."""
    manifest_for(output, jobs, 4, IDENTITY)
    monkeypatch.setattr("batchproc.store.parts._PATIENCE_S", 0.0)
    for damage in (b"", b'{"jobs":', b'{"jobs": 1}'):
        Path(folder_of(output), MANIFEST).write_bytes(damage)
        with pytest.raises(FilesDoNotFit, match="is damaged"):
            read_manifest(output)


def test_an_ordinary_run_keeps_off_shards(jobs: str, output: str) -> None:
    """It would ask for everything again; merged, the output is an ordinary one."""
    refuse_parts(output)
    manifest_for(output, jobs, 4, IDENTITY)
    with pytest.raises(FilesDoNotFit, match="made in shards"):
        refuse_parts(output)
    with pytest.raises(UsageError, match="is a part of"):
        refuse_parts(path_of(output, 0, 1))
    Path(folder_of(output), MERGED).write_bytes(b"{}")
    with pytest.raises(FilesDoNotFit, match="made in shards"):  # merged, and lost since
        refuse_parts(output)
    Path(output).touch()
    refuse_parts(output)


@pytest.mark.parametrize(
    ("data", "why"), [(b"{}\n", ""), (b"\x1f\x8b\x08", "compressed"), (b"\x28\xb5\x2f\xfd", "compressed"), (b"", "")]
)
def test_what_can_be_cut(tmp_path: Path, data: bytes, why: str) -> None:
    """What a file is, is read from its first bytes."""
    path = tmp_path / "jobs"
    path.write_bytes(data)
    assert why in cannot_be_cut(str(path))
    assert bool(why) == bool(cannot_be_cut(str(path)))
    assert cannot_be_cut("-")
    assert cannot_be_cut(str(tmp_path))


def attempt(output: str, written: int, waiting: tuple[int, ...]) -> None:
    """An attempt that was killed: so many lines, and results that wait."""
    path = path_of(output, 3, 1)
    os.makedirs(folder_of(output), exist_ok=True)
    Path(path).write_bytes(whole(written) + b'{"id": "batch_req_torn')
    records = b"".join(result_record(answer(i)) for i in waiting)
    told = told_record(Told(1.0, "run", jobs="jobs", command="batchproc run"))
    Path(path + ".ckpt").write_bytes(header_records(Header(IDENTITY)) + told + records + b'{"crc":"0')


@pytest.mark.parametrize(("written", "waiting"), [(0, ()), (5, ()), (5, (7, 9)), (0, (3,)), (JOBS, ())])
def test_a_second_attempt_begins_with_what_the_first_has(output: str, written: int, waiting: tuple[int, ...]) -> None:
    """Lines and waiting results; nothing of the first one's files is touched; what was copied is known."""
    attempt(output, written, waiting)
    (first,) = attempts_at(output, 3)
    before = Path(first.path).read_bytes(), Path(first.checkpoint).read_bytes()
    assert next_number(output, 3) == 2
    target = path_of(output, 3, 2)
    assert copy_answers(first, target) == written + len(waiting)
    assert (Path(first.path).read_bytes(), Path(first.checkpoint).read_bytes()) == before
    data = Path(target).read_bytes(), Path(target + ".ckpt").read_bytes()
    assert readable(*data) == {*range(written), *waiting}

    async def go_on() -> tuple[int, int]:
        opened = await open_store(target, target + ".ckpt", identity=IDENTITY, input_identity=None)
        found = opened.store.order.next_index, opened.store.order.waiting
        opened.store.close()
        await opened.store.run()
        return found

    assert asyncio.run(go_on()) == (written, len(waiting))
    second = next(a for a in attempts_at(output, 3) if a.number == 2)
    assert copied_in(second).lines == written
    assert copied_in(second).others == list(waiting)


def test_an_attempt_has_begun_when_its_checkpoint_has_its_name(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that is killed at any rename is no attempt, and its name is not taken again."""
    attempt(output, 5, (7,))
    (first,) = attempts_at(output, 3)
    replace = os.replace
    left: list[None] = []  # renames that go well

    def dies(source: str, target: str) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    for renames in (0, 1):
        left.extend([None] * renames)
        number = next_number(output, 3)
        with pytest.raises(KeyboardInterrupt):
            copy_answers(first, path_of(output, 3, number))
        assert [a.number for a in attempts_at(output, 3)] == [1]
        assert next_number(output, 3) == number + 1


def test_the_attempt_that_is_farthest_comes_first(output: str) -> None:
    """It is the one to go on with."""
    attempt(output, 2, ())
    for suffix in ("", ".ckpt"):
        shutil.copy(path_of(output, 3, 1) + suffix, path_of(output, 3, 2) + suffix)
    attempt(output, 1, ())
    Path(path_of(output, 3, 3) + ".ckpt").write_bytes(b"")  # killed before anything was on disk
    assert [(a.number, a.answered) for a in attempts_at(output, 3)] == [(2, 2), (1, 1), (3, 0)]
