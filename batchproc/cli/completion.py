"""`batchproc completion SHELL`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from batchproc.cli.helping import Helpful

_EPILOG = """\b
Examples:
  eval "$(batchproc completion bash)"                            in ~/.bashrc
  eval "$(batchproc completion zsh)"                             in ~/.zshrc
  batchproc completion fish > ~/.config/fish/completions/batchproc.fish
"""


@click.command(cls=Helpful, epilog=_EPILOG)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options and file names."""
    from batchproc.cli.main import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for `{shell}`")
    click.echo(made(cli, {}, "batchproc", "_BATCHPROC_COMPLETE").source())
