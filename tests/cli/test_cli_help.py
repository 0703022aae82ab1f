"""`--help` of every command, and completion in the shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from batchproc.cli.helping import _OTHERS, Helpful
from batchproc.cli.main import _COMMANDS, cli

COMMANDS = {name: cli.get_command(None, name) for name in _COMMANDS}  # type: ignore[arg-type]


def shown(*words: str, width: int = 100) -> str:
    return CliRunner().invoke(cli, [*words, "--help"], terminal_width=width).output


@pytest.mark.parametrize("name", _COMMANDS)
def test_purpose_then_examples_then_options_then_exit_codes(name: str) -> None:
    """In this order, so that the first screen is enough."""
    text = shown(name)
    assert COMMANDS[name] is not None
    purpose = " ".join(text.split())
    assert purpose.startswith(f"Usage: cli {name} [OPTIONS]")
    examples = text.index("\n  Examples:\n")
    options = min(text.index(head) for head in re.findall(r"^[A-Z][^:\n]*:$", text, re.MULTILINE))
    assert examples < options
    assert f"batchproc {name} " in text[examples:options]
    if name != "completion":
        assert options < text.index("Exit codes: ")


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_option_has_a_group_and_a_help(name: str) -> None:
    """A new option must be put where people look for it, in `helping.py`."""
    command = COMMANDS[name]
    assert isinstance(command, Helpful)
    options = [p for p in command.params if isinstance(p, click.Option)]
    for option in options:
        assert option.help, option.name
        assert option.help[0].isupper() or option.help[0] == "`", option.help
        assert len(options) < 8 or command.group_of(option) != _OTHERS, option.name


def test_every_default_is_shown() -> None:
    """Where leaving an option out means something, the help says what."""
    for name, command in COMMANDS.items():
        assert command is not None
        for option in (p for p in command.params if isinstance(p, click.Option)):
            if option.is_flag or option.count or option.multiple or option.default in (None, ()) or not option.opts:
                continue
            if type(option.default).__name__ == "Sentinel":
                continue
            value = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
            record = option.get_help_record(click.Context(command))
            assert record is not None
            assert f"[default: {value}]" in record[1], (name, record)


def test_no_summary_of_a_command_is_cut() -> None:
    """The list of commands says each in full."""
    text = " ".join(shown().split("Commands:")[1].split())
    assert "..." not in text
    assert "Send every job in JOBS under the limits; the results come in input order." in text


@pytest.mark.parametrize("width", [40, 80, 110])
def test_help_fits_the_terminal(width: int) -> None:
    """Only examples, which are typed as they are, may be wider."""
    for name in _COMMANDS:
        lines = [line for line in shown(name, width=width).splitlines() if "batchproc " not in line]
        words = max((len(word) for line in lines for word in line.split()), default=0)
        assert all(len(line) <= width + words for line in lines)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which `batchproc` is the one under test."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "batchproc").write_text(
        f"#!{sys.executable}\nimport sys\nfrom batchproc.cli.main import main\nsys.argv[0] = 'batchproc'\nmain()\n"
    )
    (folder / "batchproc").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], {"status"}),
        (["run", "--max-w"], {"--max-wait"}),
        (["run", "--provider", "an"], {"anthropic"}),
        (["retry", "--onl"], {"--only"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(words: list[str], offered: set[str], path: str) -> None:
    """As bash calls it, by the function that the script defines."""
    typed = " ".join(f"'{word}'" for word in ["batchproc", *words])
    script = (
        "source <(batchproc completion bash) && complete -p batchproc > /dev/null && "
        f"COMP_WORDS=({typed}) COMP_CWORD={len(words)} && _batchproc_completion batchproc && "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_of_files_are_completed_by_the_shell(shell: str, path: str, tmp_path: Path) -> None:
    """JOBS, OUTPUT and every FILE: the shell is told to offer files."""
    for line in ("batchproc run jo", "batchproc status jo", "batchproc run --config jo"):
        words = line.split()
        env = {"PATH": path, "_BATCHPROC_COMPLETE": f"{shell}_complete", "COMP_WORDS": line}
        env["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words) - 1)
        done = subprocess.run(
            ["batchproc"], env=os.environ | env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "file" in re.split(r"[,\s]", done.stdout), (line, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("shell", "begins"), [("zsh", "#compdef batchproc"), ("fish", "function _batchproc_completion")]
)
def test_the_other_scripts(shell: str, begins: str, path: str, tmp_path: Path) -> None:
    """They are there; where the shell is installed, it can read them."""
    done = subprocess.run(
        ["batchproc", "completion", shell], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(begins)
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        assert subprocess.run([shell, "-n", tmp_path / "script"], check=False).returncode == 0
