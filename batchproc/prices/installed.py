"""Prices from the package `genai-prices`, where it is installed: for models that the table does not have."""

from __future__ import annotations

from typing import Any

from batchproc.price import PICO, Price

_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "groq": "groq",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "gemini": "google",
    "openrouter": "openrouter",
    "together_ai": "together",
}
_TOKENS = 1000  # few enough to be in the first step of a price that rises with the length of the input


def installed_price(model: str, vendor: str | None) -> Price | None:
    """The price of a model at a provider that is known; None where either is not, or the package is not there.

    Without a provider the package goes by the model's name alone, which on a gateway or a local server says nothing.
    """
    provider = _PROVIDERS.get(vendor or "")
    if provider is None:
        return None
    try:
        import genai_prices
    except Exception:  # not installed, or not working here: a price list must not end a run
        return None

    def price(**tokens: int) -> Any:
        usage = genai_prices.Usage(**tokens)
        return genai_prices.calc_price(usage, model_ref=model, provider_id=provider)

    try:
        cost = price(input_tokens=_TOKENS).input_price
        output = price(input_tokens=0, output_tokens=_TOKENS).output_price
        cached = price(input_tokens=_TOKENS, cache_read_tokens=_TOKENS).input_price
    except Exception:  # LookupError for what it does not know; a newer version may raise otherwise
        return None
    return Price(_pico(cost), _pico(output), _pico(cached), None, "the package genai-prices")


def _pico(dollars: Any) -> int:
    return int((dollars * PICO / _TOKENS).to_integral_value())
