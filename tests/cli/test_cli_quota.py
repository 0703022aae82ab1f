"""`--quota` on the command line: what cannot be is said before anything is sent, and no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchproc.cli.main import run_cli

JOB = '{"model": "m", "messages": [{"role": "user", "content": "x"}]}\n'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quota", "sqlite:q.quota"], "none is given"),
        (["--quota", "sqlite:no/q.quota", "--rpm", "9"], "no folder"),
        (["--quota", "sqlite:jobs.jsonl", "--rpm", "9"], "not a database"),
        (["--quota", "redis://:s3cret@127.0.0.1:1/0", "--rpm", "9"], "127.0.0.1:1 "),
        (["--quota", "http://x", "--rpm", "9"], "no place"),
        (["--quota", "redis://:s3cret@", "--rpm", "9"], "no place"),
        (["--quota", "sqlite:q", "--rpm", "9", "--quota-fraction", "0"], "too little"),
        (["--quota", "sqlite:q", "--rpm", "9", "--on-quota-loss", "hope"], "hope"),
    ],
)
def test_a_quota_that_cannot_be(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and what to do; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.jsonl").write_text(JOB)
    assert run_cli(["run", "jobs.jsonl", "--base-url", "http://127.0.0.1:1/v1", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "hint:" in said
    assert "s3cret" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["jobs.jsonl"]


def test_print_config_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """And what it prints is no file that would connect without it."""
    assert run_cli(["run", "j", "-o", "o", "--quota", "redis://:s3cret@h/0", "--rpm", "1", "--print-config"]) == 0
    said = capsys.readouterr().out
    assert "s3cret" not in said
    line = next(line for line in said.splitlines() if " quota " in line)
    assert line.startswith("#")
    assert "@h/0" in line
