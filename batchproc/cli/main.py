"""The command `batchproc`: finds the subcommand, and turns every error into words and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

from batchproc import __version__
from batchproc.errors import BatchprocError, UsageError
from batchproc.interrupt import ended, heard

_COMMANDS = {
    "run": "batchproc.cli.run",
    "check": "batchproc.cli.check",
    "status": "batchproc.cli.status",
    "report": "batchproc.cli.report",
    "retry": "batchproc.cli.retry",
    "finish": "batchproc.cli.finish",
    "merge": "batchproc.cli.merge",
    "simulate": "batchproc.cli.simulate",
    "completion": "batchproc.cli.completion",
}

# The beginnings of their help, so that `--help` need not import them.
_SAY = {
    "run": "Send every job in JOBS under the limits; the results come in input order.",
    "check": "Say what is in JOBS: bad lines, duplicates, tokens, the time at these limits, the cost. Nothing is sent.",
    "status": "Tell how far the run that writes OUTPUT is, what it waits for, and what to type to go on.",
    "report": "Tell what the run that writes OUTPUT did: rates against limits, latencies, retries, errors, waits, "
    "costs.",
    "retry": "Send the failed lines of OUTPUT again; lines with an answer stay byte for byte.",
    "finish": "Close the run that writes OUTPUT: every job without a result becomes a failed line with the code "
    "`not_run`.",
    "merge": "Put the shards of a run together: OUTPUT is then what one process would have written.",
    "simulate": "Serve a simulated provider on loopback until interrupted.",
    "completion": "Print the script by which a shell completes commands, options and file names.",
}

_LATE = ("run", "retry")  # they call `heard` when their imports are done, and before they do anything

_EXAMPLES = """\b
Examples:
  batchproc check jobs.jsonl                      what is in it, how long it takes, what it costs
  batchproc run jobs.jsonl --rpm 3500 --tpm 90000
  batchproc run jobs.jsonl --simulate             try it: no key, no network
  batchproc run jobs.jsonl --base-url http://localhost:8000/v1
"""
_EPILOG = "`batchproc COMMAND --help` says what each can do."


class Lazy(click.Group):
    """Imports a subcommand only when it is used, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One subcommand."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is typed. All but those that import much more hear Ctrl-C from here on."""
        found = super().resolve_command(ctx, args)
        if found[0] not in _LATE:
            heard()
        return found

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it is for, then the examples."""
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_EXAMPLES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SAY[name]) for name in _COMMANDS])


@click.command(
    cls=Lazy, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "-V", "--version", message="batchproc %(version)s")
def cli() -> None:
    """Send a file of LLM requests, under the provider's limits, and get the answers in order.

    Nothing is lost, nothing is paid twice: run the same command again after an interruption, and it goes on
    where it stopped.
    """


def main(args: list[str] | None = None) -> None:
    """Run the program and exit."""
    _keep_streams()
    code = run_cli(args)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed or broken: said already
    ended()
    sys.exit(code)


def _keep_streams() -> None:
    """Put something in the place of standard streams that are closed: else files and connections would get it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # the lowest number that is free


def run_cli(args: list[str] | None = None) -> int:
    """Run the program; returns its exit code. What a user can cause never shows a traceback."""
    try:
        code: Any = cli.main(args, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.ctx.get_help() if e.ctx else "", err=True)
        return 2
    except click.UsageError as e:
        path = e.ctx.command_path if e.ctx else "batchproc"
        _say(_lower(e.format_message()), f"`{path} --help` lists what can be given")
        return 2
    except click.ClickException as e:
        _say(_lower(e.format_message()), None)
        return 2
    except BatchprocError as e:
        _say(e.message, e.hint)
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read the output went away; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 7
    except Exception as e:
        lacking = _lacking(e)
        if lacking is not None:
            _say(lacking.message, lacking.hint)
            return lacking.exit_code
        # Nobody thought of it: a traceback is for a file, not for whoever runs jobs.
        from batchproc.cli.bug import bug_found

        told = bug_found(e, sys.argv if args is None else ["batchproc", *args])
        _say(told.message, told.hint)
        return told.exit_code


def _lacking(error: Exception) -> UsageError | None:
    """Which limit of the process an error comes from, and what to do; None where it is another error."""
    again = "what is answered is saved: then run the same command again"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return UsageError(
            "there is no more memory", f"raise the limit (`ulimit -v`, or that of the container); {again}"
        )
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return UsageError("no more files can be opened", f"raise the limit: `ulimit -n 1024`; {again}")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return UsageError("no more threads can be started", f"raise the limit of processes (`ulimit -u`); {again}")
    return None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _say(message: str, hint: str | None) -> None:
    from batchproc.ui.console import Console, audience

    terminal = sys.stderr is not None and sys.stderr.isatty()
    Console(sys.stderr, audience(isatty=terminal, environ=os.environ)).error(message, hint)
