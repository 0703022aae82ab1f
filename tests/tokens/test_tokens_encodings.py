"""The shipped encodings are tiktoken's own, and getting them never touches a network."""

from __future__ import annotations

import hashlib
import importlib.resources
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiktoken
from tiktoken_ext import openai_public

from batchproc.errors import BatchprocError
from batchproc.tokens import encodings
from batchproc.tokens.encodings import RECIPES, EncodingName, encoding_name_for, load, read_ranks

BOTH: list[EncodingName] = ["o200k_base", "cl100k_base"]
# The names under which tiktoken looks for the files in its cache: the SHA-1 of the address of each.
CACHE_NAMES = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something tried to use the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize("name", BOTH)
def test_the_ranks_have_the_published_hash(name: EncodingName) -> None:
    """What is shipped is, uncompressed, byte for byte the file that tiktoken would download."""
    assert hashlib.sha256(read_ranks(name)).hexdigest() == RECIPES[name].sha256


@pytest.mark.parametrize("name", BOTH)
def test_the_archives_are_reproducible(name: EncodingName) -> None:
    """No file name and no time is in the gzip header, so the same input gives the same archive."""
    packed = (importlib.resources.files("batchproc.tokens") / "ranks" / f"{name}.tiktoken.gz").read_bytes()
    assert packed[:2] == b"\x1f\x8b"
    assert packed[3:8] == bytes(5)


@pytest.mark.parametrize("name", BOTH)
def test_an_encoding_equals_the_one_of_the_installed_tiktoken(
    name: EncodingName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    """Hash, pattern, special tokens and ranks are those of the installed tiktoken's own constructor."""
    (tmp_path / CACHE_NAMES[name]).write_bytes(read_ranks(name))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    theirs = openai_public.ENCODING_CONSTRUCTORS[name]()
    ours = load(name)
    assert RECIPES[name].pat_str == theirs["pat_str"]
    assert RECIPES[name].special_tokens == theirs["special_tokens"]
    assert ours._mergeable_ranks == theirs["mergeable_ranks"]
    assert (tmp_path / CACHE_NAMES[name]).exists(), "a file with another hash would have been deleted"


@pytest.mark.parametrize("name", BOTH)
def test_loading_and_counting_need_no_network(
    name: EncodingName, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    """A first load works where every socket call fails and no cache folder is set."""
    monkeypatch.setattr(encodings, "_loaded", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    monkeypatch.setattr(tiktoken, "get_encoding", None)
    assert len(load(name).encode("antidisestablishmentarianism")) == 6


def test_an_encoding_is_built_once() -> None:
    """The second call gives the same object: building takes a good part of a second."""
    assert load("cl100k_base") is load("cl100k_base")


def test_other_ranks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that differ in one byte would count wrongly without a word, so they do not load."""
    ranks = read_ranks("cl100k_base")
    monkeypatch.setattr(encodings, "_loaded", {})
    monkeypatch.setattr(encodings, "read_ranks", lambda name: ranks.replace(b" 7\n", b" 8\n", 1))
    with pytest.raises(BatchprocError, match="cl100k_base"):
        load("cl100k_base")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the file is missing"),
        (b"", "the file is empty"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xb4", "the file ends early"),
        (b"<html>", "the file is something else"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03" + b"\xff" * 40, "the compressed data is damaged"),
    ],
)
def test_a_damaged_installation_is_named(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with the rank file, the error says which one and what to do."""
    (tmp_path / "ranks").mkdir()
    if content is not None:
        (tmp_path / "ranks" / "o200k_base.tiktoken.gz").write_bytes(content)
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(encodings, "_loaded", {})
    with pytest.raises(BatchprocError, match="o200k_base") as caught:
        load("o200k_base")
    assert caught.value.hint == "install batchproc again: `pip install --force-reinstall --no-deps batchproc`", reason


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        ("gpt-4o", "o200k_base", "in tiktoken's table"),
        ("gpt-4o-mini-2024-07-18", "o200k_base", "a dated version, by its prefix"),
        ("chatgpt-4o-latest", "o200k_base", "by its prefix"),
        ("gpt-4.1-nano", "o200k_base", "by its prefix, which is longer than gpt-4"),
        ("o1", "o200k_base", "in the table"),
        ("o3-mini", "o200k_base", "by its prefix"),
        ("gpt-5.1", "o200k_base", "by its prefix"),
        ("gpt-5.2", "o200k_base", "tiktoken 0.13 does not know it; the default is the same"),
        ("gpt-6", "o200k_base", "not in the table: the newest encoding is the best guess"),
        ("gpt-oss-120b", "o200k_base", "o200k_harmony has the ranks of o200k_base"),
        ("gpt-4", "cl100k_base", "in the table"),
        ("gpt-4-0613", "cl100k_base", "by its prefix"),
        ("gpt-3.5-turbo-0301", "cl100k_base", "by its prefix"),
        ("gpt-35-turbo", "cl100k_base", "Azure's spelling"),
        ("text-embedding-3-small", "cl100k_base", "in the table"),
        ("text-embedding-ada-002", "cl100k_base", "in the table"),
        ("davinci-002", "cl100k_base", "in the table"),
        ("text-davinci-003", "cl100k_base", "p50k_base is not shipped, this is the nearest"),
        ("davinci", "cl100k_base", "r50k_base is not shipped"),
        ("gpt2", "cl100k_base", "gpt2 is not shipped"),
        ("GPT-4o", "o200k_base", "the case does not matter"),
        ("GPT-4", "cl100k_base", "the case does not matter"),
        (" gpt-4 ", "cl100k_base", "nor do blanks around it"),
        ("openai/gpt-4", "cl100k_base", "as routers write it"),
        ("accounts/acme/models/gpt-4", "cl100k_base", "only the last part is the model"),
        ("ft:gpt-3.5-turbo:acme::abc", "cl100k_base", "a fine-tune counts like its base"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "o200k_base", "a fine-tune counts like its base"),
        ("ft:gpt-4.1-mini:acme::abc", "o200k_base", "tiktoken's prefix ft:gpt-4 would make it cl100k"),
        ("claude-3-5-haiku", "o200k_base", "another vendor"),
        ("my-deployment", "o200k_base", "an Azure deployment can have any name"),
        ("", "o200k_base", "no name at all"),
        ("/", "o200k_base", "nothing behind the vendor"),
        ("gpt-4" * 100_000, "o200k_base", "no name of a model, and only its start is looked at"),
        ("\ud800\x00", "o200k_base", "no text at all"),
    ],
)
def test_encoding_name_for(model: str, name: str, reason: str, no_network: None) -> None:
    """Each name of a model goes to one of the two encodings, and none raises."""
    assert encoding_name_for(model) == name, reason


def test_importing_the_room_is_cheap() -> None:
    """`batchproc --help` must not wait for tiktoken, nor for asyncio: both are imported when needed."""
    code = (
        "import sys, batchproc.tokens.weigh;"
        "print([m for m in ('tiktoken', 'asyncio', 'gzip', 'importlib.resources') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
