"""Token usage as the APIs spell it: `prompt_tokens`/`completion_tokens` or `input_tokens`/`output_tokens`.

The names are those of the OpenAI chat, completions, embeddings and responses APIs and of everything
compatible with them. Whatever is missing or odd counts as zero: usage is for learning and for display.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from batchproc.model import NO_USAGE, Usage

_MOST = 1 << 53


class UsageFields(Struct, gc=False):
    """The `usage` member of an answer; every field may be anything."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    input_tokens: Any = None
    output_tokens: Any = None


def _count(*values: Any) -> int:
    for value in values:
        if type(value) is int and 0 <= value < _MOST:
            return value
    return 0


def usage_of(fields: UsageFields | None) -> Usage:
    """The usage in tokens, zeros where nothing sensible is said."""
    if fields is None:
        return NO_USAGE
    return Usage(
        _count(fields.prompt_tokens, fields.input_tokens), _count(fields.completion_tokens, fields.output_tokens)
    )
