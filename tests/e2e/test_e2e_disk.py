"""Exit code 7: the disk is full, limited, or read-only; nothing that was saved is lost, and the next run goes on."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Program, chats, check_chats, environment, saved_on_disk
from servers import Simulator

JOBS = 200
linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts and capabilities are those of Linux")


def file_size_limit(size: int) -> Callable[[], None]:
    """Lets no file of the child grow beyond `size` bytes: writes then fail as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def without_root_powers() -> None:
    """Makes permissions count for the child even where the tests run as root."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for power in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, power, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def no_permission(tmp_path: Path) -> Path:
    """A folder that may not be written to; skips where permissions mean nothing."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    probe = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').close()", str(closed / "probe")]
    if not subprocess.run(probe, preexec_fn=without_root_powers, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("permissions do not hold this user back")
    return closed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 kB; skips where it cannot be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user cannot mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def check_full(code: int, err: str) -> None:
    """Exit 7, in words."""
    assert code == 7, err
    assert "error:" in err
    assert "hint:" in err
    assert "Traceback" not in err


def test_a_file_that_may_not_grow(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A size limit ends the run with exit 7; without it the same command goes on and repeats nothing saved."""
    server = simulator(latency="0-0.05")
    chats(folder / "jobs.jsonl", JOBS)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "10")
    full = program.run(*command, "--header", "x-marker=1", before=file_size_limit(40_000))
    check_full(full.code, full.err)
    output = folder / "jobs.results.jsonl"
    saved = saved_on_disk(output, folder / "jobs.results.jsonl.ckpt")
    assert 10 < len(saved) < JOBS
    done = program.run(*command, "--header", "x-marker=2")
    assert done.code == 0, done.err
    check_chats(output, JOBS)
    assert len(server.ledger("2")) == JOBS - len(saved)


@linux
def test_a_full_disk(program: Program, folder: Path, simulator: Callable[..., Simulator], small_disk: Path) -> None:
    """A full disk ends the run with exit 7; once there is room the same command goes on and repeats nothing saved."""
    server = simulator(latency="0-0.05")
    chats(folder / "jobs.jsonl", JOBS)
    output = small_disk / "out.jsonl"
    command = ("run", "jobs.jsonl", "-o", output, "--base-url", server.url, "--concurrency", "10")
    full = program.run(*command, "--header", "x-marker=1")
    check_full(full.code, full.err)
    assert "space" in full.err
    saved = saved_on_disk(output, small_disk / "out.jsonl.ckpt")
    assert 10 < len(saved) < JOBS
    still = program.run(*command, "--header", "x-marker=2")
    check_full(still.code, still.err)
    saved |= saved_on_disk(output, small_disk / "out.jsonl.ckpt")
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    done = program.run(*command, "--header", "x-marker=3")
    assert done.code == 0, done.err
    check_chats(output, JOBS)
    assert len(server.ledger("3")) == JOBS - len(saved)


@linux
def test_a_full_disk_from_the_start(program: Program, folder: Path, small_disk: Path) -> None:
    """With no room at all the run says so, exit 7, before a request is sent."""
    (small_disk / "ballast").write_bytes(b"x" * 90_000)
    try:
        (small_disk / "more").write_bytes(b"x" * 90_000)
    except OSError:
        pass  # that is the point
    chats(folder / "jobs.jsonl", 3)
    full = program.run("run", "jobs.jsonl", "-o", small_disk / "out.jsonl", "--simulate")
    check_full(full.code, full.err)


@linux
def test_a_read_only_disk(program: Program, folder: Path, small_disk: Path) -> None:
    """A read-only file system is exit 7, and another place is suggested."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    chats(folder / "jobs.jsonl", 3)
    done = program.run("run", "jobs.jsonl", "-o", small_disk / "out.jsonl", "--simulate")
    check_full(done.code, done.err)
    assert "-o" in done.err


def test_a_folder_without_permission(program: Program, folder: Path, no_permission: Path) -> None:
    """A folder that may not be written to is exit 7, nothing sent, nothing left behind."""
    chats(folder / "jobs.jsonl", 3)
    output = no_permission / "out.jsonl"
    done = program.run("run", "jobs.jsonl", "-o", output, "--simulate", before=without_root_powers)
    check_full(done.code, done.err)
    assert os.listdir(no_permission) == []


def test_an_unreadable_job_file(program: Program, folder: Path, no_permission: Path) -> None:
    """A job file that may not be read is exit 2, naming it."""
    jobs = chats(folder / "jobs.jsonl", 3)
    jobs.chmod(0)
    done = program.run("run", "jobs.jsonl", "--simulate", before=without_root_powers)
    assert done.code == 2, done.err
    assert "jobs.jsonl" in done.err
    assert "Traceback" not in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_standard_output(program: Program, folder: Path) -> None:
    """Results to a stdout that cannot take them end the run with exit 7."""
    chats(folder / "jobs.jsonl", 3)
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "-o", "-", "--simulate"]
        env = environment(folder)
        child = subprocess.run(
            command, cwd=folder, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    check_full(child.returncode, child.stderr)
