"""TOML: reading with the lines of the keys, and writing single values. The standard library does the parsing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batchproc.errors import UsageError

Path = tuple[str, ...]  # of a key: ("models", "gpt-4o", "rpm")

_LARGEST = 1 << 20  # bytes; a larger file is something else
_LONGEST = 200  # lines of one statement; behind a longer one no lines are told
_EXAMPLE = 'a file looks like this: rpm = 3500, stop-after = "6h", header = ["X-Team=7"], each on its own line'


class WrittenFloat(str):
    """A float as it is written: options read text."""


def read_text(name: str) -> str:
    """The text of a config file, its line ends `\\n`. Raises UsageError."""
    try:
        with open(name, "rb") as f:
            data = f.read(_LARGEST + 1)
        if len(data) <= _LARGEST:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        why = "it is larger than 1 MiB"
    except OSError as e:
        why = e.strerror or str(e)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    raise UsageError(f"the config file `{name}` cannot be read: {why}", "name a text file of settings with `--config`")


def read_toml(name: str, text: str) -> dict[str, Any]:
    """The document in a text; floats are `WrittenFloat`. Raises UsageError."""
    import tomllib

    try:
        return tomllib.loads(text, parse_float=lambda written: WrittenFloat(written.replace("_", "")))
    except tomllib.TOMLDecodeError as e:
        why = str(e)
    except (ValueError, RecursionError):
        why = "it has a number or a list that is much too long"
    raise UsageError(f"the config file `{name}` is not TOML: {why[:1].lower()}{why[1:]}", _EXAMPLE)


def key_lines(text: str) -> dict[Path, int]:
    """The line of each key, from 1. The parser does not tell: whole statements are what parses by itself."""
    import tomllib

    found: dict[Path, int] = {}
    table: Path = ()
    lines = text.split("\n")
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[start:end]))
        except ValueError:
            if end - start > _LONGEST:
                break
            continue  # the statement goes on in the next line
        if lines[start].lstrip().startswith("["):
            table = deepest(document)
            for depth in range(len(table)):
                found.setdefault(table[: depth + 1], start + 1)
        else:
            for path in _paths(document):
                found.setdefault(table + path, start + 1)
        start = end
    return found


def deepest(document: Any) -> Path:
    """The path to the innermost of tables that have nothing but each other."""
    path: Path = ()
    while isinstance(document, dict) and len(document) == 1:
        ((key, document),) = document.items()
        if not isinstance(document, dict | list):
            break
        path = (*path, key)
    return path


def _paths(document: Mapping[str, Any]) -> Iterable[Path]:
    for key, value in document.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in _paths(value))


def toml_value(value: Any) -> str:
    """A value as it is written in a file. Numbers, truths, lists; anything else is a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        from decimal import Decimal

        return str(int(value)) if value.is_integer() else f"{Decimal(repr(value)):f}"  # options take no exponents
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return _quoted(str(value))


def toml_path(*path: str) -> str:
    """A dotted key: `models."gpt-4o".rpm`."""
    return ".".join(p if p.isascii() and p.replace("-", "").replace("_", "").isalnum() else _quoted(p) for p in path)


def _quoted(text: str) -> str:
    import json

    # The escapes of JSON are among those of TOML; what is not printable could move the cursor or turn the text.
    written = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)
