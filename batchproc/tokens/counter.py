"""Counting texts with one encoding, quickly and in pieces that tiktoken can bear."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from batchproc.tokens import tools
from batchproc.tokens.encodings import EncodingName, load

if TYPE_CHECKING:
    from tiktoken import Encoding

SLICE_CHARS = 65_536  # a run of a million blanks overflows tiktoken's regex engine; a slice never can
SEAM_CHARS = 1_024  # how far back from a slice's end to look for a blank to cut at
REMEMBERED_CHARS = 1 << 20  # of the texts whose counts are remembered, per encoding: about 5 MB at the most
ENTRY_CHARS = 64  # what remembering a text costs besides its characters, else short ones were nearly free
LONGEST_REMEMBERED = 32_768  # characters of a text, bytes of a list of tools
REMEMBERED_TOOLS = 64  # lists of tools, per encoding: 2 MB at the most


class Counter:
    """Counts with one encoding and remembers what it counted.

    Roles and system prompts repeat on every line of a file; looking them up is a hundred times cheaper than
    counting them. When the remembered texts are too many in sum, all are forgotten: those that repeat are
    back with the next job. Threads may share one.
    """

    __slots__ = ("_encode", "_known", "_known_tools", "_per_function", "_room")

    def __init__(self, encoding: Encoding) -> None:
        self._encode = encoding.encode_ordinary
        self._known: dict[str, int] = {}
        self._known_tools: dict[bytes, int] = {}
        self._room = REMEMBERED_CHARS
        self._per_function = tools.PER_FUNCTION[encoding.name]

    def text(self, text: str) -> int:
        """Tokens of one text; text that spells a special token is counted as the text it is."""
        known = self._known.get(text)
        if known is not None:
            return known
        size = len(text)
        if size > LONGEST_REMEMBERED:
            return self._long(text)
        tokens = len(self._encode(text))
        self._room -= size + ENTRY_CHARS
        if self._room < 0:
            self._known.clear()
            self._room = REMEMBERED_CHARS - size - ENTRY_CHARS
        self._known[text] = tokens
        return tokens

    def _long(self, text: str) -> int:
        tokens, start, size = 0, 0, len(text)
        while start < size:
            end = start + SLICE_CHARS
            if end < size:
                # A cut before a blank rarely splits what would be one token; a blind one may cost one more.
                seam = text.rfind(" ", end - SEAM_CHARS, end)
                end = seam if seam > start else end
            tokens += len(self._encode(text[start:end]))
            start = end
        return tokens

    def tools(self, raw: bytes) -> int:
        """Tokens of a `tools` or `functions` value, given as JSON text."""
        known = self._known_tools.get(raw)
        if known is None:
            known = tools.count(raw, self.text, self._per_function)
            if len(raw) <= LONGEST_REMEMBERED:
                if len(self._known_tools) >= REMEMBERED_TOOLS:
                    self._known_tools.clear()
                self._known_tools[raw] = known
        return known


@cache
def counter(encoding_name: EncodingName) -> Counter:
    """The process's one counter with that encoding; loads the encoding at the first call."""
    return Counter(load(encoding_name))
