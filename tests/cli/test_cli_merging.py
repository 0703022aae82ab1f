"""Putting shards together: what the output holds, what is refused, and what a crash leaves."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from shardkit import Parts, job_lines, results_of

from batchproc.cli.merging import NotDone, merge_shards
from batchproc.errors import FilesDoNotFit, InputChanged
from batchproc.resultline import read_line
from batchproc.store.attempts import Copied
from batchproc.store.look import look
from batchproc.store.parts import refuse_parts
from batchproc.store.recover import recover

COUNT, SHARDS = 60, 4


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Four shards of sixty jobs, none of which has begun."""
    return Parts(tmp_path, b"".join(job_lines(COUNT, bad=(2, 44, 50))), SHARDS)


def text(parts: Parts) -> bytes:
    """The output."""
    return Path(parts.output).read_bytes()


def test_the_output_is_that_of_one_process(parts: Parts) -> None:
    """Indices, names and line numbers are those of the whole file; what was sent lately still counts."""
    for shard in range(SHARDS):
        parts.write(shard)
    merged = merge_shards(parts.output)
    assert text(parts) == parts.whole()
    assert (merged.exit_code, merged.jobs, merged.failed, merged.missing) == (3, COUNT, 3, 0)
    seen = look(parts.output, parts.output + ".ckpt")
    assert (seen.exit_code, seen.total, seen.errors[0].line) == (3, COUNT, 3)
    assert seen.command == "batchproc run jobs.jsonl -o out.jsonl"
    had = recover(parts.output, parts.output + ".ckpt")
    assert sum(s.requests for s in had.recent.groups(0.0)) == COUNT
    assert had.closed
    assert not had.notes
    assert parts.files() == {"out.jsonl", "out.jsonl.ckpt", "out.jsonl.parts"}


def test_an_answer_goes_before_a_failure_and_the_first_before_the_second(parts: Parts) -> None:
    """Of two attempts the answers that both paid for are counted; those that were copied are not."""
    for shard in range(SHARDS):
        parts.write(shard, fails=(4, 5) if shard == 1 else ())
    parts.write(1, 2, lines=9, waiting=(11,), attempt="2")
    copied = Path(parts.output + ".parts", "00001.2.jsonl.copied.json")
    copied.write_bytes(msgspec.json.encode(Copied(3, [])))
    merged = merge_shards(parts.output)
    lines = text(parts).split(b"\n")[:-1]
    first = len(results_of(parts.part(0)))
    attempts = [line.partition(b'"request_id": "r')[2][:1] for line in lines[first : first + 13]]
    assert attempts[4:6] == [b"2", b"2"], "they failed in the first"
    assert set(attempts[:4] + attempts[6:]) <= {b'"', b""}
    assert merged.paid_twice == 5, "3, 6, 7, 8 and the one that waits"
    assert merged.failed == 3


def test_shards_that_are_not_done_are_named(parts: Parts) -> None:
    """With how far they are, and what to type; nothing is written."""
    parts.write(0)
    parts.write(2, lines=5)
    with pytest.raises(NotDone) as raised:
        merge_shards(parts.output)
    assert raised.value.exit_code == 5
    assert "3 of 4 shards are not done: 1 (not begun); 2 (5 jobs answered); 3 (not begun)" in raised.value.message
    assert "`batchproc run jobs.jsonl -o out.jsonl --shard 1/4`" in (raised.value.hint or "")
    assert parts.files() == {"out.jsonl.parts"}


@pytest.mark.parametrize("name", ["replace", "fsync", "write"])
def test_killed_at_any_step_it_is_done_again(parts: Parts, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is through, an ordinary run keeps off; after that, it is not done twice."""
    for shard in range(SHARDS):
        parts.write(shard)
    real = getattr(os, name)
    step = 0
    while True:
        calls = 0

        def dies(*args: object, step: int = step) -> object:
            nonlocal calls
            calls += 1
            if calls > step:
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, dies)
            try:
                merge_shards(parts.output)
            except KeyboardInterrupt:
                pass
            else:
                break
        if os.path.exists(parts.output):
            assert text(parts) == parts.whole()
        try:
            refuse_parts(parts.output)
        except FilesDoNotFit:
            pass
        else:
            assert os.path.exists(parts.output)
        step += 1
        if step % 2:  # every other time nothing is repaired in between
            continue
        assert merge_shards(parts.output).exit_code == 3
        assert text(parts) == parts.whole()
        for path in (parts.output, parts.output + ".ckpt", parts.output + ".parts/merged.json"):
            os.unlink(path)
    assert step > 1
    assert text(parts) == parts.whole()
    assert not [f for f in parts.files() if f.endswith(".merging")]


def test_a_damaged_part_and_another_input_are_refused(parts: Parts) -> None:
    """Every line is compared with the one that it answers."""
    for shard in range(SHARDS):
        parts.write(shard)
    path = Path(parts.output + ".parts", "00002.1.jsonl")
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"index": 6', b'"index": 7'))
    with pytest.raises(FilesDoNotFit, match="damaged at line 7"):
        merge_shards(parts.output)
    path.write_bytes(good)
    Path(parts.jobs).write_bytes(parts.data.replace(b'"52"', b'"51"'))
    with pytest.raises(InputChanged, match="job 52"):
        merge_shards(parts.output)
    Path(parts.jobs).write_bytes(parts.data[:-60])
    with pytest.raises(InputChanged, match="bytes when it was cut"):
        merge_shards(parts.output)
    assert parts.files() == {"out.jsonl.parts"}


def test_lines_added_at_the_end_are_left_for_a_run(parts: Parts) -> None:
    """The output is that of the file that was cut, and of an unfinished run of the longer one."""
    for shard in range(SHARDS):
        parts.write(shard)
    Path(parts.jobs).write_bytes(parts.data + b'{"model":"m","messages":[1]}\n')
    assert merge_shards(parts.output).jobs == COUNT
    assert text(parts) == parts.whole()
    assert look(parts.output, parts.output + ".ckpt").exit_code == 5


def test_a_partial_merge_keeps_everything_that_is_there(parts: Parts) -> None:
    """Lines up to the first job without a result, the others in the checkpoint, at their indices."""
    parts.write(0)
    parts.write(1, lines=4, waiting=(6, 9))
    parts.write(3)
    merged = merge_shards(parts.output, partial=True)
    sizes = [len(results_of(parts.part(shard))) for shard in range(SHARDS)]
    assert merged.jobs == sizes[0] + 6 + sizes[3]
    assert merged.missing == COUNT - merged.jobs
    assert merged.exit_code == 5
    had = recover(parts.output, parts.output + ".ckpt")
    assert had.order.next_index == sizes[0] + 4
    waiting = [index for index, _ in had.order.items()]
    assert waiting == [sizes[0] + 6, sizes[0] + 9, *range(COUNT - sizes[3], COUNT)]
    assert parts.whole().startswith(text(parts))
    assert [read_line(line).index for line in text(parts).split(b"\n")[:-1]] == list(range(sizes[0] + 4))  # type: ignore[union-attr]


@pytest.mark.parametrize("left", ["out.jsonl.ckpt", ""])
def test_an_output_that_was_lost_after_the_merge_is_made_again(parts: Parts, left: str) -> None:
    """The parts are the only place where the answers are: they are not removed for an output that is not there."""
    for shard in range(SHARDS):
        parts.write(shard)
    merge_shards(parts.output)
    os.unlink(parts.output)
    if not left:
        os.unlink(parts.output + ".ckpt")
    with pytest.raises(FilesDoNotFit, match="made in shards"):  # a run would ask everything again
        refuse_parts(parts.output)
    assert merge_shards(parts.output, remove_parts=True).removed
    assert text(parts) == parts.whole()
    assert parts.files() == {"out.jsonl", "out.jsonl.ckpt"}


def test_an_empty_output_is_not_taken_for_a_merged_one(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there before; the merge died when only its checkpoint had its name."""
    for shard in range(SHARDS):
        parts.write(shard)
    Path(parts.output).touch()
    real = os.replace

    def dies(source: str, target: str) -> None:
        if target == parts.output:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            merge_shards(parts.output)
    assert merge_shards(parts.output, remove_parts=True).removed
    assert text(parts) == parts.whole()
