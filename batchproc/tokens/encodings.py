"""The two encodings of OpenAI's models, built from rank files that are part of this package.

`tiktoken.get_encoding` downloads its ranks at the first use, without a timeout, and deletes a cached file
that it does not like. Here the ranks come out of the wheel, are checked against tiktoken's own SHA-256, and
go into `tiktoken.Encoding` directly: nothing on this way can open a connection.

`tiktoken` is imported inside the functions, so importing this module costs nothing that matters.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from batchproc.errors import BatchprocError

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["o200k_base", "cl100k_base"]

LONGEST_MODEL_NAME = 200  # characters that are looked at; a "name" of megabytes must not fill a cache


class Recipe(Struct, frozen=True):
    """What `tiktoken.Encoding` needs besides the ranks; equal to tiktoken_ext/openai_public.py, 0.14.0."""

    sha256: str  # of the uncompressed rank file
    pat_str: str
    special_tokens: dict[str, int]


RECIPES: dict[EncodingName, Recipe] = {
    "o200k_base": Recipe(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pat_str="|".join(
            (
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": Recipe(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pat_str=r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}

_loaded: dict[EncodingName, Encoding] = {}
_loading = threading.Lock()


def load(name: EncodingName) -> Encoding:
    """The encoding of that name, built at the first call of the process and kept.

    The first call takes about 0.3 s (`o200k_base`) or 0.15 s (`cl100k_base`) and holds the interpreter's
    lock for most of it, in a thread too: call it before an event loop runs.

    Raises BatchprocError if the rank file is missing or is not the one that tiktoken expects.
    """
    encoding = _loaded.get(name)
    if encoding is None:
        with _loading:
            encoding = _loaded.get(name) or _build(name)
            _loaded[name] = encoding
    return encoding


def loaded() -> bool:
    """Whether an encoding is loaded."""
    return bool(_loaded)


def _build(name: EncodingName) -> Encoding:
    import hashlib
    from binascii import a2b_base64
    from itertools import count

    import tiktoken

    recipe = RECIPES[name]
    data = read_ranks(name)
    if hashlib.sha256(data).hexdigest() != recipe.sha256:
        raise _damaged(name)
    # The ranks in the file, of which the checksum tells that it is the one we know, are 0, 1, 2, …
    ranks = dict(zip(map(a2b_base64, data.split()[::2]), count(), strict=False))
    return tiktoken.Encoding(name, pat_str=recipe.pat_str, mergeable_ranks=ranks, special_tokens=recipe.special_tokens)


def read_ranks(name: EncodingName) -> bytes:
    """The uncompressed rank file out of the installed package; raises BatchprocError if it is damaged."""
    import gzip
    import zlib
    from importlib.resources import files

    try:
        return gzip.decompress((files(__package__) / "ranks" / f"{name}.tiktoken.gz").read_bytes())
    except (OSError, EOFError, zlib.error) as e:
        raise _damaged(name) from e


def _damaged(name: str) -> BatchprocError:
    return BatchprocError(
        f"the token ranks of `{name}` in the installed package are missing or damaged",
        hint="install batchproc again: `pip install --force-reinstall --no-deps batchproc`",
    )


def plain_name(model: str) -> str:
    """The model's own name: lower case, without `vendor/` before it and without the wrapping of a fine-tune.

    `openai/GPT-4o` gives `gpt-4o`, `ft:gpt-4.1-mini:acme::id` gives `gpt-4.1-mini`.
    """
    name = model[:LONGEST_MODEL_NAME].strip().lower().rpartition("/")[2]
    if name.startswith("ft:"):
        # tiktoken's own prefix `ft:gpt-4` would catch `ft:gpt-4.1-mini` too, which is no cl100k model.
        return name[3:].partition(":")[0]
    return name


@lru_cache(maxsize=1024)
def encoding_name_for(model: str) -> EncodingName:
    """Which of the two encodings counts for a model.

    tiktoken's own table (`encoding_name_for_model`, no network) decides; gpt-oss has the ranks of
    `o200k_base`; the encodings of models before 2023 (p50k, r50k, gpt2) are not shipped and the nearest,
    `cl100k_base`, stands in for them. A name that the table does not know (a newer model, an Azure
    deployment, another vendor) is counted with `o200k_base`.
    """
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(plain_name(model))
    except KeyError:
        return "o200k_base"
    return "o200k_base" if name.startswith("o200k") else "cl100k_base"
