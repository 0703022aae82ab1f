"""`batchproc completion SHELL`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, for example for `eval "$(batchproc completion bash)"`."""
    from batchproc.cli.main import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for `{shell}`")
    click.echo(made(cli, {}, "batchproc", "_BATCHPROC_COMPLETE").source())
