"""Parsing `run` without running it, and values for every option it has, now and later."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from batchproc.cli.main import cli
from batchproc.cli.params import HEADER
from batchproc.cli.run import run

OPTIONS = [p for p in run.params if isinstance(p, click.Option) and p.name != "config"]


def parse(*args: str) -> click.Context:
    """`run` as it is parsed, below the program's own context."""
    parent = click.Context(cli, info_name="batchproc")
    return run.make_context("run", ["jobs.jsonl", *args], parent=parent)


def samples(option: click.Option) -> tuple[Any, str, list[str], list[Any]]:
    """A file's value, the environment's, the words of the command line, and what each of these comes to."""
    assert isinstance(option.envvar, str)
    flag = next(o for o in option.opts if o.startswith("--"))
    if option.is_flag:
        return True, "false", [flag], [True, False, True]
    if option.count:
        return 1, "2", [flag] * 3, [1, 2, 3]
    if isinstance(option.type, click.Choice):
        a, b, c = ([*option.type.choices] * 3)[:3]
        return a, b, [flag, c], [a, b, c]
    kinds = (
        ("A=7", "B=8", "C=9"),
        ("7", "8", "9"),
        ("0.1", "0.2", "0.3"),
        ("0/3", "1/3", "2/3"),
        ("x", "y", "z"),
        ("sqlite:///x", "sqlite:///y", "sqlite:///z"),
    )
    for texts in kinds:
        if (option.type is HEADER) != ("=" in texts[0]):
            continue
        with contextlib.suppress(click.UsageError):
            one = [option.type_cast_value(click.Context(run), [t] if option.multiple else t) for t in texts]
            return [texts[0]] if option.multiple else texts[0], texts[1], [flag, texts[2]], one
    raise AssertionError(f"this test has no values for {flag}")
