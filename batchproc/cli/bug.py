"""What is left of a bug: a file with its traceback, for whoever mends it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback

from batchproc import __version__
from batchproc.errors import BatchprocError

_FEWEST = 8  # characters of what is taken for a secret: shorter ones would hide half of the text
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_SAVED = "what was answered is saved: the same command goes on where it stopped"


def bug_found(error: Exception, argv: list[str]) -> BatchprocError:
    """Write the traceback of an error nobody thought of to a file of its own; returns what to say of it.

    The file is in the folder for temporary files, readable by its owner only; where even that fails the traceback is
    the message. Values of headers, keys in files, and variables that are named like secrets are left out.
    """
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    secrets = _secrets(argv)
    what = _masked(what.splitlines()[0][:200], secrets)
    text = _masked(_account(error, argv), secrets)
    try:
        file, path = tempfile.mkstemp(prefix="batchproc-bug-", suffix=".txt")
        with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as f:
            f.write(text)
    except OSError:
        sys.stderr.write(text)
        return BatchprocError(f"a bug in batchproc: {what}", f"please report it with the text above; {_SAVED}")
    return BatchprocError(f"a bug in batchproc: {what}", f"please report it with the file `{path}`; {_SAVED}")


def _account(error: Exception, argv: list[str]) -> str:
    from batchproc.cli.closing import typed

    try:
        command = typed(argv)
    except Exception:  # a command that cannot be read is left out: it may hold a secret
        command = "(cannot be shown)"
    head = [
        f"batchproc {__version__}, Python {platform.python_version()}, {platform.platform()}",
        time.strftime("%Y-%m-%d %H:%M:%S %z"),
        command,
    ]
    return "\n".join([*head, "", *traceback.format_exception(error)])


def _secrets(argv: list[str]) -> dict[str, str]:
    """What must not be in the file, and what stands there instead: keys of variables, of files, and header values."""
    found = {value: name for name, value in os.environ.items() if any(word in name.upper() for word in _SECRET)}
    for option, word in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = option.partition("=")
        given = value or word
        if name == "--header":
            _, _, given = given.partition("=")
            found[given] = "(a header)"
            given = given.removeprefix("@")
        elif name != "--api-key-file":
            continue
        try:
            with open(given, encoding="utf-8") as f:
                found[f.read(10_000).strip()] = "(a key)"
        except (OSError, ValueError):
            pass  # no file, or none of text: then nothing was read from it
    return {secret: f"({name.strip('()')})" for secret, name in found.items() if len(secret) >= _FEWEST}


def _masked(text: str, secrets: dict[str, str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, secrets[secret])
    return text
