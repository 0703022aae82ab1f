"""`--config`: where each option's value comes from, what a file may say, and what is said about one that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.core import ParameterSource
from configkit import OPTIONS, parse, samples

from batchproc.cli.config import ConfigFile, long_name, model_keys, read_config
from batchproc.cli.main import cli
from batchproc.cli.params import AMOUNT
from batchproc.cli.run import run
from batchproc.errors import UsageError
from batchproc.settings import Limits


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of our variables."""
    monkeypatch.chdir(tmp_path)
    for option in run.params:
        if isinstance(option.envvar, str):
            monkeypatch.delenv(option.envvar, raising=False)


@pytest.mark.parametrize("option", OPTIONS, ids=[o.opts[0] for o in OPTIONS])
def test_flag_before_environment_before_file_before_default(
    option: click.Option, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For every option: each source counts where no better one speaks, and click knows which it was."""
    assert option.name is not None
    assert isinstance(option.envvar, str)
    in_file, in_environment, words, expected = samples(option)
    (tmp_path / "c.toml").write_text(f"{long_name(option)} = {json.dumps(in_file)}\n")
    file = ["--config", "c.toml"]
    sources = [
        (parse(), ParameterSource.DEFAULT, parse().params[option.name]),
        (parse(*file), ParameterSource.DEFAULT_MAP, expected[0]),
    ]
    monkeypatch.setenv(option.envvar, in_environment)
    sources += [
        (parse(), ParameterSource.ENVIRONMENT, expected[1]),
        (parse(*file), ParameterSource.ENVIRONMENT, expected[1]),
        (parse(*file, *words), ParameterSource.COMMANDLINE, expected[2]),
        (parse(*words, *file), ParameterSource.COMMANDLINE, expected[2]),
    ]
    for context, source, value in sources:
        assert context.get_parameter_source(option.name) is source
        assert context.params[option.name] == value


@pytest.mark.parametrize("option", OPTIONS, ids=[o.opts[0] for o in OPTIONS])
def test_both_spellings_of_a_key(option: click.Option, tmp_path: Path) -> None:
    """`max-wait` and `max_wait` are one key, which a file may have only once."""
    name, written = long_name(option), json.dumps(samples(option)[0])
    assert name is not None
    (tmp_path / "c.toml").write_text(f"{name.replace('-', '_')} = {written}\n")
    assert parse("--config", "c.toml").get_parameter_source(option.name or "") is ParameterSource.DEFAULT_MAP
    if "-" in name:
        (tmp_path / "c.toml").write_text(f"{name} = {written}\n{name.replace('-', '_')} = {written}\n")
        with pytest.raises(UsageError, match=r"line 2: .* are the same setting"):
            parse("--config", "c.toml")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("rpm = 3500", "rpm", 3500),
        ("rpm = 3_500", "rpm", 3500),
        ('rpm = "3.5k"', "rpm", 3500),
        ("rpm = 3500.0", "rpm", 3500),
        ("timeout = 90", "timeout", 90.0),
        ("timeout = 1_000.5", "timeout", 1000.5),
        ('timeout = "1h30m"', "timeout", 5400.0),
        ("max-wait = 0", "max_wait", 0.0),
        ("fail-over = 0.05", "fail_over", 0.05),
        ('fail-over = "5%"', "fail_over", 0.05),
        ('burst = "auto"', "burst", "auto"),
        ("burst = 2", "burst", 2.0),
        ("concurrency = 50", "concurrency", 50),
        ('header = ["A=1", "B=x y"]', "header", ("A=1", "B=x y")),
        ("header = []", "header", ()),
        ("verbose = 2", "verbose", 2),
        ("quiet = true", "quiet", True),
        ("quiet = false", "quiet", False),
        ("json = true", "as_json", True),
        ('model = "4"', "model", "4"),
    ],
)
def test_values(text: str, name: str, value: Any, tmp_path: Path) -> None:
    """TOML's own kinds, or a text as it would be typed."""
    (tmp_path / "c.toml").write_text(text)
    got = parse("--config", "c.toml").params[name]
    assert (got, type(got)) == (value, type(value))


WRONG = [
    ("rmp = 5", "line 1: there is no setting `rmp`", "did you mean `rpm`?"),
    ("\n\nmax_wiat = 5", "line 3: there is no setting `max_wiat`", "did you mean `max-wait`?"),
    ("no-colour = true", "no setting `no-colour`", "did you mean `no-color`?"),
    ("RPM = 5", "no setting `RPM`", "did you mean `rpm`?"),
    ("q = true", "no setting `q`", "--help` lists them all"),
    ('api-key = "sk-made-up"', "no setting `api-key`", "did you mean `api-key-file`?"),
    ('jobs = "x"', "`jobs` is no setting", "type `batchproc run JOBS --config c.toml`"),
    ('config = "x"', "cannot name another one", "one file"),
    ("[run]\nrpm = 5", "line 1: there is no table [run]", "settings of the run stand in none"),
    ("[rpm]", "line 1: there is no table [rpm]", '[models."gpt-4o"]'),
    ('[model."gpt-4o"]\nrpm = 5', "line 1: there is no table [model]", '[models."gpt-4o"]'),
    ("rpm = 0", "line 1: `rpm`: `0` is too small", None),
    ("rpm = -5", "`rpm`: `-5` is not a number", None),
    ("rpm = 2.5", "`rpm`: `2.5` is not a number", None),
    ("rpm = inf", "`rpm`: `inf` is not a number", None),
    ("rpm = 0x" + "f" * 9999, "`rpm`: it is much too large", None),
    ("rpm = true", "`rpm`: it must be a number, or a text in quotes", None),
    ("rpm = [5]", "`rpm`: it must be a number, or a text in quotes", None),
    ("stop-after = 07:30:00", "`stop-after`: it must be a number, or a text in quotes", None),
    ("timeout = 0", "`timeout`: `0` is too short", None),
    ("fail-over = 5", "`fail-over`: `5` is not a share", None),
    ('on-daily-limit = "perhaps"', "`on-daily-limit`: 'perhaps' is not one of 'stop', 'wait'", None),
    ("model = 4", "`model`: it must be a text, in quotes", None),
    ("model = 4.5", "`model`: it must be a text, in quotes", None),
    ("quiet = 1", "`quiet`: it must be true or false", None),
    ('quiet = "true"', "`quiet`: it must be true or false", None),
    ("verbose = true", "`verbose`: it must be a whole number", None),
    ("verbose = -1", "`verbose`: -1 is not in the range", None),
    ('header = "A=1"', "`header`: it must be a list of texts", None),
    ("header = [4]", "`header`: it must be a text, in quotes", None),
    ("header = [[]]", "`header`: it must be a number, or a text", None),
    ("rpm = 5\nmodels = 3", "line 2: `models` must be a table for each model", '[models."gpt-4o"]'),
    ("[models]\nrpm = 3", "line 2: `models.rpm` must be a table", '[models."gpt-4o"]'),
    ("[[models]]\nrpm = 3", "line 1: `models` must be a table", '[models."gpt-4o"]'),
    ("[models.gpt-4.1]\nrpm = 3\ntpm = 4", "`1` of the model `gpt-4` is a table", '[models."gpt-4.1"]'),
    ("[models.a-1.5.6]\nrpm = 3", "`5` of the model `a-1` is a table", '[models."a-1.5.6"]'),
    ('[models."gpt-*-x"]\nrpm = 3', "a `*` may only be at the end", '[models."gpt-4o*"]'),
    ('[models."a"]\nrmp = 3', "line 2: there is no `rmp` of the model `a`", "did you mean `rpm`?"),
    ('[models."a"]\nfoo = 3', "there is no `foo` of the model `a`", "a model can have rpm, tpm"),
    ('[models."a"]\nburst = 3', "there is no `burst` of the model `a`", "before the first [table]"),
    ('[models."a"]\nrpm = 3\nmax-wait = 4', "line 3: there is no `max-wait`", "before the first [table]"),
    ('[models."a"]\nrpm = 0', "line 2: `rpm` of the model `a`: `0` is too small", None),
    ('[models."a"]\nrpm = "fast"', "`rpm` of the model `a`: `fast` is not a number", None),
    ('[models."a"]\nrpm = false', "`rpm` of the model `a`: it must be a number", None),
]


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[w[0][:30] for w in WRONG])
def test_what_is_wrong_is_said(text: str, message: str, hint: str | None, tmp_path: Path) -> None:
    """File, line, key, what is wrong with it, and where it is known the way out."""
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        parse("--config", "c.toml")
    assert error.value.message.startswith("c.toml, line ")
    assert message in error.value.message
    assert hint is None or hint in (error.value.hint or "")


def test_a_value_that_may_be_secret_is_not_shown(tmp_path: Path) -> None:
    """Neither a key that somebody puts into the file nor a header is in a message."""
    for text in ('api-key = "sk-made-up"', 'header = "Authorization=sk-made-up"', 'header = [["sk-made-up"]]'):
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(UsageError) as error:
            parse("--config", "c.toml")
        assert "sk-made-up" not in f"{error.value.message} {error.value.hint}"


def test_a_wrong_value_is_wrong_also_where_a_flag_overrides_it(tmp_path: Path) -> None:
    """A file is right or wrong by itself, not one day so and one day so."""
    (tmp_path / "c.toml").write_text("rpm = 0")
    with pytest.raises(UsageError, match="too small"):
        parse("--config", "c.toml", "--rpm", "5")


@pytest.mark.parametrize("name", ["nowhere.toml", ".", ""])
def test_a_file_that_cannot_be_read(name: str) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(UsageError, match=r"cannot be read: (No such file|Is a directory)"):
        parse("--config", name)


def test_the_environment_names_a_file_and_the_flag_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BATCHPROC_CONFIG is --config, and the flag goes before it: one file counts, not both."""
    (tmp_path / "a.toml").write_text("rpm = 5\ntpm = 6")
    (tmp_path / "b.toml").write_text("rpm = 7")
    monkeypatch.setenv("BATCHPROC_CONFIG", "a.toml")
    assert (parse().params["rpm"], parse().params["tpm"]) == (5, 6)
    flagged = parse("--config", "b.toml").params
    assert (flagged["rpm"], flagged["tpm"]) == (7, None)


def test_no_file_is_looked_for(tmp_path: Path) -> None:
    """A file that nobody names is not read, whatever it is called."""
    for name in ("batchproc.toml", ".batchproc.toml", "config.toml", "pyproject.toml"):
        (tmp_path / name).write_text("rpm = 0")
    assert parse().params["rpm"] is None


def test_a_file_for_run_serves_other_commands(tmp_path: Path) -> None:
    """They take what they have, pass over what only `run` has, and know what is wrong in it."""
    file = click.Option(["--config"], is_eager=True, callback=read_config)
    other = click.Command("other", params=[click.Option(["--rpm"], type=AMOUNT), file])
    parent = click.Context(cli, info_name="batchproc")
    (tmp_path / "c.toml").write_text("rpm = 5\nmax-wait = 6\n[models.a]\nrpm = 7\n")
    params = other.make_context("other", ["--config", "c.toml"], parent=parent).params
    assert (params["rpm"], params["config"].limits()) == (5, {"a": Limits(rpm=7)})
    (tmp_path / "c.toml").write_text("rpm = 5\nmax-wait = true\n")
    with pytest.raises(UsageError, match="`max-wait`: it must be"):
        other.make_context("other", ["--config", "c.toml"], parent=parent)
    (tmp_path / "c.toml").write_text("rpm = 5\nmax-wiat = 6\n")
    with pytest.raises(UsageError, match="no setting `max-wiat`"):
        other.make_context("other", ["--config", "c.toml"], parent=parent)


def test_help_is_shown_and_shells_complete_whatever_the_file_says(tmp_path: Path) -> None:
    """A wrong file does not stand in the way of completion."""
    (tmp_path / "c.toml").write_text("rmp = 5")
    context = run.make_context("run", ["--config", "c.toml"], resilient_parsing=True)
    assert context.params["rpm"] is None


def test_every_limit_is_a_key_of_a_model(tmp_path: Path) -> None:
    """Whatever limits a model can have can be given in its table, in both spellings of the file."""
    limits = [f for f in Limits.__struct_fields__ if f != "burst_s"]
    assert set(limits) <= set(model_keys())
    lines = [f'{name} = "{k}k"' for k, name in enumerate(limits, 1)]
    (tmp_path / "c.toml").write_text('[models."gpt-4o"]\n' + "\n".join(lines) + '\n[models."o3*"]\nrpm = 5\n')
    file = parse("--config", "c.toml").params["config"]
    assert isinstance(file, ConfigFile)
    given: dict[str, Any] = {name: k * 1000 for k, name in enumerate(limits, 1)}
    assert file.limits() == {"gpt-4o": Limits(**given), "o3*": Limits(rpm=5)}


def commands() -> Iterator[str]:
    """The example of the README, as it stands there."""
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    for block in readme.split("```toml\n")[1:]:
        yield block.split("```")[0]


def test_the_example_of_the_readme_works(tmp_path: Path) -> None:
    """It is a file that the program takes."""
    found = list(commands())
    assert found
    for text in found:
        (tmp_path / "c.toml").write_text(text, encoding="utf-8")
        file = parse("--config", "c.toml").params["config"]
        assert file.models
