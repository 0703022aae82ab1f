"""What the reader calls for every job: input tokens and output cap from one look at the body."""

from __future__ import annotations

from typing import NamedTuple

from batchproc.tokens.body import read
from batchproc.tokens.count import by_bytes, count_body, rule_for
from batchproc.tokens.limiter import limiter_tokens
from batchproc.tokens.output import choices, output_cap

INLINE_BYTES = 16_384  # counted in 1 to 4 ms at the most; a longer body would hold up an event loop


class Weighed(NamedTuple):
    """Input tokens as counted, and as OpenAI's limiter estimates them (0: no rule); the output cap (None: none).

    `choices` is how many answers are asked for at once.
    """

    tokens: int
    limiter: int
    cap: int | None
    choices: int = 1


class Weigher:
    """Weighs requests; `fallbacks` says how many of them had to be weighed by their bytes.

    With `exact=False` every body weighs ceil(bytes / 4), without a look inside and without a cap: for runs
    without a token limit, where nothing reads the weight. Those are not fallbacks.
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.fallbacks = 0

    def preload(self, model: str) -> None:
        """Load the model's encoding (about 0.3 s, once for each encoding): before an event loop runs.

        Raises BatchprocError if the rank file in the package is damaged.
        """
        if self.exact:
            rule_for(model)

    def count_exactly(self, model: str) -> None:
        """Count from now on: a token limit has been learnt. Loads the model's encoding; call it in a thread."""
        rule_for(model)
        self.exact = True

    def weigh(self, path: str, model: str, body: bytes) -> Weighed:
        """Weigh a body at once; meant for up to `INLINE_BYTES`."""
        if not self.exact:
            return Weighed(by_bytes(len(body)), 0, None)
        return self._counted(_weigh(path, model, body), body)

    async def weigh_long(self, path: str, model: str, body: bytes) -> Weighed:
        """The same in a thread, so that the event loop goes on: tiktoken counts without holding the GIL."""
        if not self.exact:
            return Weighed(by_bytes(len(body)), 0, None)
        import asyncio

        return self._counted(await asyncio.to_thread(_weigh, path, model, body), body)

    def _counted(self, weighed: tuple[int | None, int, int | None, int], body: bytes) -> Weighed:
        tokens, limiter, cap, n = weighed
        if tokens is None:
            self.fallbacks += 1
            tokens = by_bytes(len(body))
        return Weighed(tokens, limiter, cap, n)


def _weigh(path: str, model: str, body: bytes) -> tuple[int | None, int, int | None, int]:
    parsed = read(body)
    if parsed is None:
        return None, 0, None, 1
    return count_body(path, parsed, model), limiter_tokens(path, parsed), output_cap(path, parsed), choices(parsed)
