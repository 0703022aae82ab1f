"""What a request body asks for: read leniently, as a provider reads, and only what the simulator needs."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

# What a high-detail picture of 1024 pixels adds by the tile formula, and a low-detail one (recorded, 2025).
_IMAGE_TOKENS = 765
_LOW_DETAIL_IMAGE_TOKENS = 85


class Malformed(Exception):
    """The body cannot be used: becomes a 400 with these words."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class Asked(Struct, frozen=True, gc=False):
    """A request, understood. Token counts are the simulator's own estimates."""

    model: str
    texts: tuple[str, ...]  # what the answers echo: one per prompt or input
    estimate: int  # input tokens by the provider's quick estimate, which the limits are charged with
    prompt_tokens: int  # input tokens as the usage will say
    cap: int | None = None  # the request's own maximum of output tokens, for one choice
    n: int = 1  # choices per prompt
    dimensions: int = 8  # floats of an embedding
    base64: bool = False  # embeddings as base64 of little-endian float32
    instructions: str | None = None
    best_of: int = 1  # candidates of which the best n are returned


class Part(Struct, gc=False):
    """A part of a message."""

    text: str | None = None
    type: str | None = None
    detail: str | None = None
    image_url: Any = None


class Message(Struct, gc=False):
    """A message of a chat, leniently."""

    role: str | None = None
    content: str | list[Part] | None = None


class _Chat(Struct, gc=False):
    model: str | None = None
    messages: list[Message] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None


class _Completion(Struct, gc=False):
    model: str | None = None
    prompt: str | list[Any] | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    stream: bool | None = None


class _Embedding(Struct, gc=False):
    model: str | None = None
    input: str | list[Any] | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


class _Responses(Struct, gc=False):
    model: str | None = None
    input: str | list[Message] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[Any] | None = None
    stream: bool | None = None


_chat = msgspec.json.Decoder(_Chat).decode
_completion = msgspec.json.Decoder(_Completion).decode
_embedding = msgspec.json.Decoder(_Embedding).decode
_responses = msgspec.json.Decoder(_Responses).decode


def _quarter(text: str) -> int:
    """Bytes of UTF-8 divided by four, rounded up: recorded charges count bytes, not characters."""
    length = len(text) if text.isascii() else len(text.encode())
    return -(-length // 4)


def _usage(estimate: int) -> int:
    """Tokens the usage will report: near the estimate and not equal to it, as in life."""
    return estimate - estimate // 16


def _weigh(content: str | list[Part] | None) -> tuple[int, str]:
    """Estimated tokens of a message's content, and its text."""
    if content is None:
        return 0, ""
    if isinstance(content, str):
        return _quarter(content), content
    tokens = 0
    texts = []
    for part in content:
        if part.text is not None:
            tokens += _quarter(part.text)
            texts.append(part.text)
        elif part.type in ("image_url", "input_image", "image"):
            detail = part.image_url.get("detail") if isinstance(part.image_url, dict) else part.detail
            tokens += _LOW_DETAIL_IMAGE_TOKENS if detail == "low" else _IMAGE_TOKENS
    return tokens, "\n".join(texts)


def _model(name: str | None) -> str:
    if not name:
        raise Malformed("you must provide a model parameter")
    return name


def _missing(name: str) -> Malformed:
    return Malformed(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _no_streams(stream: bool | None) -> None:
    if stream:
        raise Malformed("The simulated provider does not stream.", "stream", "unsupported_parameter")


def weigh_all(messages: list[Message]) -> tuple[int, str]:
    """Estimated tokens of all messages, 1 + the sum of 1 + ceil(bytes / 4), and what the user said last."""
    tokens = 1
    last = said = ""
    for message in messages:
        weight, text = _weigh(message.content)
        tokens += 1 + weight
        last = text or last
        if message.role == "user" and text:
            said = text
    return tokens, said or last


def read_chat(body: bytes, model: str | None = None) -> Asked:
    """Read the body of /chat/completions; `model` is the one the path names, here and below."""
    asked = _chat(body)
    model = model or _model(asked.model)
    if asked.messages is None:
        raise _missing("messages")
    _no_streams(asked.stream)
    tokens, text = weigh_all(asked.messages)
    cap = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    return Asked(model, (text,), tokens, _usage(tokens) + 3, cap, _choices(asked.n))


def _choices(n: int | None) -> int:
    """Choices per prompt: 128 at the most, as in the API's specification."""
    return min(max(1, n or 1), 128)


def _several(items: str | list[Any]) -> list[tuple[int, str]]:
    """Tokens and text of each input: texts, or lists of token numbers."""
    if isinstance(items, str):
        return [(_quarter(items), items)]
    if items and all(isinstance(item, int) for item in items):
        return [(len(items), " ".join(map(str, items)))]
    found = []
    for item in items:
        if isinstance(item, str):
            found.append((_quarter(item), item))
        elif isinstance(item, list):
            found.append((len(item), " ".join(map(str, item))))
        else:
            raise Malformed("'$.input' is invalid. Please check the API reference.", None, None)
    return found


def read_completion(body: bytes, model: str | None = None) -> Asked:
    """Read the body of /completions; its maximum of output tokens is 16 where it names none."""
    asked = _completion(body)
    model = model or _model(asked.model)
    _no_streams(asked.stream)
    prompts = _several("<|endoftext|>" if asked.prompt is None else asked.prompt)
    tokens = sum(weight for weight, _ in prompts)
    cap = 16 if asked.max_tokens is None else asked.max_tokens
    texts = tuple(text for _, text in prompts)
    return Asked(model, texts, tokens, _usage(tokens), cap, _choices(asked.n), best_of=_choices(asked.best_of))


def read_embedding(body: bytes, model: str | None = None) -> Asked:
    """Read the body of /embeddings."""
    asked = _embedding(body)
    model = model or _model(asked.model)
    if asked.input is None:
        raise _missing("input")
    inputs = _several(asked.input)
    if not inputs:
        raise Malformed("'$.input' is invalid. Please check the API reference.", None, None)
    tokens = sum(weight for weight, _ in inputs)
    return Asked(
        model,
        tuple(text for _, text in inputs),
        tokens,
        max(1, _usage(tokens)),
        dimensions=min(max(asked.dimensions or 8, 1), 4096),
        base64=asked.encoding_format == "base64",
    )


def read_responses(body: bytes, model: str | None = None) -> Asked:
    """Read the body of /responses; recorded charges are the input and 19, or 217 with function tools."""
    asked = _responses(body)
    model = model or _model(asked.model)
    if asked.input is None:
        raise _missing("input")
    _no_streams(asked.stream)
    if isinstance(asked.input, str):
        tokens, text = _quarter(asked.input), asked.input
    else:
        tokens, text = weigh_all(asked.input)
    tokens += _quarter(asked.instructions or "")
    tools = any(isinstance(tool, dict) and tool.get("type") == "function" for tool in asked.tools or ())
    return Asked(
        model,
        (text,),
        tokens + (217 if tools else 19),
        _usage(tokens) + 3,
        asked.max_output_tokens,
        instructions=asked.instructions,
    )
