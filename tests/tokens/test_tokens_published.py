"""Counts of conversations and tools, against published figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchproc.tokens.count import input_tokens
from batchproc.tokens.encodings import load

CHAT = "/chat/completions"

# Both from the OpenAI cookbook, How_to_count_tokens_with_tiktoken.
JARGON = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into "
        "plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for "
        "increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
WEATHER = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
GET_WEATHER: dict[str, Any] = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
TOOLS = [{"type": "function", "function": GET_WEATHER}]


def exact(path: str, body: object, model: str = "gpt-4o") -> int:
    """The count of a body that must not be weighed by its bytes."""
    weight = input_tokens(path, json.dumps(body).encode(), model)
    assert weight.exact
    return weight.tokens


def text(value: str) -> int:
    """Tokens of a text alone, straight from the encoding."""
    return len(load("o200k_base").encode(value, disallowed_special=()))


@pytest.mark.parametrize(
    ("model", "tokens", "reason"),
    [
        ("gpt-3.5-turbo", 129, "published"),
        ("gpt-3.5-turbo-0613", 129, "published"),
        ("gpt-4-0314", 129, "published"),
        ("gpt-4", 129, "published"),
        ("gpt-3.5-turbo-0301", 127, "published: 4 per message and -1 per name"),
        ("gpt-4o", 124, "published"),
        ("gpt-4o-mini", 124, "published"),
        ("openai/gpt-4o-mini", 124, "a prefix changes nothing"),
        ("gpt-5-nano", 123, "one less than the rule in all 8 recorded requests of the family"),
        ("gpt-5.1", 123, "the same family"),
    ],
)
def test_the_published_conversation(model: str, tokens: int, reason: str) -> None:
    """The cookbook's conversation of six messages, four of them with names, counts what it says."""
    assert exact(CHAT, {"messages": JARGON}, model) == tokens, reason


@pytest.mark.parametrize(
    ("model", "tools", "tokens", "reason"),
    [
        ("gpt-4o", TOOLS, 101, "published"),
        ("gpt-4o-mini", TOOLS, 101, "published"),
        ("gpt-4", TOOLS, 105, "published"),
        ("gpt-3.5-turbo", TOOLS, 105, "published"),
        ("gpt-4o", [GET_WEATHER], 101, "the flat form of the Responses API has the same text"),
        ("gpt-4o", [], 33, "the messages alone"),
        ("gpt-4", [], 34, "the messages alone"),
        ("gpt-4o", None, 33, "null is the same as none"),
        ("gpt-4o", [{"type": "web_search"}], 33, "no rule is published for hosted tools"),
    ],
)
def test_the_published_tools(model: str, tools: object, tokens: int, reason: str) -> None:
    """The cookbook's weather function adds what it says, as often as it is asked."""
    body = {"messages": WEATHER, "tools": tools}
    assert exact(CHAT, body, model) == tokens, reason
    assert exact(CHAT, body, model) == tokens, f"{reason}; and when the count is remembered"


def test_older_and_newer_places_of_a_function() -> None:
    """`functions`, and Anthropic's `input_schema`, hold the same definition under other names."""
    anthropic = {**GET_WEATHER, "input_schema": GET_WEATHER["parameters"]}
    del anthropic["parameters"]
    assert exact(CHAT, {"messages": WEATHER, "functions": [GET_WEATHER]}) == 101
    assert exact("/messages", {"messages": WEATHER, "tools": [anthropic]}) == 101


def test_what_is_nested_in_a_schema_counts_too() -> None:
    """The published rule stops at the first level; the model reads all of it."""
    inner = {"type": "object", "properties": {"street": {"type": ["string", "null"]}}}
    plain = {"name": "f", "parameters": {"properties": {"to": {"type": "array"}}}}
    nested = {"name": "f", "parameters": {"properties": {"to": {"type": "array", "items": inner}}}}
    difference = exact(CHAT, {"messages": [], "tools": [nested]}) - exact(CHAT, {"messages": [], "tools": [plain]})
    assert difference == 3 + 3 + text("street:string|null:")
