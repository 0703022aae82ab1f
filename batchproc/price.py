"""Money as whole numbers: a price is so many millionths of a millionth of a dollar (pico-dollars) per token.

1 USD per million tokens is 1,000,000 pico-dollars per token. Sums of whole numbers are exact, so a budget that is kept
here is kept to the last digit.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

PICO = 10**12  # pico-dollars in a dollar


class Price(Struct, frozen=True, gc=False):
    """What a model costs, in pico-dollars per token; `source` says in words where that is from.

    `cached` is for input tokens that the provider read from its cache (None: they cost what input costs).
    `max_output` is the most output tokens that one answer of the model can have; None where it is not known.
    """

    input: int
    output: int
    cached: int | None = None
    max_output: int | None = None
    source: str = ""

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """In pico-dollars; `cached_tokens` are among the input tokens."""
        cached = min(cached_tokens, input_tokens) if self.cached is not None else 0
        return (input_tokens - cached) * self.input + cached * (self.cached or 0) + output_tokens * self.output


def dollars_in(pico: int) -> float:
    """Pico-dollars as dollars, for documents and display."""
    return float(Decimal(pico) / PICO)


def usd(dollars: float) -> str:
    """`$1,234.50`, `$0.0123`, `$0.000045`: the smaller, the more digits; what is not nothing never reads `$0`."""
    if dollars == 0:
        return "$0.00"
    for least, digits in ((10, 2), (0.01, 4), (0.00001, 6)):
        if abs(dollars) >= least:
            return f"${dollars:,.{digits}f}"
    return "under $0.00001"
