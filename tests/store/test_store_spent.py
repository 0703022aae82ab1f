"""What each model's answers used is known again after any end: from marks, from records, from the lines themselves."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from storekit import Files, answer, until

from batchproc.model import Result, Usage
from batchproc.store import index as indexing
from batchproc.store.checkpoint import parse_result, result_record
from batchproc.store.count import count
from batchproc.store.record import seal
from batchproc.store.scan import read_marks
from batchproc.store.totals import Spent, Totals, as_named


def used(index: int) -> Result:
    """A result of model `m`, 3 input tokens, of which 2 from the cache, `index` output tokens."""
    r = answer(index)
    body = b'"model":"m-2024-01-01","prompt_tokens_details":{"cached_tokens":2},'
    line = r.line.replace(b'{"usage":{', b'{"model":"m-2024-01-01","usage":{' + body.split(b",", 1)[1])
    return replace(r, line=line, usage=Usage(3, index, 2), model="m")


async def run(files: Files, arrivals: list[int], *, close: bool, lost: int = 0) -> dict[str, Spent]:
    """Answer jobs in this order; then end, or be killed: no more is written. Returns what was known then."""
    opened = await files.open()
    store = opened.store
    running = asyncio.create_task(store.run())
    for index in arrivals:
        store.sent("m", index, 10)
    for index in arrivals:
        store.put(used(index))
        await until(lambda: not store._pending)
    for _ in range(lost):
        store.lost("m", 100, 50)
    if close:
        store.close()
        await running
    else:
        killed = files.read()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        files.write(*killed)
    return store.totals.models


@pytest.mark.parametrize("close", [True, False])
async def test_usage_by_model_is_known_again(files: Files, hasty: None, close: bool) -> None:
    """In the output (0, 1), and waiting in the checkpoint (3, 5), after an end in order or a kill."""
    await run(files, [0, 1, 3, 5], close=close)
    opened = await files.open()
    assert opened.killed is not close
    assert opened.store.totals.models == {"m": Spent(answers=4, input_tokens=12, cached_tokens=8, output_tokens=9)}
    await opened.store.close_files()


async def test_losses_are_kept_and_are_counted_once(files: Files, hasty: None) -> None:
    """Over two resumes; also where the output is read from its start."""
    await run(files, [0, 1, 3], close=True, lost=2)
    models = await run(files, [2], close=True, lost=1)
    assert (models["m"].lost, models["m"].lost_input, models["m"].lost_output) == (3, 300, 150)
    opened = await files.open()
    assert opened.store.totals.models == {"m": Spent(4, 12, 8, 6, 3, 300, 150)}
    assert not opened.killed
    await opened.store.close_files()


async def test_a_process_that_sent_and_lost_all_ends_in_order(files: Files, hasty: None) -> None:
    """Nothing was answered, so nothing was written but notes: the end is noted all the same."""
    opened = await files.open()
    running = asyncio.create_task(opened.store.run())
    opened.store.sent("m", 0, 10)
    await until(lambda: not opened.store._pending)
    opened.store.close()
    await running
    again = await files.open()
    assert not again.killed
    assert again.store.unanswered == {0: 1}
    await again.store.close_files()


def test_records_of_earlier_versions_are_read() -> None:
    """They have neither cached tokens nor a model."""
    record = result_record(used(5))
    assert parse_result(record[:-1]) == used(5)
    old = record[:-1].split(b',"kind"', 1)[0]
    body = record[len(old) + 1 : -2].replace(b'"usage":[3,5,2],"model":"m",', b'"usage":[3,5],')
    found = parse_result(seal(body)[:-1])
    assert found is not None
    assert (found.usage, found.model) == (Usage(3, 5), "")


@pytest.mark.parametrize(
    ("known", "said", "name"),
    [
        (["gpt-4o", "gpt-4o-mini"], "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        (["gpt-4o", "gpt-4o-mini"], "gpt-4o", "gpt-4o"),
        (["my-deployment"], "gpt-4o-2024-08-06", "my-deployment"),  # there is no other it could be
        (["a", "b"], "gpt-4o", "gpt-4o"),
        ([], "gpt-4o", "gpt-4o"),
        ([""], "gpt-4o", ""),
    ],
)
def test_names_of_servers(known: list[str], said: str, name: str) -> None:
    """A server's name for a model, as the jobs name it."""
    assert as_named(said, known) == name


async def test_an_index_tells_of_models(files: Files, hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are known by an index of the checkpoint alone count for their models, for a resume and `status`."""
    monkeypatch.setattr(indexing, "_FEW", 1)
    await run(files, [1, 2, 3, 5], close=True)
    indices, _ = indexing.read_indices(str(files.checkpoint))
    assert sum(i.totals.succeeded for i in indices) == 4
    marks = read_marks(str(files.checkpoint), sums=True)
    spent = {"m": Spent(answers=4, input_tokens=12, cached_tokens=8, output_tokens=11)}
    assert count(str(files.output), str(files.checkpoint), marks).totals.models == spent
    opened = await files.open()
    assert opened.store.totals.models == spent
    await opened.store.close_files()


def test_an_answer_that_is_saved_nowhere_is_paid_for() -> None:
    """It is no result any more, but counts as lost."""
    totals = Totals()
    totals.add(None, Usage(3, 5, 2), 1, "", "m")
    totals.add("no", Usage(0, 0), 2, "never", "m")
    totals.unsaved(None, Usage(3, 5, 2), "m")
    totals.unsaved("no", Usage(0, 0), "m")
    assert totals == Totals(models={"m": Spent(lost=1, lost_input=3, lost_output=5)})


def test_very_many_models_are_counted_together() -> None:
    """Memory stays bounded; nothing is lost from the sums."""
    totals = Totals()
    for n in range(3000):
        totals.add(None, Usage(1, 1), 0, "", f"m{n}")
    assert len(totals.models) == 1001
    assert sum(s.answers for s in totals.models.values()) == 3000
