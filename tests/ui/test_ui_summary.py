"""The last words."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchproc.snapshot import ErrorGroup, ModelRate, Summary
from batchproc.ui.console import Audience, Console
from batchproc.ui.summary import counts, print_summary, summary_json, summary_text

FULL = Summary(
    verdict="finished, but 10 jobs failed",
    exit_code=3,
    total=10_000,
    succeeded=9_990,
    failed=10,
    not_run=0,
    resumed=4_000,
    elapsed_s=754.2,
    requests=10_412,
    retries=412,
    rate_limited=2,
    input_tokens=1_234_567,
    output_tokens=234_567,
    models=(
        ModelRate("gpt-4o", 120, 45_000, 3_500, 90_000),
        ModelRate("gpt-4o-mini", 3_412, 850_000, 3_500, None),
    ),
    binding="requests per minute of gpt-4o-mini",
    errors=(
        ErrorGroup("context_length_exceeded", 9, 88, "too long\n\x1b[31m" + "x" * 1000),
        ErrorGroup("not_run", 1, 0, ""),
    ),
    output="jobs.results.jsonl",
    checkpoint="jobs.results.jsonl.ckpt",
    next_command="batchproc retry jobs.results.jsonl",
)
EMPTY = Summary(
    verdict="nothing to do",
    exit_code=0,
    total=0,
    succeeded=0,
    failed=0,
    not_run=0,
    resumed=0,
    elapsed_s=0.04,
    requests=0,
    retries=0,
    rate_limited=0,
    input_tokens=0,
    output_tokens=0,
    models=(),
    binding="",
    errors=(),
    output="",
    checkpoint=None,
    next_command=None,
)


def test_the_whole_of_it() -> None:
    """Every row has its label once, columns are aligned, messages are cut to the width."""
    lines = summary_text(FULL, False, width=80).splitlines()
    assert lines[:-4] == [
        "finished, but 10 jobs failed",
        "10,000 jobs = 9,990 succeeded + 10 failed + 0 not run",
        "resumed:   4,000 jobs answered by earlier runs",
        "time:      12 min 34 s, 10,412 requests (412 retries, 2 × 429)",
        "rates:     gpt-4o-mini  3,412 RPM of 3,500  850k TPM",
        "           gpt-4o       120 RPM of 3,500    45k TPM of 90k",
        "held back: by requests per minute of gpt-4o-mini",
        "tokens:    1,234,567 in + 234,567 out",
    ]
    assert lines[-4].startswith("failed:    9 × context_length_exceeded, first at line 88: too long\\n\\x1b[31mxx")
    assert len(lines[-4]) == 80
    assert lines[-3:] == [
        "           1 × not_run",
        "files:     jobs.results.jsonl, checkpoint jobs.results.jsonl.ckpt",
        "next:      batchproc retry jobs.results.jsonl",
    ]


def test_nothing_to_say() -> None:
    """What did not happen has no row."""
    expected = "nothing to do\n0 jobs = 0 succeeded + 0 failed + 0 not run\ntime:      0.0 s"
    assert summary_text(EMPTY, False) == expected


def test_colour_changes_no_word() -> None:
    """Without its colours the coloured text is the plain one, and the plain one has no escape."""
    plain = summary_text(FULL, False)
    assert re.sub(r"\x1b\[\d*m", "", summary_text(FULL, True)) == plain
    assert "\x1b" not in plain


def test_many_errors_and_models() -> None:
    """Of many kinds the most frequent are shown, and how many there are besides."""
    many = replace(
        FULL,
        errors=tuple(ErrorGroup(f"code_{i}", 100 - i, i, "") for i in range(8)),
        models=tuple(ModelRate(f"m{i}", i, 0, None, None) for i in range(9)),
    )
    text = summary_text(many, False)
    assert "282 × 3 other errors" in text
    assert "and 6 more models" in text
    assert "m8  8 RPM\n" in text
    assert len(text.splitlines()) <= 18


@pytest.mark.parametrize(
    ("total", "not_run", "words", "reason"),
    [
        (10, 3, "10 jobs = 5 succeeded + 2 failed + 3 not run", "all is known"),
        (10, None, "10 jobs = 5 succeeded + 2 failed + 3 not run", "the rest follows"),
        (None, None, "7 jobs = 5 succeeded + 2 failed, the rest of the input was not read", "stopped while reading"),
        (None, 3, "10 jobs = 5 succeeded + 2 failed + 3 not run, the rest was not read", "some were read and not sent"),
    ],
)
def test_counts(total: int | None, not_run: int | None, words: str, reason: str) -> None:
    """The counts are a sum, as far as the input is known."""
    assert counts(replace(EMPTY, total=total, succeeded=5, failed=2, not_run=not_run)) == words, reason


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.booleans(), st.booleans())
def test_counts_add_up(succeeded: int, failed: int, not_run: int, total_known: bool, not_run_known: bool) -> None:
    """Whatever is known of a run, the number on the left is the sum of those on the right."""
    total = succeeded + failed + not_run if total_known else None
    summary = replace(
        EMPTY, total=total, succeeded=succeeded, failed=failed, not_run=not_run if not_run_known else None
    )
    left, *right = (int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", counts(summary)))
    assert left == sum(right)


@pytest.mark.parametrize(
    ("changes", "printed", "reason"),
    [
        ({}, "finished, but 10 jobs failed\n", "not all went well"),
        ({"exit_code": 0}, "", "all went well"),
        ({"error": "bad key", "hint": "set it"}, "finished, but 10 jobs failed\nerror: bad key\nhint: set it\n", "why"),
    ],
)
def test_quiet(changes: dict[str, Any], printed: str, reason: str) -> None:
    """With -q there is the verdict, if it is needed, and the error."""
    out = io.StringIO()
    print_summary(Console(out, Audience("none", False)), replace(FULL, **changes), quiet=True)
    assert out.getvalue() == printed, reason


def test_error_comes_last() -> None:
    """The error stands nearest to the prompt."""
    out = io.StringIO()
    print_summary(Console(out, Audience("plain", False)), replace(FULL, error="bad key", hint="set it"))
    assert out.getvalue().endswith("results.jsonl\nerror: bad key\nhint: set it\n")


def test_as_json() -> None:
    """`--json` gives one line with the fields by name, whatever stands in them."""
    hostile = replace(FULL, verdict="a\u2028b\ud800\x1b", elapsed_s=float("nan"))
    line = summary_json(hostile)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    document = json.loads(line)
    assert document["verdict"] == "a\u2028b\ud800\x1b"
    assert document["elapsed_s"] is None
    assert document["errors"][0]["code"] == "context_length_exceeded"
    assert list(document) == list(Summary.__struct_fields__)
