"""The arguments of `run_jobs`: what is refused at once, in which words, and what the rest means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from apikit import job, take

from batchproc import BatchprocError, Limits, Result, UsageError, run_jobs
from batchproc.api.options import access_of, ahead_of, look_ahead_of, settings_of
from batchproc.api.text import text_of
from batchproc.api.wording import in_python
from batchproc.cli.retry import retry
from batchproc.cli.run import run as command
from batchproc.price import PICO

DEFAULTS = {n: p.default for n, p in inspect.signature(run_jobs).parameters.items() if n != "jobs"}
SERVER = {"base_url": "http://127.0.0.1:8000/v1"}

REFUSED: list[tuple[dict[str, Any], type[Exception], str, str]] = [
    ({"rpm": "3500"}, TypeError, "`rpm` must be a whole number, not str", "no silent conversion"),
    ({"rpm": 1.5}, TypeError, "whole number", "half a request"),
    ({"rpm": True}, TypeError, "not bool", "a bool is an int to Python only"),
    ({"tpm": 0}, UsageError, "at least 1", "no limit is None"),
    ({"limits": {"rpm": 3}}, TypeError, "`limits` must be batchproc.Limits, not dict", "the class checks its names"),
    ({"limits": Limits(rpm=-1)}, UsageError, "at least 1", "inside Limits too"),
    ({"limits": Limits(tpm="3")}, TypeError, "`tpm`", "inside Limits too"),  # type: ignore[arg-type]
    ({"models": {"gpt-4o": 3}}, TypeError, "batchproc.Limits", "so are those of one model"),
    ({"timeout": None}, TypeError, "number of seconds", "there is always one"),
    ({"timeout": 0}, UsageError, "more than 0", "nothing could be answered"),
    ({"max_wait": float("nan")}, UsageError, "`max_wait`", "a number that is none"),
    ({"fail_over": 5}, UsageError, "share", "five is no share"),
    ({"on_daily_limit": "go"}, UsageError, "'stop' or 'wait'", "only two"),
    ({"provider": "acme"}, UsageError, "there is no provider 'acme'", "not known"),
    ({"simulate": True, "base_url": None, "api_key": "k"}, UsageError, "`api_key` makes no sense", "no key is needed"),
    ({"simulate": True}, UsageError, "`base_url` makes no sense", "one or the other"),
    ({"base_url": "ftp://x"}, UsageError, "not an http or https address", "the wrong scheme"),
    ({"base_url": "https://me:pw@x/v1"}, UsageError, "user name or password", "secrets do not belong there"),
    ({"base_url": None}, UsageError, "there is no API key", "the default is OpenAI, which wants one"),
    ({"endpoint": "//evil"}, UsageError, "plain absolute path", "the key goes nowhere else"),
    ({"model": " "}, UsageError, "`model` is empty", "empty"),
    ({"headers": {"X": 3}}, TypeError, "a string, not int", "a header is text"),
    ({"headers": {"X Y": "3"}}, UsageError, "not one word", "no such name"),
    ({"headers": {"X": "a\nb"}}, UsageError, "no header can carry", "an injection"),
    ({"api_key": "two words"}, UsageError, "not one word", "copied wrong"),
    ({"max_cost": "much"}, UsageError, "amount of dollars", "no number"),
    ({"max_cost": -1}, UsageError, "amount of dollars", "less than nothing"),
    ({"prices": "/nowhere/prices.json"}, UsageError, "prices", "no such file"),
    ({"checkpoint": "c"}, UsageError, "without `output`", "belongs to nothing"),
    ({"output": "-"}, UsageError, "path of a file", "standard output is not ours"),
    ({"output": 3}, TypeError, "a path, not int", "a descriptor"),
    ({"ordered": "no"}, TypeError, "True or False", "a text is true"),
    ({"look_ahead": 0}, UsageError, "`look_ahead`", "nothing could be read"),
    ({"concurrency": "auto"}, TypeError, "`concurrency`", "auto is None here"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "words", "reason"), REFUSED, ids=[f"{r[0]}-{r[3]}" for r in REFUSED])
def test_refused_at_once(options: dict[str, Any], error: type[Exception], words: str, reason: str) -> None:
    """At the call, before anything is begun, in words that name no option of the command."""
    with pytest.raises(error) as caught:
        run_jobs([], **(SERVER | options))
    said = f"{caught.value} {getattr(caught.value, 'hint', '')}"
    assert words in said
    hint = getattr(caught.value, "hint", None)
    assert getattr(caught.value, "__notes__", []) == ([f"hint: {hint}"] if hint else []), "a traceback shows it"
    assert "--" not in said
    assert "two words" not in said


@pytest.mark.parametrize("jobs", ["jobs.jsonl", b"{}", {"model": "m"}, 3, None, run_jobs])
def test_no_iterable_of_jobs(jobs: Any) -> None:
    """What is clearly something else is refused by its type."""
    with pytest.raises(TypeError, match="`jobs` must be an iterable"):
        run_jobs(jobs, **SERVER)


def test_the_arguments_are_the_options_of_the_command() -> None:
    """The same names, and the same defaults; what has no place in a function is left out, and nothing else."""
    ours = set(DEFAULTS) - {"ordered", "look_ahead", "models", "limits", "headers", "api_key"}
    theirs = {p.name: p for p in command.params if p.name is not None}
    assert ours <= set(theirs)
    only = set(theirs) - ours
    assert only == {
        "jobs", "burst", "header", "api_key_file", "accept_changes", "adopt", "fresh", "yes", "break_lock", "limit",
        "progress", "quiet", "verbose", "no_color", "as_json", "config", "print_config",
        "shard", "engine", "workers", "shards", "ray_address",  # for files, and many processes
        "quota", "quota_fraction", "quota_reset", "on_quota_loss",
    }  # fmt: skip
    for name in ours - {"concurrency", "drain"}:
        default = theirs[name].default  # click has a sentinel of its own for none
        assert (default if isinstance(default, int | float | str) else None) == (DEFAULTS[name] or None), name
    assert "only" in {p.name for p in retry.params}, "a retry needs the command"


def test_settings() -> None:
    """Single limits go before those of `limits`; money is exact; paths may be Path objects."""
    given = DEFAULTS | SERVER | {
        "limits": Limits(rpm=10, tpm=20, burst_s=2.0), "rpm": 11, "models": {"gpt-*": Limits(rpd=5)},
        "max_cost": Decimal("0.000000000001"), "output": Path("a/b.jsonl"), "on_daily_limit": "wait",
    }  # fmt: skip
    s = settings_of(given)
    assert s.limits == Limits(rpm=11, tpm=20, burst_s=2.0)
    assert s.limits_for("gpt-4o").rpd == 5
    assert s.max_cost == 1
    assert (s.output, s.checkpoint) == ("a/b.jsonl", "a/b.jsonl.ckpt")
    assert s.wait_for_daily
    assert settings_of(given | {"max_cost": 0.1}).max_cost == PICO // 10
    assert settings_of(given | {"checkpoint": "c"}).checkpoint == "c"


def test_how_far_it_reads_ahead() -> None:
    """In proportion to what may be in flight."""
    for concurrency, look_ahead, ahead in ((None, 10_000, 2000), (1, 1000, 64), (400, 4000, 800)):
        assert look_ahead_of(DEFAULTS | {"concurrency": concurrency}) == look_ahead
        assert ahead_of(DEFAULTS | {"concurrency": concurrency}) == ahead


def test_access_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that begins with @ is no file here; the key, and a header of credentials, are secrets."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    given = DEFAULTS | SERVER | {"headers": {"X-Team": "@7", "Authorization": "Bearer abc"}, "api_key": "sk-given"}
    access = access_of(given, settings_of(given))
    assert access.headers == {"X-Team": "@7", "Authorization": "Bearer abc"}
    assert access.key == "sk-given"
    assert set(access.secrets) == {"sk-given", "Bearer abc", "abc"}
    assert repr(access) == "Access(…)"
    assert access_of(given | {"api_key": None}, settings_of(given)).key == "sk-from-the-environment"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("raise `--max-wait`", "raise `max_wait`"),
        ("say `--endpoint /v1/x`", "say `endpoint=/v1/x`"),
        ("set A, or name a file with `--api-key-file`", "set A, or give `api_key`"),
        ("`--simulate` tries it", "`simulate` tries it"),
        ("a - b -- c", "a - b -- c"),
    ],
)  # fmt: skip
def test_words(said: str, expected: str) -> None:
    """Hints for a command line become hints for a call."""
    assert in_python(said) == expected


def test_every_hint_of_the_engine_can_be_said_in_python() -> None:
    """No exception speaks of an option with dashes, but where it says that the command has it, and of what is typed."""
    source = Path(inspect.getfile(run_jobs)).parent.parent
    texts = [t for room in ("core", "engine", "building", "store") for f in (source / room).glob("*.py")
             for t in re.findall(r'"([^"\n]*--[a-z][^"\n]*)"', f.read_text(encoding="utf-8"))]  # fmt: skip
    assert len(texts) > 10
    for text in texts:
        ours, _, theirs = in_python(text).partition("with the command: ")
        assert not re.search(r"--[a-z]", re.sub(r"`[a-z][a-z-]* [^`]*`", "", ours)), text
        assert not theirs or re.match(r"`--(accept-changes|adopt|fresh|break-lock)`", theirs), text


TEXTS: list[tuple[Any, str | None, str]] = [
    ({"choices": [{"message": {"content": "hi"}}]}, "hi", "a chat"),
    ({"choices": [{"message": {"content": None, "tool_calls": []}}]}, None, "a call of a tool"),
    ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "image"}]}}]}, "a", "parts"),
    ({"choices": [{"text": "hi"}, {"text": "no"}]}, "hi", "a completion, the first choice"),
    ({"choices": []}, None, "none"),
    ({"output": [{"type": "reasoning"}, {"content": [{"type": "output_text", "text": "a"}]},
                 {"content": [{"type": "output_text", "text": "b"}]}]}, "ab", "a response"),
    ({"content": [{"type": "thinking", "text": "x"}, {"type": "text", "text": "a"}]}, "a", "a message of Anthropic"),
    ({"data": [{"embedding": [0.1]}]}, None, "an embedding"),
    ("text", None, "no object"),
    (None, None, "no body"),
    ({"choices": "x"}, None, "hostile"),
    ({"choices": [3]}, None, "hostile"),
    ({"output": {"a": 1}}, None, "hostile"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text", "reason"), TEXTS, ids=[t[2] for t in TEXTS])
def test_text(body: Any, text: str | None, reason: str) -> None:
    """Wherever an API puts it."""
    assert text_of(body) == text


async def test_a_result_shows_itself(serving: Callable[..., Any]) -> None:
    """Short, without the answer."""
    server = await serving()
    results: list[Result] = []
    await take(run_jobs([job(0), {"model": ""}], base_url=server.url), results)
    assert repr(results[0]) == "<Result 0 'request-0' ok>"
    assert repr(results[1]) == "<Result 1 'request-1' error='invalid_job'>"


async def test_the_key_is_in_no_exception(serving: Callable[..., Any]) -> None:
    """Not in its words, nor in what hangs on it."""
    server = await serving(key="sk-another-key-0123456789")
    secret = "sk-a-key-that-is-wrong-0123456789"
    with pytest.raises(BatchprocError) as caught:
        await take(run_jobs([job(0)], base_url=server.url, api_key=secret), [])
    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__
