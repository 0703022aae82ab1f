"""Finds the price of a model by its name. Nothing is guessed: a name that no rule below finds has no known price.

The rules, in this order; upper and lower case are the same:

1. the provider's own entry, where the base URL tells the provider: `groq/openai/gpt-oss-120b` at api.groq.com
2. the name as it is
3. without a maker's name in front: `openai/gpt-4o`, `azure/gpt-4o`, `models/gemini-2.5-flash`
4. each of these without a date at its end: `gpt-4o-2024-08-06`, `claude-haiku-4-5-20251001`, `claude-…@20251001`

Fine-tuned models (`ft:gpt-4o-mini-2024-07-18:us::id`) have prices of their own: the entry `ft:gpt-4o-mini-2024-07-18`.
Who sells others' models (OpenRouter, Together) sets its own prices: there only the first rule holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import structs

from batchproc.price import Price
from batchproc.prices.table import TABLE

_VENDORS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gemini",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together_ai",
}
_RESELLERS = frozenset({"openrouter", "together_ai"})
_MAKERS = frozenset({"openai", "azure", "anthropic", "google", "gemini", "models", "mistral", "mistralai", "deepseek"})
_DATE = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8})$")
_MOST = 1000  # names that are remembered


def vendor_of(host: str | None) -> str | None:
    """Who answers at a host, as price lists name it; None where that is not known (a gateway, a local server)."""
    return _VENDORS.get(host or "")


def spellings(model: str, vendor: str | None) -> Iterator[str]:
    """The names under which a price list may have this model, the closest first."""
    name = model.strip().lower()
    if name.startswith("ft:"):
        yield ":".join(name.split(":")[:2])
        return
    names = [f"{vendor}/{name}"] if vendor else []
    if vendor not in _RESELLERS:
        names.append(name)
        maker, slash, rest = name.partition("/")
        if slash and maker in _MAKERS:
            names.append(rest)
    yield from names
    for one in names:
        if (plain := _DATE.sub("", one)) != one:
            yield plain


class PriceBook:
    """Prices from the user's own list first, then the table, then `more(model, vendor)`."""

    def __init__(
        self,
        own: Mapping[str, Price] | None = None,
        *,
        vendor: str | None = None,
        more: Callable[[str, str | None], Price | None] | None = None,
    ) -> None:
        self._lists = [own or {}, TABLE]
        self._vendor = vendor
        self._more = more
        self._found: dict[str, Price | None] = {}

    def of(self, model: str) -> Price | None:
        """The price of a model, or None where it is not known."""
        if model in self._found:
            return self._found[model]
        price = self._look_up(model)
        if len(self._found) < _MOST:
            self._found[model] = price
        return price

    def _look_up(self, model: str) -> Price | None:
        for prices in self._lists:
            for name in spellings(model[:200], self._vendor):
                price = prices.get(name)
                if price is not None:
                    return price if price.max_output is not None else self._with_most(price, name)
        return self._more(model, self._vendor) if self._more is not None else None

    @staticmethod
    def _with_most(price: Price, name: str) -> Price:
        """A price list need not repeat how many tokens an answer can have."""
        known = next((TABLE[n] for n in spellings(name, None) if n in TABLE), None)
        return structs.replace(price, max_output=known.max_output) if known is not None else price
