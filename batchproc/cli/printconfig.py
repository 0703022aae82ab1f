"""`--print-config`: every setting, its value and where it came from, as a TOML file that could be used."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from batchproc.building.connect import hidden_header, hidden_url
from batchproc.cli.config import ConfigFile, long_name
from batchproc.cli.toml import toml_path, toml_value
from batchproc.settings import RunSettings

_WIDEST = 40  # columns of a value; a wider one pushes its source aside
_DERIVED = ("output", "checkpoint", "base_url", "provider")  # settings whose default depends on others
_ADDRESSES = ("_BASE_URL", "_ENDPOINT")  # how the variables end in which providers' own programs find an address


class Setting(NamedTuple):
    """One setting. `usable`: set by somebody, and good to be written into a file as it is shown."""

    name: str
    value: Any
    source: str
    usable: bool


def gather(ctx: click.Context, settings: RunSettings, environment: Mapping[str, str]) -> list[Setting]:
    """Every setting of a parsed `run`, in the order of its options, then those of single models."""
    found: list[Setting] = []
    for param in ctx.command.params:
        name = long_name(param)
        if name is None or name == "print-config":
            continue
        value, source = _value(ctx, param, settings, environment)
        usable = source != "default" and value is not None and name != "config"
        if name == "header":
            shown = [hidden_header(header) for header in value]
            usable = usable and shown == list(value)
            value = shown
        if name == "quota" and value is not None:
            usable = usable and hidden_url(value) == value
            value = hidden_url(value)
        found.append(Setting(name, value, source, usable))
    file = ctx.params.get("config")
    if isinstance(file, ConfigFile):
        for model, own in file.models.items():
            for key, value in own.items():
                where = f"file {file.place('models', model, key)}"
                found.append(Setting(toml_path("models", model, key), value, where, True))
    return found


def _value(
    ctx: click.Context, param: click.Parameter, settings: RunSettings, environment: Mapping[str, str]
) -> tuple[Any, str]:
    """The value that counts, and where it came from; a default that depends on other things is worked out."""
    name = param.name or ""
    value = ctx.params.get(name)
    if isinstance(value, ConfigFile):
        value = value.name
    if value is not None or name not in _DERIVED:
        return _as_written(ctx, param, value), source_of(ctx, param)
    if settings.provider == "simulated":
        if name == "base_url":
            return None, "default"  # known only when it runs
        if name == "provider":
            return settings.provider, source_of(ctx, next(p for p in ctx.command.params if p.name == "simulate"))
    derived = getattr(settings, name)
    for variable, text in environment.items():
        if name == "base_url" and variable.endswith(_ADDRESSES) and text.strip().rstrip("/") == derived:
            return derived, f"environment {variable}"
    return derived, "default"


def _as_written(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The value where writing it into a file would give it again, else what was typed."""
    if isinstance(value, bool | str | list | tuple | None) or (isinstance(param, click.Option) and param.count):
        return value
    text = toml_value(value) if isinstance(value, int | float) else str(value)
    try:
        same = param.type.convert(text, param, ctx) == value
    except click.UsageError:
        same = False
    typed = ctx.meta.get("batchproc.typed", {}).get(param.name)
    return typed if not same and isinstance(typed, str) else value


def source_of(ctx: click.Context, param: click.Parameter) -> str:
    """Where a parsed option's value came from: `flag`, `environment NAME`, `file NAME, line 3`, `default`."""
    name = param.name or ""
    source = ctx.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    if source is ParameterSource.ENVIRONMENT:
        return f"environment {param.envvar}"
    file = ctx.params.get("config")
    if source is ParameterSource.DEFAULT_MAP and isinstance(file, ConfigFile):
        long = long_name(param)
        return f"file {file.place(next(p[0] for p in file.lines if len(p) == 1 and p[0].replace('_', '-') == long))}"
    return "default"


def as_json(settings: list[Setting]) -> bytes:
    """One object: name → value and source."""
    import msgspec

    document = {s.name: {"value": s.value, "source": s.source} for s in settings}
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2) + b"\n"


def as_text(settings: list[Setting], jobs: str) -> str:
    """A TOML file in columns; defaults, and what cannot be written into a file, are comments."""
    from batchproc.ui.words import harmless

    return "".join(harmless(line) + "\n" for line in _lines(settings, jobs))


def _lines(settings: list[Setting], jobs: str) -> Iterator[str]:
    yield f"# The settings of: batchproc run {shlex.quote(jobs)}"
    yield "# Without `#` in front: what was set. Save it, and --config reads it."
    yield ""
    written = [(s, "none" if s.value is None else toml_value(s.value)) for s in settings]
    names = max(len(s.name) for s in settings)
    values = max(len(value) for _, value in written if len(value) <= _WIDEST)
    for setting, value in written:
        mark = " " if setting.usable else "#"
        yield f"{mark} {setting.name:{names}} = {value:{values}}  # {setting.source}"
