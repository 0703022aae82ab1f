"""The few fields of a request body that weigh anything, decoded once for the input and the output.

All are lenient (`Any`): a body with a wrong type in one of them is still a body, and what counts it decides
what the wrong type means. Everything else in the body is skipped without building objects for it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchproc import jsontext

NO_TOOLS = msgspec.Raw(b"null")


class Body(msgspec.Struct, gc=False):
    """What a body says about its size. `None` where it does not say.

    The tools stay text: jobs of one file mostly carry the same ones, so their count is looked up by it.
    """

    messages: Any = None
    prompt: Any = None
    input: Any = None
    instructions: Any = None
    system: Any = None
    tools: msgspec.Raw = NO_TOOLS
    functions: msgspec.Raw = NO_TOOLS
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    best_of: Any = None


_DECODER = msgspec.json.Decoder(Body)


def read(body: bytes) -> Body | None:
    """Decode a body; None if it cannot be (not JSON, no object, too deep, a number out of range)."""
    try:
        return jsontext.decode(body, _DECODER)
    except Exception:
        # Whatever is wrong with it is for the reader or the provider to say; weighing must not fail.
        return None
