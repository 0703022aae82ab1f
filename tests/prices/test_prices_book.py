"""Prices: found by stated rules or not at all; exact; a list of the user's beats the table."""

from __future__ import annotations

import json
import sys
import types
from decimal import Decimal
from pathlib import Path

import pytest

from batchproc.errors import UsageError
from batchproc.price import Price, dollars_in, usd
from batchproc.prices.book import PriceBook, vendor_of
from batchproc.prices.files import read_prices
from batchproc.prices.installed import installed_price
from batchproc.prices.table import TABLE


@pytest.mark.parametrize(
    ("model", "vendor", "entry"),
    [
        ("gpt-4o", None, "gpt-4o"),
        ("GPT-4o", None, "gpt-4o"),
        ("gpt-4o-2024-08-06", "openai", "gpt-4o"),  # a date is a version of the same model
        ("gpt-4o-2024-05-13", "openai", "gpt-4o-2024-05-13"),  # but this one has its own price
        ("openai/gpt-4o-mini", None, "gpt-4o-mini"),
        ("azure/gpt-4o-mini-2024-07-18", None, "gpt-4o-mini"),
        ("models/gemini-2.5-flash", "gemini", "gemini-2.5-flash"),
        ("claude-haiku-4-5-20251001", "anthropic", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", None, "claude-haiku-4-5"),
        ("openai/gpt-oss-120b", "groq", "groq/openai/gpt-oss-120b"),
        ("openai/gpt-oss-120b", None, None),  # on one's own machine it costs nothing known
        ("mistral-large-latest", "mistral", "mistral/mistral-large-latest"),
        ("openai/gpt-4o", "openrouter", None),  # who resells sets prices of his own
        ("gpt-4o-mini-audio-preview", "openai", None),  # no guessing by likeness
        ("gpt-4", "openai", None),
        ("gpt-4o-latest", "openai", None),
        ("gpt-3.5-turbo-0613", "openai", None),  # not a date of four digits and a dash
        ("ft:gpt-4o-mini-2024-07-18:us::abc", "openai", None),  # fine-tuned ones cost more
        ("", None, None),
        ("/", None, None),
    ],
)
def test_names(model: str, vendor: str | None, entry: str | None) -> None:
    """The rules in the module's text, and what none of them finds."""
    assert PriceBook(vendor=vendor).of(model) == (TABLE[entry] if entry else None)


def test_the_users_list_comes_first_and_keeps_the_tables_maximum() -> None:
    """Also for a dated name that the table has itself."""
    book = PriceBook({"gpt-4o": Price(1, 2), "ft:gpt-4o": Price(3, 4)})
    assert book.of("gpt-4o-2024-05-13") == Price(1, 2, max_output=16_384)
    assert book.of("ft:gpt-4o:me::x") == Price(3, 4)


def test_what_is_installed_is_asked_last_and_once() -> None:
    """For what neither list has."""
    asked: list[tuple[str, str | None]] = []
    book = PriceBook(vendor="groq", more=lambda *args: asked.append(args))
    for _ in range(3):
        assert book.of("llama-9") is None
    assert book.of("gpt-4o") is not None
    assert asked == [("llama-9", "groq")]


def test_vendors() -> None:
    """By the host of the base URL; a gateway or a local server is nobody's."""
    assert vendor_of("api.groq.com") == "groq"
    assert vendor_of("localhost") is None
    assert vendor_of(None) is None


def test_reading_a_list(tmp_path: Path) -> None:
    """litellm's format, with the dust of its floating point, and with what is not sold by the token."""
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "sample_spec": {"input_cost_per_token": "0.0 or so"},
                "My-Model": {"input_cost_per_token": 3.9999999999999997e-07, "output_cost_per_token": 1.6e-06},
                "cached": {
                    "input_cost_per_token": 1e-6,
                    "output_cost_per_token": 0,
                    "cache_read_input_token_cost": 1e-7,
                    "max_output_tokens": 99,
                },
                "half": {"input_cost_per_token": 1e-6},
                "embed": {"input_cost_per_token": 2e-8, "mode": "embedding"},
                "image": {"input_cost_per_image": 1},
                "odd": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "max_output_tokens": "many"},
            }
        )
    )
    source = f"`{path}`"
    assert read_prices(str(path)) == {
        "my-model": Price(400_000, 1_600_000, source=source),
        "cached": Price(1_000_000, 0, 100_000, 99, source),
        "embed": Price(20_000, 0, source=source),
        "odd": Price(1_000_000, 1_000_000, source=source),
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ("{}", "no prices"),
        ('{"m": 1}', "not an object"),
        ('{"m": {"input_cost_per_token": -1, "output_cost_per_token": 1}}', "no price in dollars"),
        ('{"m": {"input_cost_per_token": true, "output_cost_per_token": 1}}', "no price in dollars"),
        ('{"m": {"input_cost_per_token": "cheap", "output_cost_per_token": 1}}', "no price in dollars"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, text: str, word: str) -> None:
    """Exit 2 with what is wrong and where, before anything is sent."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=word):
        read_prices(str(path))


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    """Said with its name."""
    with pytest.raises(UsageError, match=r"nothing\.json"):
        read_prices(str(tmp_path / "nothing.json"))


def test_costs_are_exact() -> None:
    """Whole numbers: a million additions lose nothing. More cached tokens than input is the server's mistake."""
    price = Price(150_000, 600_000, 75_000)
    assert price.cost(1000, 500, 200) == 800 * 150_000 + 200 * 75_000 + 500 * 600_000
    assert price.cost(10, 0, 99) == 10 * 75_000
    assert Price(150_000, 0).cost(10, 0, 5) == 10 * 150_000


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.5, "$0.5000"), (0.00123, "$0.001230"), (1e-9, "under $0.00001")],
)
def test_dollars_in_words(dollars: float, text: str) -> None:
    """What is not nothing never reads as nothing."""
    assert usd(dollars) == text
    assert dollars_in(10**12) == 1.0


def test_the_package_is_asked_only_where_the_provider_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, or where it does not know the model, there is no price, and no error."""
    assert installed_price("gpt-4o", None) is None
    monkeypatch.setitem(sys.modules, "genai_prices", None)  # not installed
    assert installed_price("gpt-4o", "openai") is None

    def calc_price(usage, model_ref: str, provider_id: str):  # type: ignore[no-untyped-def]
        if model_ref != "known":
            raise LookupError(model_ref)
        plain = usage.get("input_tokens", 0) - usage.get("cache_read_tokens", 0)
        cost = Decimal(plain * 2 + usage.get("cache_read_tokens", 0)) / 10**6
        return types.SimpleNamespace(input_price=cost, output_price=Decimal(8) * usage.get("output_tokens", 0) / 10**6)

    fake = types.SimpleNamespace(Usage=lambda **tokens: tokens, calc_price=calc_price)
    monkeypatch.setitem(sys.modules, "genai_prices", fake)
    assert installed_price("known", "openai") == Price(
        2_000_000, 8_000_000, 1_000_000, None, "the package genai-prices"
    )
    assert installed_price("other", "openai") is None
