"""How many tokens the function definitions of a request add.

The OpenAI cookbook's rule (`How_to_count_tokens_with_tiktoken`, for gpt-3.5-turbo, gpt-4 and gpt-4o): per
function 10 tokens (`cl100k_base`) or 7 (`o200k_base`) and the tokens of `name:description`; 3 if it has
properties; per property 3 and the tokens of `name:type:description`; for an enum -3 and per value 3 and its
tokens; 12 once. Descriptions lose their final dot.

An estimate: recorded usage was within -13 to +3 tokens of it on those models, and 80 to 103 above it on
gpt-5.1. Nested objects and the items of arrays, which the rule leaves out, are counted like the outer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

PER_FUNCTION = {"o200k_base": 7, "cl100k_base": 10}
PER_PROPERTIES = 3
PER_PROPERTY = 3
PER_ENUM = -3
PER_ENUM_VALUE = 3
PER_REQUEST = 12

_DECODER = msgspec.json.Decoder()


def count(raw: bytes, text: Callable[[str], int], per_function: int) -> int:
    """Tokens of a `tools` or `functions` value, given as JSON text; `text` counts one text.

    Hosted tools (`{"type": "web_search"}`) add nothing here: no rule is published. Raises for what is no
    list of tools.
    """
    items = _DECODER.decode(raw)
    if items is None or items == []:
        return 0
    if type(items) is not list:
        raise TypeError("tools are not a list")
    total, functions = 0, 0
    for tool in items:
        # Chat nests the function; Responses, Anthropic and the older `functions` have it flat.
        function = tool.get("function", tool)
        if type(function.get("name")) is str:
            functions += 1
            total += per_function + _function(function, text)
    return total + (PER_REQUEST if functions else 0)


def _function(function: dict[str, Any], text: Callable[[str], int]) -> int:
    total = text(f"{function['name']}:{_description(function)}")
    schema = function.get("parameters", function.get("input_schema"))
    return total if schema is None else total + _schema(schema, text)


def _schema(schema: dict[str, Any], text: Callable[[str], int]) -> int:
    total, stack = 0, [schema]
    while stack:
        current = stack.pop()
        properties = current.get("properties")
        if properties:
            total += PER_PROPERTIES
            for name, inner in properties.items():
                total += PER_PROPERTY + _property(name, inner, text)
                stack.append(inner)
        items = current.get("items")
        if type(items) is dict:
            stack.append(items)
    return total


def _property(name: str, schema: dict[str, Any], text: Callable[[str], int]) -> int:
    kind = schema.get("type", "")
    if type(kind) is list:  # ["string", "null"]
        kind = "|".join(kind)
    total = text(f"{name}:{kind}:{_description(schema)}")
    values = schema.get("enum")
    if values is not None:
        total += PER_ENUM + sum(PER_ENUM_VALUE + text(str(value)) for value in values)
    return total


def _description(described: dict[str, Any]) -> str:
    description = described.get("description")
    return description.removesuffix(".") if type(description) is str else ""
