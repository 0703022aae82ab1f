"""Errors of many processes that work together, `--shard`, `merge` and `--quota`, by what is typed; as in `rows.py`."""

from __future__ import annotations

import os
from pathlib import Path

from rows import HELP, OUT, Prepare, Row, write

PARTS = f"{OUT}.parts"
MANIFEST = f"{PARTS}/manifest.json"
WHERE = "use `sqlite:///path/to/file` for runs on this host, `redis://host:6379/0` for several hosts"
CUT_ANEW = f"move `{PARTS}` away to cut anew: its answers are asked again then"
SHARD = "run jobs.jsonl --simulate --shard"
QUOTA = "run jobs.jsonl --simulate --rpm 60 --quota"


def manifest(text: str) -> Prepare:
    """Puts one among the parts."""

    def put(folder: Path) -> None:
        (folder / PARTS).mkdir()
        (folder / MANIFEST).write_text(text)

    return put


def gone(folder: Path) -> None:
    """Goes to a folder and removes it."""
    (folder / "d").mkdir()
    os.chdir(folder / "d")
    (folder / "d").rmdir()


def wrong_quota(url: str, words: str, what: str = WHERE) -> Row:
    """An address that says no place: option, words and hint in one line."""
    return Row(f"{QUOTA} {url}", 2, f"invalid value for '--quota': {words}; {what}", HELP)


NEWER = '{"jobs": "j", "size": 1, "mtime_ns": 1, "head": "", "tail": "", "cuts": [0, 1], "identity": {}, "version": 99}'

MANY = [
    # which shard
    Row(
        f"{SHARD} 1",
        2,
        "invalid value for '--shard': `1` is not a shard such as `0/8`, the first of eight",
        HELP,
    ),
    Row(
        f"{SHARD} 4/4",
        2,
        "invalid value for '--shard': `4/4`: shards are counted from 0, so the last of 4 is `3/4`",
        HELP,
    ),
    # what does not go together
    Row(
        f"{SHARD} 0/4 -o -",
        2,
        "shards need files: `-o -` makes no sense with `--shard`",
        "name the output with `-o FILE`",
    ),
    Row(
        f"{SHARD} 0/4 --adopt",
        2,
        "`--adopt` makes no sense with `--shard`",
        f"to start all shards over, move `{PARTS}` away",
    ),
    Row(
        f"{SHARD} 0/4 --checkpoint c",
        2,
        "`--checkpoint` makes no sense with `--shard`",
        f"leave it out: each shard has its own in `{PARTS}`",
    ),
    Row(
        "run - -o o --simulate --shard 0/4",
        2,
        "standard input cannot be read in shards",
        "write the jobs to a plain file first, for example `zcat jobs.jsonl.gz > jobs.jsonl`",
    ),
    Row(f"{SHARD} 0/4 -o .", 2, "the output `.` is a directory", "name a file with `-o`"),
    Row(
        f"{SHARD} 0/4 -o 'my runs/o'",
        2,
        "there is no folder `my runs` for the output",
        "make it first: `mkdir -p 'my runs'`",
    ),
    Row(
        f"{SHARD} 0/4",
        6,
        f"`{OUT}` exists, and was not made in shards",
        "go on without `--shard`, or choose another output with `-o`",
        write(OUT, "{}\n"),
    ),
    # the folder of the parts
    Row(
        f"merge {OUT}",
        2,
        f"there is nothing to merge: no folder `{PARTS}` of shards",
        "name the output of `batchproc run JOBS -o OUTPUT --shard I/N`",
    ),
    Row(
        f"merge {OUT}",
        6,
        f"`{MANIFEST}` was written by a newer batchproc",
        "go on with that version: `pip install --upgrade batchproc`",
        manifest(NEWER),
    ),
    Row(
        f"status {OUT}",
        6,
        f"`{MANIFEST}` is damaged",
        f"put a copy of it back; or {CUT_ANEW}",
        manifest(NEWER[:30]),
    ),
    # where a quota is kept
    Row(
        "run jobs.jsonl --simulate --quota sqlite:///q",
        2,
        "`--quota` shares limits, and none is given",
        "add `--rpm N` or `--tpm N`: what all runs together may use",
    ),
    wrong_quota("redis://[x", "the address cannot be read"),
    wrong_quota("ftp://me:secret@x/y", "`ftp://…@x/y` is no place where a quota can be kept"),
    wrong_quota("sqlite://x", "`sqlite://x` names no file"),
    wrong_quota("sqlite:///q?name=a+b", "`name=a b` is not a name", "use up to 100 letters, digits, and . _ : -"),
    Row(
        f"{QUOTA} 'sqlite:///no such/folder/q'",
        2,
        "there is no folder `/no such/folder` for the quota",
        "make it first: `mkdir -p '/no such/folder'`",
    ),
    Row(
        f"{QUOTA} sqlite:///dev/null",
        2,
        "the quota file `/dev/null` cannot be used: <…>",
        "name another file in `--quota`; while no run uses this one, it may be removed: a new one is made then",
    ),
    Row(
        f"{QUOTA} redis://me:secret@127.0.0.1:1/0",
        2,
        "the quota store at 127.0.0.1:1 cannot be used: no connection",
        "look whether the server runs, and whether its address in `--quota` is right: `redis-cli -u URL ping`",
    ),
    Row(
        f"{QUOTA} sqlite:///q --quota-fraction 0",
        2,
        "invalid value for '--quota-fraction': `0` is too little: it must be more than 0",
        HELP,
    ),
    # where a command is typed
    Row(
        "run ../jobs.jsonl --simulate -o ../o",
        2,
        "the folder in which this was typed was removed",
        "go to one that is there, and type it again",
        gone,
    ),
    Row(
        "run ../jobs.jsonl --simulate -o ../o --shard 0/2",
        2,
        "the folder in which this was typed was removed",
        "go to one that is there, and type it again",
        gone,
    ),
]
