"""Draws the picture of the live display in the README: `docs/live.svg`, from a real run against the simulated provider.

    python benchmarks/picture.py

The program itself runs, with `--progress json`; the state of one instant is drawn as the display draws it.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from batchproc.snapshot import Snapshot
from batchproc.ui.bar import _Frame
from batchproc.ui.frame import Problem, frame

COLUMNS, AT_S = 84, 14.0
TARGET = Path(__file__).parent.parent / "docs" / "live.svg"


def observed(folder: Path) -> tuple[Snapshot, list[Problem]]:
    """A run some seconds after its start, and what failed by then."""
    jobs = folder / "jobs.jsonl"
    with jobs.open("w") as f:
        for k in range(9000):
            model = "gpt-4o" if k % 3 else "gpt-4o-mini"
            text = f"Summarise document {k} in one sentence. " + "word " * 40
            body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 60}
            f.write(json.dumps(body) + "\n")
    simulator = subprocess.Popen(
        [sys.executable, "-m", "batchproc", "simulate", "--port", "0", "--rpm", "3500", "--tpm", "400000",
         "--latency", "0.3-1.5", "--fault", "500=2%", "--fault", "400=0.5%", "--seed", "7"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    problems: dict[str, Problem] = {}
    try:
        assert simulator.stdout is not None
        url = re.search(r"http://\S+", simulator.stdout.readline())
        assert url is not None
        run = subprocess.Popen(
            [sys.executable, "-m", "batchproc", "run", str(jobs), "--base-url", url[0], "--progress", "json", "-v",
             "--rpm", "3500", "--tpm", "400000", "--drain", "0"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert run.stderr is not None
        for line in run.stderr:
            event = json.loads(line)
            if event["event"] in ("job_ended", "job_requeued") and event.get("kind") != "rate limited":
                what = event.get("code") or event.get("kind")
                problem = problems.setdefault(what, Problem(what, "", 0))
                problem.message, problem.line, problem.count = event["message"], event["line"], problem.count + 1
            if event["event"] == "progress" and event["elapsed_s"] > AT_S:
                run.terminate()
                return msgspec.convert(event, Snapshot), list(problems.values())[-2:]
        raise SystemExit("the run ended too early")
    finally:
        simulator.terminate()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        snapshot, problems = observed(Path(folder))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print("$ batchproc run jobs.jsonl --rpm 3500 --tpm 400000")
    console.print(_Frame(frame(snapshot, problems, COLUMNS - 1, 24)))
    svg = console.export_svg(title="batchproc", theme=SVG_EXPORT_THEME, unique_id="live")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts from elsewhere: any monospaced one will do
    TARGET.write_text(re.sub(r"[ \t]+\n", "\n", svg), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")
    print("\n".join("".join(text for text, _ in line) for line in frame(snapshot, problems, COLUMNS - 1, 24)))


if __name__ == "__main__":
    main()
