"""Errors that a user can cause by what is typed: how, and the words they meet. `<…>` stands for what differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Prepare = Callable[[Path], object]
JOB = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}\n'
OUT = "jobs.results.jsonl"
ADDRESS = "give it as the OpenAI SDK takes it, for example `https://api.openai.com/v1` or `http://localhost:8000/v1`"
HELP = "`batchproc run --help` lists what can be given"
SHAPE = 'it is one JSON object: {"my-model": {"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06}}'
NO_JOBS = (
    'one JSON object a line is needed, such as {"model": "gpt-4o-mini", "messages": […]}; '
    "the README shows how to make one"
)
TABLES = 'limits of one model stand in a table of its own, such as [models."gpt-4o"]'
TO_A_FILE = "leave it out, or write to a file: `-o results.jsonl`"
KEY_FILE = "name a text file that holds the key and nothing else"
AGAIN = "name the job file with `--jobs FILE`; `--jobs -` reads it from standard input"
ADOPT = "if batchproc made it, `batchproc run JOBS -o jobs.results.jsonl --adopt` takes it over"


@dataclass(frozen=True)
class Row:
    """`typed` after `batchproc`, in a folder with `jobs.jsonl` of three good jobs, after `before`."""

    typed: str
    code: int
    error: str
    hint: str
    before: Prepare | None = None
    env: dict[str, str] = field(default_factory=dict)


def write(name: str, text: str | bytes) -> Prepare:
    """Puts a file there."""
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(data)


def made(name: str) -> Prepare:
    """Puts a folder there."""
    return lambda folder: (folder / name).mkdir()


def config(text: str) -> Prepare:
    """Puts a file of settings there."""
    return write("c.toml", text)


def prices(document: object) -> Prepare:
    """Puts a price list there."""
    return write("p.json", json.dumps(document))


TYPED = [
    Row("run", 2, "missing argument 'JOBS'", HELP),
    Row("rum", 2, "no such command 'rum'<…>", "`batchproc --help` lists what can be given"),
    Row("run jobs.jsonl --rmp 5", 2, "no such option<…>'--rmp'<…>", HELP),
    Row("run a.jsonl", 2, "there is no file `a.jsonl`", "check the name; `-` reads from standard input"),
    Row("run .", 2, "`.` is a directory, not a job file", "name a .jsonl file, or `-` for standard input"),
    Row("run - --simulate", 2, "jobs come from standard input, so the output needs a name", "add `-o results.jsonl`"),
    Row("check - --checkpoint c", 2, "`--checkpoint` needs the output it belongs to", "add `-o results.jsonl`"),
    Row(
        "run jobs.jsonl --simulate -o - --json",
        2,
        "`--json` and `-o -` both want standard output",
        "write the results to a file: `-o results.jsonl`",
    ),
    Row(
        "run jobs.jsonl --simulate --adopt --fresh",
        2,
        "`--adopt` and `--fresh` contradict each other",
        "leave one of the two out: `--adopt` keeps the output, `--fresh` puts it aside",
    ),
    Row(
        "run jobs.jsonl --simulate -o - --adopt",
        2,
        "`--adopt` makes no sense with `-o -`: there is no file to take over",
        TO_A_FILE,
    ),
    Row(
        "run jobs.jsonl --simulate -o - --fresh",
        2,
        "`--fresh` makes no sense with `-o -`: there is no file to start over",
        TO_A_FILE,
    ),
    Row("run jobs.jsonl --simulate -o d", 2, "the output `d` is a directory", "name a file with `-o`", made("d")),
    Row(
        "run jobs.jsonl --simulate --checkpoint d",
        2,
        "the checkpoint `d` is a directory",
        "name a file with `--checkpoint`",
        made("d"),
    ),
    Row(
        "run jobs.jsonl --simulate -o /dev/null",
        2,
        "the output `/dev/null` is not a plain file",
        "name a plain file with `-o`; `-o -` writes to standard output",
    ),
    Row(
        "run jobs.jsonl --simulate -o 'my runs/o'",
        2,
        "there is no folder `my runs` for the output",
        "make it first: `mkdir -p 'my runs'`",
    ),
    Row(
        "run jobs.jsonl --simulate -o jobs.jsonl",
        2,
        "jobs, output, checkpoint and lock must be different files",
        "name another output with `-o`",
    ),
    Row(
        f"run jobs.jsonl --simulate --fresh -o {OUT}",
        2,
        f"`--fresh` would start over although `{OUT}` exists",
        "add `--yes` if that is what you want",
        write(OUT, "{}\n"),
    ),
    Row(
        "run - --simulate --adopt -o o",
        2,
        "`--adopt` compares the output with the jobs, and cannot read them twice from a pipe",
        "write the jobs to a file, and name that",
        write("o", "{}\n"),
    ),
    Row(
        "run jobs.jsonl --simulate --provider openai",
        2,
        "`--simulate` and `--provider openai` contradict each other",
        "leave one of the two out",
    ),
    Row(
        "run jobs.jsonl --simulate --base-url http://127.0.0.1/v1",
        2,
        "`--base-url` makes no sense with the embedded provider",
        "leave one of the two out; `batchproc simulate` serves one at an address of its own",
    ),
    Row(
        "run jobs.jsonl --model ''",
        2,
        "`--model` is empty",
        "name one, for example `--model gpt-4o-mini`, or leave it out",
    ),
    Row(
        "run jobs.jsonl --endpoint http://x/y",
        2,
        "`--endpoint http://x/y` is not a plain absolute path",
        "for example `--endpoint /v1/chat/completions`",
    ),
    # numbers
    Row(
        "run jobs.jsonl --rpm many",
        2,
        "invalid value for '--rpm': `many` is not a number such as `3500`, `3.5k` or `2m`",
        HELP,
    ),
    Row(
        "run jobs.jsonl --rpm 0",
        2,
        "invalid value for '--rpm': `0` is too small: it must be at least 1; leave the option out for no limit",
        HELP,
    ),
    Row(
        "run jobs.jsonl --timeout soon",
        2,
        "invalid value for '--timeout': `soon` is not a duration such as `90`, `10m` or `1h30m`",
        HELP,
    ),
    Row(
        "run jobs.jsonl --timeout 0",
        2,
        "invalid value for '--timeout': `0` is too short: it must be more than 0",
        HELP,
    ),
    Row(
        "run jobs.jsonl --fail-over 120%",
        2,
        "invalid value for '--fail-over': `120%` is not a share such as `5%` or `0.05`",
        HELP,
    ),
    Row(
        "run jobs.jsonl --max-cost cheap",
        2,
        "invalid value for '--max-cost': `cheap` is not an amount of dollars such as `5` or `0.25`",
        HELP,
    ),
    # where requests go
    Row("run jobs.jsonl --base-url 'http://[x/v1'", 2, "the base URL `http://[x/v1` cannot be read: <…>", ADDRESS),
    Row(
        "run jobs.jsonl --base-url localhost/v1",
        2,
        "the base URL `localhost/v1` is not an http or https address",
        ADDRESS,
    ),
    Row(
        "run jobs.jsonl --base-url http://a..é/v1",
        2,
        "the base URL `http://a..\\xe9/v1` cannot be read: it is no text, or no name of a host",
        ADDRESS,
    ),
    Row(
        "run jobs.jsonl --base-url http://me:secret@host/v1",
        2,
        "the base URL contains a user name or password",
        "give secrets by `--header NAME=@FILE`",
    ),
    Row(
        "run jobs.jsonl --base-url http://host/v1?a=b",
        2,
        "the base URL `http://host/v1?a=b` has a query, a fragment, or white space",
        ADDRESS,
    ),
    Row(
        "run jobs.jsonl --provider azure",
        2,
        "Azure OpenAI has no address of its own for everybody: which resource is yours is not known",
        "add `--base-url https://RESOURCE.openai.azure.com`, or set AZURE_OPENAI_ENDPOINT",
    ),
    Row(
        "run jobs.jsonl",
        2,
        "there is no API key for https://api.openai.com/v1",
        "set OPENAI_API_KEY, or name a file with `--api-key-file`; `--simulate` tries batchproc without a key",
    ),
    Row(
        "run jobs.jsonl",
        2,
        "the key in `OPENAI_API_KEY` is not one word of plain characters",
        "copy it again, the whole of it and nothing else",
        env={"OPENAI_API_KEY": "two words"},
    ),
    Row(
        "run jobs.jsonl --api-key-file k",
        2,
        "the key file `k` cannot be read: No such file or directory",
        KEY_FILE,
    ),
    Row("run jobs.jsonl --api-key-file k", 2, "the key file `k` is empty", KEY_FILE, write("k", "\n")),
    Row(
        "run jobs.jsonl --simulate --header secret",
        2,
        "a `--header` is not of the form NAME=VALUE",
        "for example `--header X-Team=7`, or NAME=@FILE for secrets",
    ),
    Row(
        "run jobs.jsonl --simulate --header X=@k",
        2,
        "the file of `--header X` cannot be read: No such file or directory",
        "name a text file that holds the value alone; a value that begins with `@` cannot be given",
    ),
    Row(
        "run jobs.jsonl --simulate --header X=ü",
        2,
        "the value of `--header X` has characters that no header can carry",
        "use one line of plain ASCII",
    ),
    # prices and budgets
    Row(
        "run jobs.jsonl --simulate --prices p.json",
        2,
        "the price list `p.json` cannot be read: No such file or directory",
        SHAPE,
    ),
    Row(
        "check jobs.jsonl --prices p.json",
        2,
        "the price list `p.json` is larger than 64 MiB",
        SHAPE,
        lambda folder: (folder / "p.json").open("wb").truncate((64 << 20) + 1),
    ),
    Row("check jobs.jsonl --prices p.json", 2, "the price list `p.json` is not JSON: <…>", SHAPE, write("p.json", "x")),
    Row("check jobs.jsonl --prices p.json", 2, "the price list `p.json` is not an object of models", SHAPE, prices([])),
    Row("check jobs.jsonl --prices p.json", 2, "the price list `p.json` has no prices per token", SHAPE, prices({})),
    Row("check jobs.jsonl --prices p.json", 2, "the entry `m` in `p.json` is not an object", SHAPE, prices({"m": 1})),
    Row(
        "check jobs.jsonl --prices p.json",
        2,
        "`input_cost_per_token` of `m` in `p.json` is no price in dollars: 'free'",
        "give dollars for one token, for example 1e-06",
        prices({"m": {"input_cost_per_token": "free"}}),
    ),
    Row(
        "run jobs.jsonl --simulate --max-cost 5",
        2,
        "no price is known for `own` (line 1), so `--max-cost` cannot be kept",
        "name a price list with `--prices FILE`, or leave it out: `--max-total-tokens` needs no price",
        write("jobs.jsonl", JOB.replace("gpt-4o-mini", "own")),
    ),
    Row(
        "run jobs.jsonl --simulate --max-total-tokens 5k",
        2,
        "line 1 names no maximum of output tokens, and none is known for `own`: the budget cannot be kept",
        "give the job a maximum (`max_completion_tokens`, `max_tokens`, `max_output_tokens`), "
        "or say `--assume-max-output N`",
        write("jobs.jsonl", JOB.replace("gpt-4o-mini", "own")),
    ),
    # job files that are none
    Row(
        "run jobs.jsonl --simulate",
        2,
        "this is not a job file: none of the first 3 lines is a job; it looks like CSV",
        NO_JOBS,
        write("jobs.jsonl", "id,text\n1,a\n2,b\n"),
    ),
    Row(
        "run jobs.jsonl --simulate",
        2,
        "this is not a job file: its first line is not a job; "
        "it looks like one JSON array: write each element on a line of its own",
        NO_JOBS,
        write("jobs.jsonl", f"[{JOB.strip()}]"),
    ),
    Row(
        "run jobs.jsonl --simulate",
        2,
        "the input is damaged or cut short: <…>",
        "put a whole copy with the same lines in its place (`gzip -t` or `zstd -t` tests one); what is answered is "
        "saved: run the same command again",
        write("jobs.jsonl", bytes.fromhex("28b52ffd") + b"\xff" * 90),
    ),
    # a file of settings
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "the config file `c.toml` cannot be read: No such file or directory",
        "name a text file of settings with `--config`",
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "the config file `c.toml` is not TOML: <…>",
        'a file looks like this: rpm = 3500, stop-after = "6h", header = ["X-Team=7"], each on its own line',
        config("rpm 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: there is no setting `rmp`",
        "did you mean `rpm`?",
        config("rmp = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: there is no setting `qqqq`",
        "`batchproc run --help` lists them all",
        config("qqqq = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: a config file cannot name another one",
        "put everything into one file",
        config("config = 'd.toml'"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: there is no table [limits]",
        f"settings of the run stand in none; {TABLES}",
        config("[limits]\nrpm = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: `jobs` is no setting: it is named on the command line",
        "type `batchproc run JOBS --config c.toml`",
        config("jobs = 'j'"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: `max_wait` and `max-wait` are the same setting",
        "leave one of the two out",
        config("max-wait = 5\nmax_wait = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: `rpm`: `-5` is not a number such as `3500`, `3.5k` or `2m`",
        "`batchproc run --help` says what it takes",
        config("rpm = -5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: `models` must be a table for each model",
        TABLES,
        config("models = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: `models.m` must be a table",
        TABLES,
        config("[models]\nm = 5"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: the model `a*b`: a `*` may only be at the end",
        'for example [models."gpt-4o*"]',
        config('[models."a*b"]\nrpm = 1'),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 1: `1` of the model `gpt-4` is a table",
        'a name with dots needs quotes, perhaps [models."gpt-4.1"]',
        config("[models.gpt-4.1]\nrpm = 1"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: there is no `timeout` of the model `m`",
        "`timeout` is for the whole run: put it before the first [table]",
        config("[models.m]\ntimeout = 1"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: there is no `zzzz` of the model `m`",
        "a model can have rpm, tpm, rpd, tpd, itpm, otpm",
        config("[models.m]\nzzzz = 1"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: `rpm` of the model `m`: it must be a number, or a text in quotes",
        'a limit is a number such as 3500 or "2m"',
        config("[models.m]\nrpm = true"),
    ),
    Row(
        "run jobs.jsonl --config c.toml",
        2,
        "c.toml, line 2: `rpm` of the model `m`: `no` is not a number such as `3500`, `3.5k` or `2m`",
        'a limit is a number such as 3500 or "2m"',
        config('[models.m]\nrpm = "no"'),
    ),
    # the other commands, before there is a run
    Row(
        f"status {OUT}",
        2,
        f"there is no file `{OUT}`",
        "name the results file of a run, as its last words do",
    ),
    Row("status .", 2, "`.` is a folder", "name the results file of a run"),
    Row(
        f"status {OUT}",
        6,
        f"there is no checkpoint `{OUT}.ckpt` that says a run made `{OUT}`",
        ADOPT,
        write(OUT, "{}\n"),
    ),
    Row(
        "retry -",
        2,
        "`retry` needs the results file of a finished run, not `-`",
        "name it: `batchproc retry results.jsonl`",
    ),
    # the simulated provider
    Row(
        "simulate --host 0.0.0.0",
        2,
        "the simulated provider serves loopback addresses only, not `0.0.0.0`",
        "use `--host 127.0.0.1`",
    ),
    Row("simulate --port 70000", 2, "`70000` is not a port", "use 0 to 65535; 0 takes any free one"),
    Row("simulate --quota-after -1", 2, "`quota_after` must not be negative, as -1 is", "use 0 for none"),
    Row(
        "simulate --queue few",
        2,
        "invalid value for '--queue': `few` is neither a whole number nor `inf`",
        "`batchproc simulate --help` lists what can be given",
    ),
    Row("simulate --fault 999=5%", 2, "`999` is not a kind of fault", "use `any`, <…>"),
    Row("simulate --fault 500=lots", 2, "`500=lots` has no probability", "write `500=5%` or `500=0.05`"),
    Row(
        "simulate --fault 500=60% --fault 503=60%",
        2,
        "the faults' probabilities add up to more than 100%",
        "lower some of them",
    ),
    Row(
        "simulate --latency slow",
        2,
        "`slow` is not a latency",
        "give seconds (`0.2`), a range (`0.05-0.4`) or `lognormal:MEDIAN,SIGMA` (`lognormal:0.15,0.5`)",
    ),
    Row(
        "simulate --port 0 --ledger no/such/file",
        2,
        "cannot write the ledger `no/such/file`: No such file or directory",
        "name a file you may write to with `--ledger`",
    ),
]
