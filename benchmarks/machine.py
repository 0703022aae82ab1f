"""Says what a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version


def machine() -> str:
    """The processor, Python, and the versions of what matters for speed."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = []
    for name in ("batchproc", "aiohttp", "uvloop", "msgspec", "orjson", "tiktoken"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"no {name}")
    return f"{os.cpu_count()} × {cpu}, Python {platform.python_version()}, {', '.join(packages)}"
