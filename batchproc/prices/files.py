"""Reads a price list in litellm's JSON format, whole or a part of it.

    {"my-model": {"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06}}

Also read: `cache_read_input_token_cost`, `max_output_tokens`. Dollars per token. Everything else is passed over.
"""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from batchproc.errors import UsageError
from batchproc.price import PICO, Price

_SAMPLE = "sample_spec"  # an entry of litellm's file that explains the others
_SHAPE = 'it is one JSON object: {"my-model": {"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06}}'
_MOST_BYTES = 64 << 20
_WITHOUT_OUTPUT = frozenset({"embedding", "moderation", "rerank"})


def read_prices(path: str) -> dict[str, Price]:
    """The prices of a file by model, names in lower case. Raises UsageError."""
    try:
        if os.path.isfile(path) and os.path.getsize(path) > _MOST_BYTES:
            raise UsageError(f"the price list `{path}` is larger than {_MOST_BYTES >> 20} MiB", _SHAPE)
        with open(path, "rb") as f:
            entries: Any = msgspec.json.decode(f.read(_MOST_BYTES))
    except OSError as e:
        raise UsageError(f"the price list `{path}` cannot be read: {e.strerror or e}", _SHAPE) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise UsageError(f"the price list `{path}` is not JSON: {e}", _SHAPE) from None
    if not isinstance(entries, dict):
        raise UsageError(f"the price list `{path}` is not an object of models", _SHAPE)
    source = f"`{path}`"
    prices: dict[str, Price] = {}
    for name, entry in entries.items():
        if name != _SAMPLE:
            price = _price(entry, source, f"`{name}` in `{path}`")
            if price is not None:
                prices[name.lower()] = price
    if not prices:
        raise UsageError(f"the price list `{path}` has no prices per token", _SHAPE)
    return prices


def _price(entry: Any, source: str, where: str) -> Price | None:
    """One entry; None for what is not sold by the token (images, minutes of sound), or names one price of the two."""
    if not isinstance(entry, dict):
        raise UsageError(f"the entry {where} is not an object", _SHAPE)
    cost = _pico(entry, "input_cost_per_token", where)
    output = _pico(entry, "output_cost_per_token", where)
    if output is None and entry.get("mode") in _WITHOUT_OUTPUT:
        output = 0
    if cost is None or output is None:
        return None
    cached = _pico(entry, "cache_read_input_token_cost", where)
    most = entry.get("max_output_tokens")
    whole = isinstance(most, int) and not isinstance(most, bool) and most >= 0
    return Price(cost, output, cached, most if whole else None, source)


def _pico(entry: dict[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("nan")
        if number.is_finite() and 0 <= number < 1_000_000:
            return int((number * PICO).to_integral_value())
    except InvalidOperation:
        pass  # said below
    raise UsageError(
        f"`{key}` of {where} is no price in dollars: {value!r}", "give dollars for one token, for example 1e-06"
    )
