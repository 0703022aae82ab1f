"""The page of the report in a real browser, where there is one: its charts are drawn, and it fetches nothing."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_ui_report import HOSTILE, report

from batchproc.ui.report.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here to show the page with")


class Drawn(HTMLParser):
    """What stands in the document after its script ran."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.charts: dict[str, list[str]] = {}  # by name: what is in it
        self.texts = ""
        self._chart = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("data-chart"):
            self._chart = str(given["data-chart"])
            self.charts[self._chart] = []
        elif self._chart:
            self.charts[self._chart].append(tag)

    def handle_data(self, data: str) -> None:
        self.texts += data


def shown(made: str, folder: Path, *options: str) -> Drawn:
    """The document of a page as the browser has it, after it was drawn, without a network."""
    (folder / "r.html").write_text(made, encoding="utf-8")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000", "--enable-logging=stderr", "--v=0",
        *options, "--dump-dom", (folder / "r.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console  # no error of the script, and nothing that the policy had to stop
    return Drawn(done.stdout)


def test_the_charts_are_drawn(tmp_path: Path) -> None:
    """Every chart has its canvas; names of models that look like elements are text."""
    seen = shown(page(report(HOSTILE)), tmp_path)
    assert set(seen.charts) == {"requests 0", "tokens 0", "latency", "trouble", "flight"}
    for name, tags in seen.charts.items():
        assert "canvas" in tags, f"{name} is not drawn"
    assert "alert(1)" in seen.texts
    assert "limit" in seen.texts


def test_a_report_without_a_time_line_has_no_charts(tmp_path: Path) -> None:
    """The script has nothing to draw, and does not stumble over that."""
    seen = shown(page(report(recorded=False, series=None)), tmp_path)
    assert not any("canvas" in tags for tags in seen.charts.values())
    assert "has no time line" in seen.texts
