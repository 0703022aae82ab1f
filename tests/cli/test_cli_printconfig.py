"""`--print-config`: what is shown can be written into a file, and says where it came from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from configkit import OPTIONS, parse, samples

from batchproc.cli.config import long_name
from batchproc.cli.printconfig import Setting, as_json, as_text, gather
from batchproc.cli.run import _Option, read_config_file, run
from batchproc.errors import UsageError
from batchproc.settings import RunSettings

SETTINGS = RunSettings("jobs.jsonl", "o.jsonl", "o.jsonl.ckpt", "https://api.openai.com/v1", "openai")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of our variables."""
    monkeypatch.chdir(tmp_path)
    for option in run.params:
        if isinstance(option.envvar, str):
            monkeypatch.delenv(option.envvar, raising=False)


def shown(*args: str, settings: RunSettings = SETTINGS, **environment: str) -> dict[str, Setting]:
    return {s.name: s for s in gather(parse(*args), settings, environment)}


def value(option: click.Option, setting: Setting) -> Any:
    """What a shown value comes to; most are shown as what they are."""
    if option.is_flag or option.count or option.multiple:
        return setting.value
    return option.type.convert(str(setting.value), option, None)


class Cents(click.ParamType):
    """A kind of value that becomes a number which is not what one writes."""

    name = "USD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return int(100 * float(value))


@pytest.mark.parametrize("source", ["flag", "environment BUDGET", "file c.toml, line 1"])
def test_money_is_shown_as_it_was_typed(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A budget of 7 dollars that is kept in cents is no budget of 700 dollars when it is saved and read."""
    option = _Option(["--budget"], type=Cents(), envvar="BUDGET")
    file = _Option(["--config"], is_eager=True, callback=read_config_file)
    (tmp_path / "c.toml").write_text("budget = 7.5\n")
    if source.startswith("env"):
        monkeypatch.setenv("BUDGET", "7.5")
    args = {"f": ["--budget", "7.5"], "e": [], "file": ["--config", "c.toml"]}
    words = args["file" if source.startswith("file") else source[0]]
    context = click.Command("pay", params=[option, file]).make_context("pay", list(words))
    assert context.params["budget"] == 750
    assert gather(context, SETTINGS, {})[0] == Setting("budget", "7.5", source, True)


def test_every_setting_is_there_and_a_default_at_first() -> None:
    """Nothing said: each option but --print-config itself, in their order, from `default`, none to be written."""
    found = shown()
    assert list(found) == [long_name(p) for p in run.params if long_name(p) not in (None, "print-config")]
    assert {s.source for s in found.values()} == {"default"}
    assert not any(s.usable for s in found.values())
    assert tomllib.loads(as_text([*found.values()], "jobs.jsonl")) == {}


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.name != "print_config"], ids=lambda o: str(o.opts[0]))
def test_sources(option: click.Option, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flag, variable by its name, file with its line: for every option."""
    name = long_name(option)
    assert name is not None
    assert isinstance(option.envvar, str)
    in_file, in_environment, words, expected = samples(option)
    if name == "header":
        expected = [["A=…"], ["B=…"], ["C=…"]]
    (tmp_path / "c.toml").write_text(f"# a comment\n{name.replace('-', '_')} = {json.dumps(in_file)}\n")
    file = shown("--config", "c.toml")[name]
    assert (value(option, file), file.source) == (expected[0], "file c.toml, line 2")
    monkeypatch.setenv(option.envvar, in_environment)
    environment = shown("--config", "c.toml")[name]
    assert (value(option, environment), environment.source) == (expected[1], f"environment {option.envvar}")
    flag = shown("--config", "c.toml", *words)[name]
    assert (value(option, flag), flag.source) == (expected[2], "flag")


def test_what_is_printed_can_be_used(tmp_path: Path) -> None:
    """Saved and given to --config, it comes to the same settings: for all options at once, and models."""
    values = {long_name(o): samples(o)[0] for o in OPTIONS if o.name != "print_config"}
    values["header"] = ["X-Key=@a file"]
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    (tmp_path / "a.toml").write_text(text + '[models."gpt-4.1 \\"x\\""]\nrpm = 5\n[models.o3]\ntpm = "2k"\n')
    first = parse("--config", "a.toml")
    printed = as_text(gather(first, SETTINGS, {}), "jobs.jsonl")
    assert all(line[:2] in ("  ", "# ", "") for line in printed.splitlines())
    (tmp_path / "b.toml").write_text(printed)
    second = parse("--config", "b.toml")
    files = first.params.pop("config"), second.params.pop("config")
    assert first.params == second.params
    assert files[0].models == files[1].models == {'gpt-4.1 "x"': {"rpm": 5}, "o3": {"tpm": 2000}}


def test_columns() -> None:
    """Names, values and sources stand below each other; only a very wide value pushes its source aside."""
    lines = as_text(gather(parse("--model", "m" * 60), SETTINGS, {}), "jobs.jsonl").splitlines()[3:]
    wide = [line for line in lines if "mmm" in line]
    assert len(wide) == 1
    assert len({line.index(" = ") for line in lines}) == 1
    assert len({line.rindex("  # ") for line in lines if line not in wide}) == 1


@pytest.mark.parametrize(
    ("args", "settings", "environment", "name", "expected"),
    [
        ([], {}, {}, "output", ("o.jsonl", "default")),
        ([], {}, {}, "base-url", ("https://api.openai.com/v1", "default")),
        (
            [],
            {"base_url": "http://b/v1"},
            {"OTHER": "http://b/v1", "OTHER_BASE_URL": "http://c", "OPENAI_BASE_URL": "http://b/v1/"},
            "base-url",
            ("http://b/v1", "environment OPENAI_BASE_URL"),
        ),
        ([], {}, {}, "provider", ("openai", "default")),
        (["--simulate"], {"provider": "simulated"}, {}, "provider", ("simulated", "flag")),
        (["--simulate"], {"provider": "simulated"}, {"OPENAI_BASE_URL": "http://b"}, "base-url", (None, "default")),
        (["--burst", "1h"], {}, {}, "burst", (3600.0, "flag")),
    ],
)
def test_settings_that_are_worked_out(
    args: list[str], settings: dict[str, Any], environment: dict[str, str], name: str, expected: tuple[Any, str]
) -> None:
    """A default that depends on something else is shown as it comes out."""
    import msgspec

    found = shown(*args, settings=msgspec.structs.replace(SETTINGS, **settings), **environment)[name]
    assert (found.value, found.source) == expected


def test_values_of_headers_are_not_shown() -> None:
    """A value may be a secret; the name of a file is none. What cannot be shown is not offered for a file."""
    found = gather(parse("--header", "Authorization=Bearer made-up", "--header", "X-Key=@key.txt"), SETTINGS, {})
    text, document = as_text(found, "j"), json.loads(as_json(found))
    assert "made-up" not in text + json.dumps(document)
    assert document["header"] == {"value": ["Authorization=…", "X-Key=@key.txt"], "source": "flag"}
    assert "header" not in tomllib.loads(text)
    for wrong in ("Authorization: Bearer made-up==", "made-up"):
        with pytest.raises(UsageError, match="NAME=VALUE") as error:
            gather(parse("--header", wrong), SETTINGS, {})
        assert "made-up" not in f"{error.value.message} {error.value.hint}"


def test_nothing_harms_the_terminal() -> None:
    """Names of files and models are foreign text."""
    text = as_text(gather(parse("--model", "a\x1b[31m\u202e\x9b", "-o", "x\ny"), SETTINGS, {}), "j\n\x1b")
    assert all(line.isprintable() for line in text.splitlines())
    assert tomllib.loads(text) == {"model": "a\x1b[31m\u202e\x9b", "output": "x\ny"}
