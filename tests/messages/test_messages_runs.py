"""Errors that end a run, or meet what a run left: how each is caused, its words, its hint and its exit code."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from rows import JOB, OUT
from said import is_said

from batchproc.store.checkpoint import Header, header_records
from batchproc.store.lock import OutputLock

Call = Callable[[str], tuple[int, str]]
CHANGED = (
    "change it back to go on; `--accept-changes` goes on with the new setting and keeps the answers that are there; "
    "`--fresh` starts over (the old files are renamed, not deleted)"
)
PUT_BACK = "put the old input back to go on, or start over with `--fresh` (the old files are renamed, not deleted)"
GO_ON = "run the same command again: it goes on where it stopped"
AGAIN = "name the job file with `--jobs FILE`; `--jobs -` reads it from standard input"
ADOPT = f"if batchproc made it, `batchproc run JOBS -o {OUT} --adopt` takes it over"

pytestmark = [  # called in this process, a program that gives up leaves files open which its end would close
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Runs:
    """Runs against simulated providers, one for each kind of settings."""

    def __init__(self, call: Call, url: Callable[..., str]) -> None:
        self.call, self.url = call, url

    def run(self, options: str = "", **settings: object) -> tuple[int, str]:
        """A run of `jobs.jsonl`."""
        return self.call(f"run jobs.jsonl --base-url {self.url(**settings)} {options}")

    def done(self, code: int = 0, options: str = "", **settings: object) -> None:
        """A run that ended with this code."""
        seen = self.run(options, **settings)
        assert seen[0] == code, seen[1]


@pytest.fixture
def runs(call: Call, simulators: Callable[..., str]) -> Runs:
    return Runs(call, simulators)


def test_the_provider_refuses(runs: Runs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4: no key where one is wanted, a wrong one, no money, no such model."""
    refused = "Incorrect API key provided<…>"
    is_said(
        runs.run(key="right"),
        4,
        "<…>",
        "no key was sent: set OPENAI_API_KEY, or name a file with `--api-key-file`; "
        "then run the same command again: nothing is lost",
    )
    mend = "mend it at the provider (key, money, account); then run the same command again: nothing is lost"
    (folder / "k").write_text("wrong")
    is_said(runs.run("--api-key-file k", key="right"), 4, refused, mend)
    is_said(runs.run("--api-key-file k -o o", quota_after=0), 4, "You exceeded your current quota<…>", mend)
    (folder / "jobs.jsonl").write_text(JOB * 30)
    is_said(
        runs.run("-o p", models=("another",)),
        4,
        "The model `gpt-4o-mini` does not exist<…>",
        "correct the model's name in the jobs or with `--model`; no job was failed for it",
    )


def test_guards(runs: Runs, folder: Path, call: Call) -> None:
    """Exit 5: too many failures, time-outs, nobody there, the time is up, the budget is spent."""
    (folder / "jobs.jsonl").write_text(JOB * 200)
    is_said(
        runs.run("--fail-over 5% --concurrency 2 -o a", faults=("400=1",)),
        5,
        "<…> of the first <…> jobs failed, more than --fail-over allows",
        "look at the errors above; run the same command again to go on, with a higher `--fail-over` or none",
    )
    is_said(
        runs.run("--timeout 0.2 -o b", faults=("hang=1",)),
        5,
        "the first 5 jobs all ran into the time-out",
        "raise `--timeout`, then run the same command again",
    )
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        is_said(
            call(f"run jobs.jsonl -o c --base-url http://127.0.0.1:{nobody.getsockname()[1]}/v1 --max-wait 0"),
            5,
            "the server has not answered for <…> s: <…>",
            "if the address and the network are right, run the same command again later: it goes on where it stopped; "
            "`--max-wait` sets how long to wait",
        )
    is_said(
        runs.run("--max-wait 0 -o g --rpd 5"),
        5,
        "gpt-4o-mini has used up its requests per day: the next fits in <…>",
        "run the same command again later: it goes on where it stopped; `--max-wait` sets how long to wait",
    )
    is_said(
        runs.run("--stop-after 0.1 --drain 0 -o d", latency="5"), 5, "the time of --stop-after is up (0.1 s)", GO_ON
    )
    said = is_said(
        runs.run("--max-total-tokens 600 --assume-max-output 200 -o e"),
        5,
        "<…> tokens of `--max-total-tokens` 600 tokens is spent, and the next job (line <…>) may take up to <…> tokens",
        "run the same command with a higher `--max-total-tokens`: it goes on where it stopped; "
        "a maximum of output tokens in the jobs, or `--assume-max-output`, makes them fit closer",
    )
    assert "--max-total-tokens 1200" in said.err, "the next command has twice the budget"
    (folder / "jobs.jsonl").write_text(JOB.replace("}\n", ', "max_tokens": 200}\n') * 200)
    is_said(
        runs.run("--max-total-tokens 600 -o f"),
        5,
        "<…> tokens of `--max-total-tokens` 600 tokens is spent, and the next job (line <…>) may take up to <…> tokens",
        "run the same command with a higher `--max-total-tokens`: it goes on where it stopped",
    )


def test_a_budget_after_answers_without_a_price(runs: Runs, folder: Path) -> None:
    """Exit 2: what was spent is not known, so the budget cannot be kept."""
    own = JOB.replace("gpt-4o-mini", "own")
    (folder / "jobs.jsonl").write_text(own)
    runs.done()
    (folder / "jobs.jsonl").write_text(own + JOB)
    is_said(
        runs.run("--max-cost 5"),
        2,
        "earlier runs have answers of `own`, whose price is not known, so `--max-cost` cannot be kept",
        "name a price list with `--prices FILE`, or leave `--max-cost` out",
    )


def test_files_that_changed(runs: Runs, folder: Path) -> None:
    """Exit 6: the input, or a setting, is not what was answered."""
    runs.done()
    is_said(
        runs.run("--endpoint /v1/responses"),
        6,
        "this run was started with other settings: `--endpoint` was not set and is now `/v1/responses`",
        CHANGED,
    )
    (folder / "jobs.jsonl").write_text(JOB + JOB.replace("Hello", "Good bye") + JOB)
    is_said(runs.run(), 6, "line 2 of the input (job 1) is answered already, and reads differently now", PUT_BACK)
    (folder / "jobs.jsonl").write_text(JOB * 2)
    is_said(runs.run(), 6, "the input has 2 jobs, but 3 are answered already", PUT_BACK)


def test_outputs_that_are_not_ours(runs: Runs, folder: Path) -> None:
    """Exit 6: made by something else, by a newer batchproc, from other jobs."""
    (folder / OUT).write_text("{}\n")
    is_said(
        runs.run(),
        6,
        f"`{OUT}` exists, and there is no checkpoint `{OUT}.ckpt` that says this run made it",
        "choose another output with `-o`; `--adopt` takes it over if its lines answer these jobs; "
        "`--fresh` starts over (the old file is renamed, not deleted)",
    )
    is_said(
        runs.run("--adopt"),
        6,
        f"line 1 of `{OUT}` is not the result of job 0: <…>",
        "nothing was changed; name the input it was made from, or choose another output with `-o`",
    )
    (folder / f"{OUT}.ckpt").write_bytes(header_records(Header({}, 99)))
    newer, update = (
        f"`{OUT}.ckpt` was written by a newer batchproc",
        "go on with that version: `pip install --upgrade batchproc`",
    )
    is_said(runs.run(), 6, newer, update)
    is_said(runs.call(f"retry {OUT} --jobs jobs.jsonl --simulate"), 6, newer, update)


def test_a_second_run(runs: Runs, folder: Path) -> None:
    """Exit 6: the first one is named; `finish` and `retry` say how to look at it."""
    runs.done(code=5, options="--stop-after 0.1 --drain 0", latency="5")
    lock = OutputLock(OUT)
    lock.acquire()
    try:
        owner = f"`{OUT}` is being written by another batchproc (process <…> on <…>)"
        is_said(
            runs.run(), 6, owner, "wait for it or stop it; `--break-lock` takes over if you are sure that it is gone"
        )
        is_said(runs.call(f"finish {OUT}"), 6, owner, "wait for it or stop it: `batchproc status` tells how far it is")
    finally:
        lock.release()


def test_finish(runs: Runs, folder: Path) -> None:
    """Exit 2: not asked, or the jobs are gone, or came through a pipe, or were never named."""
    runs.done(code=5, options="--stop-after 0.1 --drain 0", latency="5")
    is_said(
        runs.call(f"finish {OUT}"),
        2,
        "`finish` closes a run for good, and there is no terminal to ask on",
        "add `--yes` if that is what you want",
    )
    jobs = folder / "jobs.jsonl"
    jobs.rename(folder / "moved.jsonl")
    is_said(
        runs.call(f"finish {OUT} --yes"),
        2,
        f"the job file `{jobs}` is not there any more",
        f"put it back, or {AGAIN}",
    )
    ckpt = folder / f"{OUT}.ckpt"
    ckpt.write_bytes(header_records(Header({})))
    is_said(
        runs.call(f"finish {OUT} --yes"), 2, f"the checkpoint of `{OUT}` does not say which job file it answers", AGAIN
    )


def test_retry(runs: Runs, folder: Path, call: Call) -> None:
    """Exit 6: the run is unfinished, the files are not those of the run, a retry is not through."""
    (folder / OUT).write_text("{}\n")
    is_said(
        call(f"retry {OUT} --simulate"), 6, f"there is no checkpoint `{OUT}.ckpt` that says a run made `{OUT}`", ADOPT
    )
    (folder / OUT).unlink()
    runs.done(code=5, options="--stop-after 0.1 --drain 0", latency="5")
    again = f"retry {OUT} --base-url {runs.url(latency='5')}"
    is_said(
        call(again),
        6,
        f"the run that writes `{OUT}` is unfinished: only a finished one can be retried",
        f"`batchproc status {OUT}` tells the command that goes on; `batchproc finish {OUT}` closes the run",
    )
    assert call(f"finish {OUT} --yes")[0] == 3
    other = "this run was started with other settings: `--base-url` was <…> and is now <…>"
    is_said(call(f"retry {OUT} --base-url {runs.url()}"), 6, other, CHANGED)
    (folder / "jobs.jsonl").write_text(JOB * 2)
    is_said(call(again + " --stop-after 1"), 6, "the input has 2 jobs, but the output has 3", PUT_BACK)
    (folder / "jobs.jsonl").write_text(JOB * 3)
    is_said(call(again + " --stop-after 0.1 --drain 0"), 5, "the time of --stop-after is up (0.1 s)", GO_ON)
    is_said(
        runs.run(latency="5"),
        6,
        f"a retry of `{OUT}` is not through yet",
        f"`batchproc retry` goes on with it; `batchproc status {OUT}` tells the whole command",
    )


def test_report(runs: Runs, folder: Path, call: Call) -> None:
    """Exit 2: the page cannot go there."""
    runs.done()
    is_said(
        call(f"report {OUT} --html ."), 2, "`.` is a folder", "name the file to write, for example `--html report.html`"
    )
    is_said(
        call(f"report {OUT} --html {OUT}"), 2, f"`--html {OUT}` would overwrite a file of the run", "name another file"
    )


def test_a_damaged_archive(runs: Runs, folder: Path) -> None:
    """Exit 2 when the damage is met, however late; what was answered is saved."""
    (folder / "jobs.jsonl").write_bytes(gzip.compress(JOB.encode() * 50)[:-9])
    is_said(
        runs.run(),
        2,
        "the input is damaged or cut short: <…>",
        "put a whole copy with the same lines in its place (`gzip -t` or `zstd -t` tests one); what is answered is "
        "saved: run the same command again",
    )


def test_a_port_that_is_taken(call: Call) -> None:
    """Exit 2: `simulate` cannot listen there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        is_said(
            call(f"simulate --port {port}"),
            2,
            f"cannot listen on 127.0.0.1:{port}: address already in use",
            "give another `--port`, or `--port 0` for any free one",
        )
