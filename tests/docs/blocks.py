"""The code blocks of README.md and docs/*.md, and what the tests must know to run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block; `section` is the heading above it, `line` where it begins."""

    page: str
    section: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """For the names of tests."""
        return f"{self.page}:{self.line} {self.section}"


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        above = text[: found.start()]
        section = re.findall(r"^#+ (.*)$", re.sub(_BLOCK, "", above), re.MULTILINE)[-1]
        yield Block(page.relative_to(ROOT).as_posix(), section, above.count("\n") + 2, found[1], found[2])


ALL = [block for page in PAGES for block in blocks(page)]

# Blocks that are not run, by page and section, with the reason.
NOT_RUN = {
    ("README.md", "Try it"): ".ci/run types it in a fresh clone",
    ("docs/scaling.md", "Ray"): "it installs a package and joins a cluster; tests/e2e/test_e2e_ray.py does the like",
    ("README.md", "Tests"): "it is what runs this; .ci/run types it in a fresh clone",
    ("docs/scaling.md", "Slurm: an array"): "a script for a scheduler, which sets its variables; the page says so",
}

# Blocks of Python, by section: they are compiled here, and run elsewhere or not at all.
PYTHON = {
    "From Python": "tests/api/test_api_readme.py runs it",
    "Dask": "it starts a cluster of another package, which no test installs; the page says that it is not run",
}

# What a block needs that is not everywhere: then it is skipped, and says so.
NEEDS_PROGRAM = {"jq": re.compile(r"^jq ", re.MULTILINE)}
NEEDS_MODULE = {"pandas": re.compile(r"^import pandas", re.MULTILINE), "ray": re.compile(r"--engine ray")}

# What is not as it stands, and why.
INSTEAD = {
    "range(100_000)": ("range(60)", "a small table shows as much"),
    "--stop-after 6h": ("--stop-after 60", "a test that hangs should not do so for six hours"),
    "http://localhost:8000/v1": ("$SIMULATED", "the simulated provider listens elsewhere"),
    "batchproc run jobs.jsonl -o out.jsonl --shard 0/4     # and 1/4": (
        "for i in 0 1 2 3; do batchproc run jobs.jsonl -o out.jsonl --shard $i/4; done  # 1/4",
        "the comment says what a reader would type besides",
    ),
    " a.jsonl --rpm": (" jobs.jsonl -o a.jsonl --rpm", "three runs of the same jobs show as much"),
    " b.jsonl --rpm": (" jobs.jsonl -o b.jsonl --rpm", "three runs of the same jobs show as much"),
    " c.jsonl --rpm": (" jobs.jsonl -o c.jsonl --rpm", "three runs of the same jobs show as much"),
    "sqlite:///var/tmp/org.quota": ("sqlite://$PWD/org.quota", "a test leaves nothing behind in /var/tmp"),
    "redis://redis.internal:6379/0": ("sqlite://$PWD/other.quota", "tests/quota start a server of Redis; none is here"),
    "https://RESOURCE.openai.azure.com": (
        "$SIMULATED_AZURE --provider azure",
        "nobody's resource is there, and a loopback address does not say whose API it speaks",
    ),
}

# Exit codes other than 0, by page and section.
CODES = {
    ("README.md", "What will it take?"): 3,  # its file has a bad line on purpose
}


def script(block: Block) -> str:
    """What bash gets: of a `console` block, what stands behind the prompts."""
    text = block.text
    if block.language == "console":
        text = "".join(line[2:] + "\n" for line in text.splitlines() if line.startswith("$ "))
    for written, (instead, _) in INSTEAD.items():
        text = text.replace(written, instead)
    return text
