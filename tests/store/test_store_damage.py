"""Output, checkpoint, and both together, damaged at every byte: nothing readable is asked again, nothing is wrong.

In the short form (without BATCHPROC_LONG=1) the four kinds of damage take turns at the bytes inside a record; all four
meet every byte near its ends.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from storekit import IDENTITY, JOBS, Files, answer, put_all, readable, resume, whole

from batchproc.errors import ForeignOutput, InputChanged
from batchproc.store.checkpoint import Header, header_records
from batchproc.store.input import InputIdentity
from batchproc.store.record import is_whole

ARRIVALS = [0, 2, 1, 7, 9, 3, 4, 8]  # 5, 6, 10 and 11 never came: 7, 8 and 9 wait
pytestmark = pytest.mark.usefixtures("hasty")

Damage = Callable[[bytes, int], bytes]


def truncated(data: bytes, at: int) -> bytes:
    return data[:at]


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(len(data) - at)


def garbled(data: bytes, at: int) -> bytes:
    return data[:at] + random.Random(at).randbytes(len(data) - at)


def one_byte(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([(data[at] + random.Random(at).randrange(1, 256)) % 256]) + data[at + 1 :]


DAMAGES = [truncated, zeroed, garbled, one_byte]
LONG = os.environ.get("BATCHPROC_LONG") == "1"
NEAR = 2  # bytes


def places(data: bytes, damage: Damage) -> list[int]:
    """The bytes that a kind of damage begins at."""
    turn = DAMAGES.index(damage)
    near = {at for end in ends(data) for at in range(max(0, end - NEAR), end + NEAR + 1)}
    return [at for at in range(len(data)) if LONG or at % len(DAMAGES) == turn or at in near]


def ends(data: bytes) -> list[int]:
    """Where lines end."""
    return [-1, *(at for at, byte in enumerate(data) if byte == ord("\n"))]


async def half_finished(files: Files) -> tuple[bytes, bytes]:
    """The files of a run that was stopped with three results waiting."""
    await put_all(await files.open(), ARRIVALS, done=False)
    output, checkpoint = files.read()
    assert output is not None
    assert checkpoint is not None
    assert output == whole(5)
    return output, checkpoint


async def check(files: Files, output: bytes, checkpoint: bytes, why: str, *, blind: int = -1) -> None:
    """Resume, and see that the run ends as if nothing had happened.

    `blind` is a line whose checksum was hit together with it: altered, but still JSON, it cannot be told apart.
    """
    files.write(output, checkpoint)
    there = readable(output, checkpoint)
    try:
        asked, opened = await resume(files)
    except ForeignOutput:
        # allowed only where nothing says that batchproc made these files
        assert not there, why
        assert not any(is_whole(line) for line in checkpoint.split(b"\n")), why
        assert files.read() == (output, checkpoint), why
        return
    except InputChanged:  # its id was hit
        assert blind >= 0, why
        return
    lines = [line + b"\n" for line in files.output.read_bytes().split(b"\n")[:-1]]
    assert [n for n in range(JOBS) if lines[n] != answer(n).line and n != blind] == [], why
    assert len(lines) == JOBS, why
    if blind >= 0:
        return
    assert len(asked) == len(set(asked)), why
    assert not there & set(asked), why
    totals = opened.store.totals
    assert (totals.succeeded, totals.failed) == (JOBS - 1, 1), why
    assert totals.output_tokens == sum(i for i in range(JOBS) if i != 4), why


@pytest.mark.parametrize("damage", DAMAGES)
async def test_output_damaged_at_every_byte(files: Files, damage: Damage) -> None:
    """Whatever is hit in the output, the run ends with the output of an uninterrupted one."""
    output, checkpoint = await half_finished(files)
    for at in places(output, damage):
        await check(files, damage(output, at), checkpoint, f"{damage.__name__} at {at}")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_checkpoint_damaged_at_every_byte(files: Files, damage: Damage) -> None:
    """Whatever is hit in the checkpoint, only results that are readable nowhere are asked again."""
    output, checkpoint = await half_finished(files)
    for at in places(checkpoint, damage):
        await check(files, output, damage(checkpoint, at), f"{damage.__name__} at {at}")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_both_damaged_at_every_byte(files: Files, damage: Damage) -> None:
    """Every byte of the output, each with another place of the checkpoint, so that all regions meet."""
    output, checkpoint = await half_finished(files)
    for at in places(output, damage):
        there = at * 97 % len(checkpoint)
        record = checkpoint[checkpoint.rfind(b"\n", 0, there) + 1 :].split(b"\n", 1)[0]
        hit = output.count(b"\n", 0, at) if damage is one_byte and b'"kind":"mark"' in record else -1
        why = f"{damage.__name__} at {at} and {there}"
        await check(files, damage(output, at), damage(checkpoint, there), why, blind=hit)


HEADER = 2  # lines


@pytest.mark.parametrize(
    ("output", "lines", "outcome"),
    [
        pytest.param(None, 0, "start", id="an empty checkpoint beside no output"),
        pytest.param(b"", 0, "start", id="an empty checkpoint beside an empty output"),
        pytest.param(b"", 0.5, "start", id="half a header beside an empty output: it never reached the disk"),
        pytest.param(b"", HEADER, "go on", id="nothing was answered yet"),
        pytest.param(b"a,b\n1,2\n", 0, "foreign", id="a table beside an empty checkpoint"),
        pytest.param(b"a,b\n1,2\n", None, "foreign", id="a table beside no checkpoint"),
        pytest.param(whole(3), None, "foreign", id="answers without a checkpoint: --adopt takes them, not a plain run"),
        pytest.param(whole(3), 0, "go on", id="answers beside an empty checkpoint: their ids say whose they are"),
    ],
)
async def test_beginnings(files: Files, output: bytes | None, lines: float | None, outcome: str) -> None:
    """What is done where hardly anything is there."""
    header = header_records(Header(dict(IDENTITY)))
    checkpoint = None if lines is None else header[: int(len(header) * lines / HEADER)]
    files.write(output, checkpoint)
    if outcome == "foreign":
        with pytest.raises(ForeignOutput) as caught:
            await files.open()
        assert caught.value.hint
        assert files.read() == (output, checkpoint)
        return
    asked, opened = await resume(files)
    assert files.output.read_bytes() == whole()
    assert opened.resumed == (outcome == "go on")
    assert len(asked) == JOBS - (output or b"").count(b"\n")


async def test_lost_header_with_results_that_wait(files: Files) -> None:
    """Results in the checkpoint are paid for: they are used although the header is gone and the output is empty."""
    await put_all(await files.open(), [3, 5, 4], done=False)
    _, checkpoint = files.read()
    assert checkpoint is not None
    lines = checkpoint.splitlines(keepends=True)
    files.write(None, b"x" * 200 + b"\n" + b"".join(lines[HEADER:]))
    asked, opened = await resume(files)
    assert opened.verify
    assert asked == [0, 1, 2, 6, 7, 8, 9, 10, 11]


async def test_what_is_cut_is_kept(files: Files) -> None:
    """Lines in the output that batchproc did not write are kept in a file beside it, and this is said."""
    output, checkpoint = await half_finished(files)
    lines = output.splitlines(keepends=True)
    strange = b'{"somebody": "else"}\n'
    files.write(b"".join([*lines[:2], strange, *lines[2:]]), checkpoint)
    _, opened = await resume(files)
    kept = [p for p in files.folder.iterdir() if p.name.endswith(".damaged")]
    assert [p.read_bytes() for p in kept] == [b"".join([strange, *lines[2:]])]
    assert any(kept[0].name in note for note in opened.notes)
    assert files.output.read_bytes() == whole()


async def test_a_refused_input_is_refused_again(files: Files) -> None:
    """An answered line that was edited stops the run each time, not only the first."""
    await half_finished(files)
    changed = InputIdentity(1, 2, 3)
    for _ in range(3):
        with pytest.raises(InputChanged):
            await resume(files, edited=2, input_identity=changed)
    assert files.output.read_bytes() == whole(5)


async def test_a_line_edited_behind_new_answers_is_found_later(files: Files) -> None:
    """The changed input counts as the answered one only when every answered line of it has been compared."""
    await half_finished(files)
    changed = InputIdentity(1, 2, 3)
    with pytest.raises(InputChanged):
        await resume(files, edited=9, input_identity=changed)  # 5 is asked, then the line of 9 does not fit
    assert files.output.read_bytes() == whole(10)
    with pytest.raises(InputChanged):
        await resume(files, edited=9, input_identity=changed)
