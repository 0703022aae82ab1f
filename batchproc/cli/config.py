"""`--config FILE.toml`: the options of `run` as keys of a file, and limits of single models as its tables.

A key is the name of an option without its dashes, `max-wait` or `max_wait`. Its value is read by the option's own
type, as if it were typed, so that whatever the command has for options the file has too: they are read from the
command itself. What a file says becomes click's default map: flag > environment > file > default.

No file is looked for: a setting that costs money must not come from a folder somebody happens to stand in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from batchproc.cli.params import AMOUNT
from batchproc.cli.toml import Path, WrittenFloat, deepest, key_lines, read_text, read_toml
from batchproc.errors import UsageError
from batchproc.settings import Limits

_LIMIT = 'a limit is a number such as 3500 or "2m"'
_TABLES = 'limits of one model stand in a table of its own, such as [models."gpt-4o"]'


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read, and is right.

    `values` are by parameter name, as click's default map takes them; `models` by model, or by the beginning of
    models and `*`, then by key. `lines` says where each key stands, from 1.
    """

    name: str
    values: dict[str, Any]
    models: dict[str, dict[str, Any]]
    lines: dict[Path, int]

    def place(self, *path: str) -> str:
        """Where a key stands: `file jobs.toml, line 3`."""
        return _place(self.name, self.lines, path)

    def limits(self) -> dict[str, Limits]:
        """The limits of single models."""
        fields = Limits.__struct_fields__
        return {name: Limits(**{k: v for k, v in own.items() if k in fields}) for name, own in self.models.items()}


class _Wrong(Exception):
    """What is wrong with a value, in words that follow its name."""


def model_keys() -> dict[str, click.ParamType]:  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """The keys of a model's table and their types: every limit. What else a model can have (prices) joins here."""
    return {name: AMOUNT for name in Limits.__struct_fields__ if name != "burst_s"}


def read_config(ctx: click.Context, param: click.Parameter, value: str | None) -> ConfigFile | None:
    """Callback of an eager `--config`: what the file says becomes the defaults of this command. Raises UsageError."""
    if value is None or ctx.resilient_parsing:
        return None
    text = read_text(value)
    document = read_toml(value, text)
    file = _Reader(value, key_lines(text)).read(document, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **file.values}
    return file


def long_name(param: click.Parameter) -> str | None:
    """An option's name without dashes in front; None for an argument."""
    return next((o.removeprefix("--") for o in param.opts if o.startswith("--")), None)


def _options(ctx: click.Context) -> dict[str, click.Parameter]:
    """A command's options by their long names. A file for `run` serves other commands too: they pass over its rest."""
    commands = [ctx.command]
    if ctx.parent is not None and isinstance(ctx.parent.command, click.Group):
        run = ctx.parent.command.get_command(ctx.parent, "run")
        commands = [run, ctx.command] if run is not None else commands
    return {name: p for command in commands for p in command.params if (name := long_name(p)) is not None}


def _place(name: str, lines: Mapping[Path, int], path: Path) -> str:
    line = lines.get(path)
    return f"{name}, line {line}" if line else name


class _Reader:
    """Checks a document against a command's options; every complaint names file, line and key."""

    def __init__(self, name: str, lines: dict[Path, int]) -> None:
        self._name = name
        self._lines = lines

    def read(self, document: Mapping[str, Any], ctx: click.Context) -> ConfigFile:
        """The file's content, typed. Raises UsageError."""
        options = _options(ctx)
        own = {id(p) for p in ctx.command.params}
        values: dict[str, Any] = {}
        spelt: dict[str, str] = {}
        models: dict[str, dict[str, Any]] = {}
        for key, value in document.items():
            name = key.replace("_", "-")
            if name == "models":
                models = self._models(value, options)
                continue
            option = self._option(key, value, options, ctx)
            if name in spelt:
                raise self._error(
                    (key,), f"`{key}` and `{spelt[name]}` are the same setting", "leave one of the two out"
                )
            spelt[name] = key
            try:
                typed = _typed(option, value, ctx)
            except _Wrong as wrong:
                raise self._error(
                    (key,), f"`{key}`: {wrong}", f"`{ctx.command_path} --help` says what it takes"
                ) from None
            if id(option) in own and option.name is not None:
                values[option.name] = typed
        return ConfigFile(self._name, values, models, self._lines)

    def _option(self, key: str, value: Any, options: Mapping[str, click.Parameter], ctx: click.Context) -> click.Option:
        name = key.replace("_", "-")
        if name == "config":
            raise self._error((key,), "a config file cannot name another one", "put everything into one file")
        if isinstance(value, dict):
            raise self._error((key,), f"there is no table [{key}]", f"settings of the run stand in none; {_TABLES}")
        option = options.get(name)
        if isinstance(option, click.Option):
            return option
        if name in {p.name for p in ctx.command.params if isinstance(p, click.Argument)}:
            typed = f"{ctx.command_path} {name.upper()} --config {self._name}"
            raise self._error((key,), f"`{key}` is no setting: it is named on the command line", f"type `{typed}`")
        near = _nearest(name, [n for n in options if n != "config"])
        raise self._error((key,), f"there is no setting `{key}`", near or f"`{ctx.command_path} --help` lists them all")

    def _models(self, tables: Any, options: Mapping[str, click.Parameter]) -> dict[str, dict[str, Any]]:
        if not isinstance(tables, dict):
            raise self._error(("models",), "`models` must be a table for each model", _TABLES)
        return {model: self._model(model, table, options) for model, table in tables.items()}

    def _model(self, model: str, table: Any, options: Mapping[str, click.Parameter]) -> dict[str, Any]:
        path = ("models", model)
        if not isinstance(table, dict):
            raise self._error(path, f"`models.{model}` must be a table", _TABLES)
        if "*" in model[:-1]:
            raise self._error(
                path, f"the model `{model}`: a `*` may only be at the end", 'for example [models."gpt-4o*"]'
            )
        keys = model_keys()
        found: dict[str, Any] = {}
        for key, value in table.items():
            name = key.replace("_", "-")
            where = f"`{key}` of the model `{model}`"
            if isinstance(value, dict):
                whole = f'[models."{".".join([model, *deepest({key: value})])}"]'
                raise self._error(
                    (*path, key), f"{where} is a table", f"a name with dots needs quotes, perhaps {whole}"
                )
            if name not in keys:
                hint = _nearest(name, keys)
                if name in options:
                    hint = f"`{key}` is for the whole run: put it before the first [table]"
                raise self._error((*path, key), f"there is no {where}", hint or f"a model can have {', '.join(keys)}")
            if name in found:
                raise self._error((*path, key), f"{where} is there twice, in two spellings", "leave one of the two out")
            try:
                found[name] = keys[name].convert(_written(value), None, None)
            except _Wrong as wrong:
                raise self._error((*path, key), f"{where}: {wrong}", _LIMIT) from None
            except click.UsageError as bad:
                raise self._error((*path, key), f"{where}: {_lower(bad.message)}", _LIMIT) from None
        return found

    def _error(self, path: Path, message: str, hint: str) -> UsageError:
        return UsageError(f"{_place(self._name, self._lines, path)}: {message}", hint)


def _typed(option: click.Option, value: Any, ctx: click.Context) -> Any:
    """A value as click's default map takes it, proven to be one that the option's type takes. Raises _Wrong."""
    given: Any
    if option.is_flag:
        if not isinstance(value, bool):
            raise _Wrong("it must be true or false, without quotes")
        return value
    if option.count:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _Wrong("it must be a whole number, such as 1")
        given = value
    elif option.multiple:
        if not isinstance(value, list):
            raise _Wrong('it must be a list of texts, such as ["X-Team=7"]')
        given = [_written(each) for each in value]
    else:
        given = _written(value)
    try:
        converted = option.type_cast_value(ctx, given)
    except click.UsageError as bad:
        raise _Wrong(_lower(bad.message)) from None
    raw, cooked = (value, converted) if option.multiple else ([value], [converted])
    if any(isinstance(c, str) and not _is_text(r) for r, c in zip(raw, cooked, strict=True)):
        raise _Wrong("it must be a text, in quotes")
    return given


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, WrittenFloat)


def _written(value: Any) -> str:
    """A number or a text as one would type it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # thousands of digits
            raise _Wrong("it is much too large") from None
    raise _Wrong("it must be a number, or a text in quotes")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), list(known), 1, 0.5)
    return f"did you mean `{near[0]}`?" if near else None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")
