"""The rows of the architecture, read from the imports: `cli, api → building, ui → engine, adapters → core → model`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "batchproc"
ROOMS = {
    "core",
    "plan",
    "prices",
    "providers",
    "tokens",
    "store",
    "wire",
    "engine",
    "ui",
    "cli",
    "simulator",
    "building",
    "api",
    "quota",
}
BASE = {
    "model",
    "errors",
    "events",
    "settings",
    "ports",
    "jsontext",
    "resultline",
    "snapshot",
    "runreport",
    "usage",
    "price",
    "lease",
    "forecast",
    "__init__",
}

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),  # decides: only the plain records
    "plan": set(),  # adds up: only the plain records
    "prices": set(),
    "providers": set(),
    "tokens": set(),
    "store": {"core"},
    "wire": set(),
    "quota": {"core"},  # a store carries out what core/pot.py says
    "simulator": set(),  # shares nothing with the client: it is its judge
    "ui": set(),
    "engine": {"core"},  # adapters only by ports.py
    "api": ROOMS - {"api", "cli", "ui"},
    "building": ROOMS - {"building", "api", "cli", "ui"},  # what the command and the Python API both send with
    "cli": ROOMS - {"api", "cli"},
}
CLOCKS = {"asyncio", "time", "random", "datetime", "socket", "os", "io", "threading", "aiohttp", "aiofiles"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "batchproc" else None


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_its_row_allows(room: str) -> None:
    """Rooms on one row never import each other; `core` knows only the plain records."""
    for path in (PACKAGE / room).rglob("*.py"):
        rooms = {room_of(m) for m in imported(path)} - {None, room} - BASE
        wrong = {r for r in rooms if r in ROOMS} - MAY_IMPORT[room]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_the_records_import_no_room() -> None:
    """What every room may import must not itself import a room; the front door opens `api` when it is asked to."""
    for path in PACKAGE.glob("*.py"):
        if path.stem not in ("__main__", "__init__"):
            rooms = {room_of(m) for m in imported(path)} & ROOMS
            assert not rooms, f"{path.name} imports {rooms}"


def test_core_has_no_clock_no_chance_and_no_io() -> None:
    """`now` and `u` are arguments there."""
    for path in (PACKAGE / "core").rglob("*.py"):
        wrong = {m.split(".")[0] for m in imported(path)} & CLOCKS
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_files_are_small() -> None:
    """One idea a file: 300 lines at the most."""
    sizes = {p.relative_to(PACKAGE): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert not {p: n for p, n in sizes.items() if n > 310}


def test_functions_are_short() -> None:
    """About 60 lines at the most."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 70, f"{path.name}: {node.name}"


def test_no_import_cycle() -> None:
    """Modules can be put in an order in which each comes after what it imports."""
    names = {
        "batchproc." + ".".join(p.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): p
        for p in modules()
    }
    wants = {n: {m for m in imported(p) if m in names and m != n} for n, p in names.items()}
    # A function that imports the group it belongs to (completion) does so when it is called.
    wants["batchproc.cli.completion"].discard("batchproc.cli.main")
    done: set[str] = set()
    while len(done) < len(wants):
        ready = {n for n, w in wants.items() if n not in done and w <= done}
        assert ready, f"a cycle among {sorted(set(wants) - done)}"
        done |= ready


def test_the_front_door_is_light() -> None:
    """`import batchproc` imports nothing of the package, nor of anybody else's; `--help` begins with it."""
    import subprocess
    import sys

    code = "import sys; before = set(sys.modules); import batchproc; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = set(done.stdout.split())
    assert {m for m in new if m.startswith("batchproc")} == {"batchproc"}
    assert not new & {"asyncio", "msgspec", "click", "aiohttp", "json", "logging"}
    assert {room_of(m) for m in imported(PACKAGE / "__init__.py")} & ROOMS == {"api"}


def test_heavy_libraries_are_imported_late() -> None:
    """`batchproc --help` must not wait for aiohttp, tiktoken, rich or asyncio."""
    heavy = {"aiohttp", "tiktoken", "rich", "asyncio", "uvloop", "zstandard", "tomllib"}
    import subprocess
    import sys

    code = "import sys; from batchproc.cli.main import run_cli\ntry: run_cli(['--help'])\nexcept SystemExit: pass\n"
    code += "print(' '.join(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stderr.split())
