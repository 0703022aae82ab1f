"""How many input tokens a request has.

The rules and where they come from:

* Chat: 3 per message, the tokens of each value (role, content, name), 1 per name, 3 once for the answer's
  start (OpenAI cookbook, `How_to_count_tokens_with_tiktoken`; equal to the usage that the API reported in
  31 of 31 recorded requests). The gpt-5 family: 1 less in all (8 of 8). `gpt-3.5-turbo-0301`: 4 per message,
  -1 per name (cookbook).
* Responses: the same, a string being one user message and `instructions` a system message (9 of 9).
* Completions and embeddings: the sum over the prompts or inputs; a token array counts its length (17 of 17).
* Tools: see `tools.py`; an estimate. Images: 85 with low detail, else 765 (what the tile formula of gpt-4o
  gives for 1024x1024 and what OpenAI's limiter charged); an estimate for any other size or model.
* Other parts and fields (tool calls, tool results, refusals, reasoning): the tokens of every string in them
  that is not a label. Encoded files and sounds: 1 token per 100 characters. Rough: no rule is published.
* `response_format` and `text.format`: not counted; they add some 35 to 115 tokens by no known rule.

No body makes this raise. What does not fit the rules (wrong types, not JSON, tiktoken failing) weighs its
UTF-8 bytes / 4, as OpenAI's own limiter estimates, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import Struct

from batchproc.tokens.body import NO_TOOLS, Body, read
from batchproc.tokens.counter import Counter, counter
from batchproc.tokens.encodings import LONGEST_MODEL_NAME, EncodingName, encoding_name_for, plain_name

IMAGE_TOKENS = 765
LOW_DETAIL_IMAGE_TOKENS = 85
OPAQUE_CHARS_PER_TOKEN = 100

_LABELS = frozenset({"type", "id", "status", "call_id", "tool_call_id"})  # tags and links, not read as text
_OPAQUE = frozenset({"data", "file_data", "encrypted_content", "signature"})  # encoded bytes, no text


class Weight(Struct, frozen=True, gc=False):
    """Input tokens of a request; `exact` is False where the bytes had to stand in for a count."""

    tokens: int
    exact: bool


def by_bytes(size: int) -> int:
    """The estimate without a tokenizer: ceil(bytes / 4)."""
    return -(-size // 4)


class Rule(Struct, frozen=True):
    """How a model's requests are counted, in tokens."""

    counter: Counter
    per_message: int
    per_name: int
    per_request: int


def rule_for(model: str) -> Rule:
    """The rule of a model. Raises BatchprocError if the encoding cannot be loaded."""
    return _rule_for(model[:LONGEST_MODEL_NAME])


@lru_cache(maxsize=1024)
def _rule_for(model: str) -> Rule:
    name = plain_name(model)
    counts = counter(encoding_name_for(model))
    if name in ("gpt-3.5-turbo-0301", "gpt-35-turbo-0301"):
        return Rule(counts, per_message=4, per_name=-1, per_request=3)
    return Rule(counts, per_message=3, per_name=1, per_request=2 if name.startswith("gpt-5") else 3)


def count_text(text: str, encoding_name: EncodingName) -> int:
    """Tokens of a text; ceil(UTF-8 bytes / 4) where tiktoken fails on it."""
    counts = counter(encoding_name)
    tokens = _tried(lambda: counts.text(text))
    return by_bytes(len(text.encode("utf-8", "surrogatepass"))) if tokens is None else tokens


def input_tokens(path: str, body: bytes, model: str) -> Weight:
    """Input tokens of a request body, counted by the rule of its endpoint.

    `path` is the endpoint below the base URL (`/chat/completions`); for one that is not known, the fields of
    the body decide. Raises BatchprocError only, if the encoding cannot be loaded.
    """
    parsed = read(body)
    tokens = None if parsed is None else count_body(path, parsed, model)
    return Weight(by_bytes(len(body)), False) if tokens is None else Weight(tokens, True)


def count_body(path: str, body: Body, model: str) -> int | None:
    """Input tokens of a decoded body, or None if it does not fit the rules."""
    rule = rule_for(model)  # outside of the net below: a damaged installation must be heard
    return _tried(lambda: _count(path, body, rule))


def _tried(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except Exception:
        return None
    except BaseException as e:
        # A panic inside tiktoken arrives as pyo3_runtime.PanicException, which is no Exception and has no
        # importable name. KeyboardInterrupt, SystemExit and cancellation go on.
        if type(e).__name__ == "PanicException":
            return None
        raise


def _count(path: str, body: Body, rule: Rule) -> int:
    if path == "/completions":
        return _texts(body.prompt, rule)
    if path == "/embeddings":
        return _texts(body.input, rule)
    if path == "/responses":
        return _responses(body, rule)
    if path == "/chat/completions" or body.messages is not None:
        return _chat(body.messages, body.system, body, rule)
    return _texts(body.input if body.prompt is None else body.prompt, rule)


def _responses(body: Body, rule: Rule) -> int:
    items = body.input
    if type(items) is str:
        items = [{"role": "user", "content": items}]
    return _chat(items, body.instructions, body, rule)


def _chat(messages: Any, system: Any, body: Body, rule: Rule) -> int:
    if type(messages) is not list:
        raise TypeError("messages are not a list")
    total = rule.per_request + _messages(messages, rule)
    if system is not None:
        total += _messages([{"role": "system", "content": system}], rule)
    for functions in (body.tools, body.functions):
        if functions is not NO_TOOLS:
            total += rule.counter.tools(bytes(functions))
    return total


def _messages(messages: list[Any], rule: Rule) -> int:
    count = rule.counter.text
    total = rule.per_message * len(messages)
    for message in messages:
        for key, value in message.items():
            if type(value) is str:
                if key not in _LABELS:
                    total += count(value)
                if key == "name":
                    total += rule.per_name
            elif key == "content":
                total += _content(value, count)
            elif type(value) is list or type(value) is dict:
                total += _inside(value, count)
    return total


def _content(value: Any, count: Callable[[str], int]) -> int:
    if value is None:
        return 0
    if type(value) is not list:
        raise TypeError("content is neither text nor parts")
    return sum(count(part) if type(part) is str else _inside(part, count) for part in value)


def _inside(value: Any, count: Callable[[str], int]) -> int:
    """The tokens of everything in a part or another nested value; a stack, as the nesting may be deep."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if type(item) is list:
            stack.extend(item)
        elif type(item) is str:
            total += _opaque(item) if item.startswith("data:") else count(item)
        elif type(item) is dict:
            kind = item.get("type")
            if type(kind) is str and "image" in kind:
                total += _image(item)
                continue
            for key, inner in item.items():
                if key in _OPAQUE and type(inner) is str:
                    total += _opaque(inner)
                elif key not in _LABELS:
                    stack.append(inner)
    return total


def _image(part: dict[str, Any]) -> int:
    image = part.get("image_url")
    detail = image.get("detail") if type(image) is dict else part.get("detail")
    return LOW_DETAIL_IMAGE_TOKENS if detail == "low" else IMAGE_TOKENS


def _opaque(encoded: str) -> int:
    return -(-len(encoded) // OPAQUE_CHARS_PER_TOKEN)


def _texts(value: Any, rule: Rule) -> int:
    """A prompt or an input: text, tokens, or a list of texts, of token arrays, of parts."""
    count = rule.counter.text
    if type(value) is str:
        return count(value)
    if type(value) is not list:
        raise TypeError("neither text nor a list")
    kinds = set(map(type, value))
    if kinds == {int}:
        return len(value)
    if kinds - {str, list, dict}:
        raise TypeError("neither text nor tokens")
    total = 0
    for item in value:
        kind = type(item)
        total += count(item) if kind is str else _tokens(item) if kind is list else _inside(item, count)
    return total


def _tokens(array: list[Any]) -> int:
    if set(map(type, array)) - {int}:
        raise TypeError("a token array with something else in it")
    return len(array)
