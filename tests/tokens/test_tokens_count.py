"""Counts of each endpoint and kind of content, by the rules that no published figure covers."""

from __future__ import annotations

import json

import pytest

from batchproc.tokens.count import input_tokens

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = "/chat/completions", "/completions", "/embeddings", "/responses"


def exact(path: str, body: object, model: str = "gpt-4o") -> int:
    """The count of a body that must not be weighed by its bytes."""
    weight = input_tokens(path, json.dumps(body).encode(), model)
    assert weight.exact
    return weight.tokens


@pytest.mark.parametrize(
    ("path", "body", "tokens", "reason"),
    [
        (CHAT, {"messages": []}, 3, "only the start of the answer"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, 7, "null is no text"),
        (CHAT, {"messages": [{"role": "user", "name": None, "content": "hi"}]}, 8, "null is no name"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
            8,
            "a text part counts like the text",
        ),
        (CHAT, {"messages": [{"role": "user", "content": ["hi", "hi"]}]}, 9, "bare strings as parts"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            7 + 765,
            "an image of unknown size, at the default detail",
        ),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "hi"},
                            {"type": "image_url", "image_url": {"url": "x", "detail": "low"}},
                        ],
                    }
                ]
            },
            8 + 85,
            "low detail is 85 whatever the size",
        ),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x", "detail": "low"}]}]},
            7 + 85,
            "Responses has the detail beside the address",
        ),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "input_audio", "input_audio": {"data": "A" * 1_001, "format": "wav"}}],
                    }
                ]
            },
            7 + 11 + 1,
            "a sound is no text: one token per 100 characters begun, and the word wav",
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"url": "data:," + "A" * 194}}]}]},
            7 + 2,
            "a data URL is encoded bytes wherever it stands",
        ),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "id": "call_abcdefghijklmnop",
                                "type": "function",
                                "function": {"name": "get", "arguments": "hi"},
                            }
                        ],
                    }
                ]
            },
            3 + 3 + 1 + 2,
            "a tool call counts its name and arguments, not its labels",
        ),
        (
            CHAT,
            {"messages": [{"role": "tool", "tool_call_id": "call_abcdefghijklmnop", "content": "hi"}]},
            8,
            "the link to the call is a label",
        ),
        (CHAT, {"messages": [{"role": "user", "content": "hi", "weight": 1}]}, 8, "numbers are no text"),
        (COMPLETIONS, {"prompt": "hi there"}, 2, "the tokens of the prompt, nothing else"),
        (COMPLETIONS, {"prompt": ["hi there", "hi"]}, 3, "the sum over the prompts"),
        (COMPLETIONS, {"prompt": [1, 2, 3]}, 3, "one prompt as tokens"),
        (COMPLETIONS, {"prompt": [[1, 2, 3], [4]]}, 4, "prompts as tokens"),
        (COMPLETIONS, {"prompt": []}, 0, "nothing"),
        (EMBEDDINGS, {"input": "hi there"}, 2, "the tokens of the input"),
        (EMBEDDINGS, {"input": ["hi there", "hi", ""]}, 3, "the sum over the inputs"),
        (EMBEDDINGS, {"input": [1, 2, 3]}, 3, "one input as tokens"),
        (EMBEDDINGS, {"input": [[1, 2, 3], [4], []]}, 4, "inputs as tokens"),
        (RESPONSES, {"input": "hi"}, 8, "a string is one user message"),
        (RESPONSES, {"input": "hi", "instructions": "hi"}, 13, "instructions are a system message"),
        (
            RESPONSES,
            {"input": [{"type": "message", "role": "user", "content": "hi"}]},
            8,
            "the tag is a label",
        ),
        (
            RESPONSES,
            {"input": [{"type": "function_call_output", "call_id": "call_abc", "output": "hi"}]},
            3 + 3 + 1,
            "an item without a role counts its text",
        ),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, 8, "by its messages"),
        (
            "/messages",
            {"system": "hi", "messages": [{"role": "user", "content": "hi"}]},
            13,
            "Anthropic's form",
        ),
        ("/images/generations", {"prompt": "hi there"}, 2, "by its prompt"),
        ("/moderations", {"input": [{"type": "text", "text": "hi there"}]}, 2, "by its input, made of parts"),
    ],
)
def test_each_endpoint_and_kind_of_part(path: str, body: object, tokens: int, reason: str) -> None:
    """One row for each rule that is not in a published figure."""
    assert exact(path, body) == tokens, reason


def test_the_gpt_5_family_is_one_less_at_responses_too() -> None:
    """Recorded in 3 of 3 requests."""
    assert exact(RESPONSES, {"input": "hi"}, "gpt-5-nano") == 7
