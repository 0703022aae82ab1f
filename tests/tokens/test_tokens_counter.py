"""Counts of texts: published tokens, special and broken characters, slices, and what is remembered."""

from __future__ import annotations

import pytest

from batchproc.tokens import counter as counter_module
from batchproc.tokens.count import count_text, input_tokens
from batchproc.tokens.counter import Counter, counter
from batchproc.tokens.encodings import EncodingName, load

COMPLETIONS = "/completions"


def text(value: str) -> int:
    """Tokens of a text alone, straight from the encoding."""
    return len(load("o200k_base").encode(value, disallowed_special=()))


@pytest.mark.parametrize(
    ("value", "cl100k", "o200k"),
    [
        ("tiktoken is great!", [83, 1609, 5963, 374, 2294, 0], [83, 8251, 2488, 382, 2212, 0]),
        (
            "antidisestablishmentarianism",
            [519, 85342, 34500, 479, 8997, 2191],
            [493, 129901, 376, 160388, 21203, 2367],
        ),
        ("2 + 2 = 4", [17, 489, 220, 17, 284, 220, 19], [17, 659, 220, 17, 314, 220, 19]),
        ("お誕生日おめでとう", None, [8930, 9697, 243, 128225, 8930, 17693, 4344, 48669]),
        ("", [], []),
    ],
)
def test_the_published_strings(value: str, cl100k: list[int] | None, o200k: list[int]) -> None:
    """The cookbook's strings get the tokens it prints (of the Japanese one in cl100k only how many)."""
    assert load("o200k_base").encode(value) == o200k
    assert count_text(value, "o200k_base") == len(o200k)
    assert count_text(value, "cl100k_base") == (9 if cl100k is None else len(cl100k))
    if cl100k is not None:
        assert load("cl100k_base").encode(value) == cl100k


def test_special_tokens_in_a_text_are_text() -> None:
    """A job that spells `<|endoftext|>` is counted as the characters that it sends, 9 tokens in all here."""
    assert count_text("a<|endoftext|>b", "o200k_base") == 9
    assert input_tokens(COMPLETIONS, b'{"prompt":"a<|endoftext|>b"}', "gpt-4o").tokens == 9


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_a_run_of_blanks_longer_than_the_regex_engine_bears(name: EncodingName) -> None:
    """More than a million blanks in one run make tiktoken panic; in slices they are counted."""
    assert 0 < count_text(" " * 1_200_000, name) < 1_200_000
    assert input_tokens(COMPLETIONS, b'{"prompt":"%b"}' % (b" " * 1_200_000), "gpt-4").exact


def test_slices_cut_where_tokens_end() -> None:
    """A long English text counts in slices exactly what it counts in one piece; without blanks nearly so."""
    words = "The quick brown fox jumps over the lazy dog, 12 times; nobody asked why. " * 3_000
    assert count_text(words, "o200k_base") == text(words)
    solid = "abcdefghij" * 20_000
    assert abs(count_text(solid, "o200k_base") - text(solid)) <= 2 * (len(solid) // 65_536)


def test_lone_surrogates_are_counted_as_the_replacement_character() -> None:
    """Half of a broken emoji is valid JSON; it counts like U+FFFD, as in tiktoken itself."""
    broken = input_tokens(COMPLETIONS, rb'{"prompt":"a \ud83d b"}', "gpt-4o")
    assert broken == input_tokens(COMPLETIONS, '{"prompt":"a \ufffd b"}'.encode(), "gpt-4o")
    assert broken.exact
    assert count_text("a \ud83d b", "o200k_base") == count_text("a \ufffd b", "o200k_base")


def test_remembered_texts_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts a file has, those remembered never exceed their bound, and counts stay right."""
    monkeypatch.setattr(counter_module, "REMEMBERED_CHARS", 1_000)
    counts = Counter(load("o200k_base"))
    for i in range(500):
        value = f"job number {i} " * (i % 7)
        assert counts.text(value) == text(value)
        assert counts.text("You are a helpful assistant.") == 6
        assert sum(len(known) + counter_module.ENTRY_CHARS for known in counts._known) <= 1_000


def test_remembered_tools_stay_few() -> None:
    """A file in which every job has other tools does not fill the memory."""
    counts = Counter(load("o200k_base"))
    for i in range(200):
        assert counts.tools(b'[{"name":"f%d"}]' % i) == 7 + 12 + text(f"f{i}:")
        assert len(counts._known_tools) <= counter_module.REMEMBERED_TOOLS
    long = b'[{"name":"f","description":"%b"}]' % (b"word " * counter_module.LONGEST_REMEMBERED)
    assert counts.tools(long) > counter_module.LONGEST_REMEMBERED
    assert long not in counts._known_tools


def test_one_counter_serves_the_process() -> None:
    """The remembered counts are shared by everybody who counts with an encoding."""
    assert counter("o200k_base") is counter("o200k_base")
