"""The simulated provider as a child process: settings as JSON in, its URL as one line of JSON out.

The first argument is `SimulatorSettings` as a JSON object. Standard output gets `{"url": …}`, or
`{"error": …, "hint": …}` and exit code 2. The process ends when its standard input does.
`batchproc simulate` is the command for people; this one starts faster.
"""

from __future__ import annotations

import sys

import msgspec

from batchproc.errors import UsageError
from batchproc.simulator.settings import SimulatorSettings


def _say(document: dict[str, str | None]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Serve; returns the exit code."""
    try:
        settings = msgspec.json.decode(sys.argv[1].encode(), type=SimulatorSettings)
        from batchproc.simulator.serving import serve

        serve(settings, lambda url: _say({"url": url}), stop_at_eof=True)
    except UsageError as bad:
        _say({"error": bad.message, "hint": bad.hint})
        return bad.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
