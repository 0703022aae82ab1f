"""The limiter's estimate, against what was recorded (`limit - remaining` on a full bucket)."""

from __future__ import annotations

import json

import pytest

from batchproc.tokens.body import read
from batchproc.tokens.limiter import limiter_tokens

USER = {"role": "user"}


@pytest.mark.parametrize(
    ("path", "body", "tokens", "why"),
    [
        ("/chat/completions", {"messages": [{**USER, "content": "a" * 34}]}, 11, "1 + 1 + 9, recorded"),
        ("/v1/chat/completions", {"messages": [{**USER, "content": "a" * 34}]}, 11, "with the prefix"),
        ("/chat/completions", {"messages": []}, 1, "no message"),
        ("/chat/completions", {"messages": [{**USER, "content": "abcd"}] * 2}, 5, "each message on its own"),
        ("/chat/completions", {"messages": [{**USER, "content": "äöü"}]}, 4, "bytes, not characters"),
        ("/chat/completions", {"messages": [{**USER, "content": "\ud800"}]}, 3, "half a character: never raises"),
        (
            "/chat/completions",
            {"messages": [{**USER, "content": [{"type": "text", "text": "abcde"}, {"type": "text", "text": "x"}, 5]}]},
            5,
            "parts",
        ),
        ("/chat/completions", {"messages": [{**USER, "content": None}, "x", {}]}, 3, "nothing said"),
        (
            "/chat/completions",
            {"messages": [{**USER, "content": "a"}], "tools": [{"x": "y" * 99}]},
            3,
            "tools are free",
        ),
        ("/chat/completions", {"messages": [{**USER, "content": "a"}], "n": 5, "max_tokens": 99}, 3, "the input alone"),
        ("/chat/completions", {"messages": "text"}, 0, "no list of messages"),
        ("/completions", {"prompt": "a" * 5469}, 1368, "recorded"),
        ("/completions", {"prompt": ["abcde", "a"]}, 3, "each prompt on its own"),
        ("/completions", {"prompt": [1, 2, 3]}, 0, "tokens: no rule"),
        ("/embeddings", {"input": "a" * 34}, 9, "recorded from Azure too"),
        ("/embeddings", {"input": ["abc", "abcde", 7]}, 3, "the sum over the inputs"),
        ("/embeddings", {"input": []}, 0, "none"),
        ("/responses", {"input": "a" * 34}, 0, "charged by true tokens"),
        ("/moderations", {"input": "a"}, 0, "no rule"),
    ],
)
def test_recorded_charges(path, body, tokens, why):
    """One row for each rule of providers.md, 1.2.4."""
    parsed = read(json.dumps(body).encode())
    if parsed is None:
        pytest.skip("the reader does not take it")
    assert limiter_tokens(path, parsed) == tokens, why
