"""The dialects by name: one file and one row here for each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names alone are needed to read options
    from batchproc.simulator.dialect import Dialect

_CLASSES = {
    "openai": "OpenAI",
    "azure": "Azure",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
    "groq": "Groq",
    "mistral": "Mistral",
    "deepseek": "DeepSeek",
    "together": "Together",
    "openrouter": "OpenRouter",
    "ollama": "Ollama",
}
DIALECTS = tuple(_CLASSES)


def load(name: str, started_s: float = 0.0) -> Dialect:
    """The dialect of that name, one of `DIALECTS`, whose clock began at `started_s` (seconds since 1970)."""
    module = import_module(f"batchproc.simulator.dialects.{name}")
    dialect: Dialect = getattr(module, _CLASSES[name])(started_s)
    return dialect
