"""A small table of list prices, in USD per million tokens, with the most output tokens that an answer can have.

Taken in November 2026 from the price data that litellm 1.109.1 ships (MIT licence), compared with OpenAI's, Anthropic's
and Mistral's own pages where they could be read. List prices of the ordinary service: no batch or priority rates, no
steps for very long inputs (gpt-5.5 and later charge twice as much above 272,000 tokens), no charge for writing a cache.
Prices change: `--prices` puts newer ones in their place.
"""

from __future__ import annotations

from batchproc.price import Price

DATE = "2026-11"

# name: input, cached input (None: no discount), output, most output tokens (None: not known)
_USD: dict[str, tuple[float, float | None, float, int | None]] = {
    "gpt-4o": (2.5, 1.25, 10, 16_384),
    "gpt-4o-2024-05-13": (5, None, 15, 4_096),  # the first one costs more than what the plain name means
    "gpt-4o-mini": (0.15, 0.075, 0.6, 16_384),
    "gpt-4.1": (2, 0.5, 8, 32_768),
    "gpt-5": (1.25, 0.125, 10, 128_000),
    "gpt-5-mini": (0.25, 0.025, 2, 128_000),
    "gpt-5.5": (5, 0.5, 30, 128_000),
    "gpt-6-astra": (10, 1, 50, 128_000),
    "gpt-6-sol": (2, 0.2, 10, 128_000),
    "gpt-6.1-sol": (2, 0.1, 10, 128_000),
    "gpt-6-luna": (0.1, 0.01, 0.5, 128_000),
    "o3": (2, 0.5, 8, 100_000),
    "o4-mini": (1.1, 0.275, 4.4, 100_000),
    "gpt-3.5-turbo": (0.5, None, 1.5, 4_096),
    "text-embedding-3-small": (0.02, None, 0, 0),
    "text-embedding-3-large": (0.13, None, 0, 0),
    "text-embedding-ada-002": (0.10, None, 0, 0),
    "omni-moderation-latest": (0, None, 0, 0),
    "claude-opus-5-5": (4, 0.2, 20, 128_000),
    "claude-sonnet-5-5": (2, 0.1, 10, 128_000),
    "claude-haiku-4-5": (1, 0.1, 5, 64_000),
    "gemini-3.5-flash": (1.5, 0.15, 9, 65_536),
    "gemini-2.5-flash": (0.3, 0.03, 2.5, 65_536),
    "groq/openai/gpt-oss-120b": (0.15, 0.075, 0.6, 65_536),
    "mistral/mistral-large-latest": (0.5, 0.05, 1.5, 262_144),
    "mistral/mistral-small-latest": (0.15, 0.015, 0.6, 262_144),
    "deepseek/deepseek-v4-pro": (1.32, 0.044, 3.96, 393_216),
}


def _pico(usd_per_million: float) -> int:
    return round(usd_per_million * 1_000_000)


TABLE: dict[str, Price] = {
    name: Price(_pico(i), _pico(o), None if c is None else _pico(c), most, f"batchproc's table of {DATE}")
    for name, (i, c, o, most) in _USD.items()
}
