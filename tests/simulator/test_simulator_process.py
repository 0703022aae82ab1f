"""The provider as a process: embedded in another program, and as a command."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchproc.cli.simulate import simulate
from batchproc.errors import UsageError
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "job 3"}]}).encode()
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions are POSIX")


def ask(url: str) -> bytes:
    request = urllib.request.Request(f"{url}/chat/completions", BODY, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: bytes = response.read()
    return answer


def test_the_embedded_provider_answers_and_stops() -> None:
    """From spawn to stop: a URL, an answer, and nothing left behind."""
    embedded = Embedded(SimulatorSettings(port=0, latency="0"))
    embedded.spawn()
    embedded.spawn()
    url = embedded.wait_url()
    assert url == embedded.wait_url()
    assert b"job 3" in ask(url)
    embedded.stop()
    embedded.stop()
    assert embedded.pid is None
    with pytest.raises(OSError, match=r"refused|Errno|urlopen"):
        ask(url)


def test_an_embedded_provider_that_cannot_serve_says_why() -> None:
    """The child's own error reaches the caller."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        embedded = Embedded(SimulatorSettings(port=taken.getsockname()[1]))
        with pytest.raises(UsageError, match="cannot listen"):
            embedded.start()


PARENT = """
import sys
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings

embedded = Embedded(SimulatorSettings(port=0, ledger=sys.argv[1]))
print(embedded.start(), embedded.pid, flush=True)
sys.stdin.read()
"""


@posix
def test_the_embedded_provider_dies_with_its_parent(tmp_path: Path) -> None:
    """After SIGKILL of the parent the child ends by itself, in a session of its own, its ledger written."""
    ledger = tmp_path / "ledger.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        assert os.getsid(int(pid)) == int(pid)
        port = int(url.split(":")[2].removesuffix("/v1"))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as held:
            ask(url)
            parent.kill()
            # The child's end closes its connections: this waits for it, without polling.
            assert held.recv(1) == b""
    assert len(ledger.read_text().splitlines()) == 1
    with pytest.raises(OSError, match=r"refused|Errno"):
        socket.create_connection(("127.0.0.1", port), timeout=60)


COMMAND = """
import sys
from batchproc.cli.simulate import simulate
simulate(sys.argv[1:])
"""


@posix
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_told_to_stop(signum: signal.Signals) -> None:
    """`simulate` says where it serves and how to use it, answers, and exits 0 on a signal."""
    options = ["--port", "0", "--rpm", "3.5k", "--tpm", "2m", "--latency", "0", "--fault", "500=0%"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *options], stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        said = command.stderr.readline()
        found = re.fullmatch(r"simulated provider on (http://127\.0\.0\.1:\d+/v1)\n", said)
        assert found is not None, said
        assert f"--base-url {found[1]}" in command.stderr.readline()
        assert b"job 3" in ask(found[1])
        command.send_signal(signum)
        assert command.wait(10) == 0


HOW = [
    ("azure", "", " --provider azure"),
    ("anthropic", "/v1", " --provider anthropic"),
    ("openrouter", "/api/v1", ""),
]


@posix
@pytest.mark.parametrize(("dialect", "base", "named"), HOW, ids=[row[0] for row in HOW])
def test_the_command_in_another_dialect(dialect: str, base: str, named: str) -> None:
    """The base URL is the dialect's, the counters are where they always are, and what to type is said."""
    options = ["--port", "0", "--dialect", dialect, "--itpm", "30k", "--otpm", "8k", "--slots", "4", "--queue", "inf"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *options], stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        url = command.stderr.readline().split()[-1]
        assert re.fullmatch(rf"http://127\.0\.0\.1:\d+{base}", url)
        assert command.stderr.readline().endswith(f"--base-url {url}{named}\n")
        stats = command.stderr.readline().split()[-1]
        with urllib.request.urlopen(stats, timeout=60) as response:
            assert json.load(response)["requests"] == 0
        command.send_signal(signal.SIGTERM)
        assert command.wait(10) == 0


@pytest.mark.parametrize("option", [["--dialect", "latin"], ["--queue", "-1"], ["--queue", "some"], ["--otpm", "0"]])
def test_the_command_refuses_what_it_does_not_know(option: list[str]) -> None:
    """Dialects are named, queues are counted or `inf`."""
    assert CliRunner().invoke(simulate, option).exit_code == 2


def test_the_command_refuses_other_machines() -> None:
    """Only loopback addresses are served."""
    result = CliRunner().invoke(simulate, ["--host", "0.0.0.0"])
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize("number", ["0", "-1", "many", "1e3", "nan"])
def test_the_command_refuses_what_is_no_amount(number: str) -> None:
    """Limits are positive numbers, with k or m where wanted."""
    result = CliRunner().invoke(simulate, ["--rpm", number])
    assert result.exit_code == 2


def test_the_command_helps() -> None:
    """Help needs no aiohttp and names every kind of fault."""
    result = CliRunner().invoke(simulate, ["--help"])
    assert result.exit_code == 0
    assert "nochoices" in result.output
