"""How many output tokens to set aside for a request: its own maximum, or what the answers have taught."""

from __future__ import annotations

import math
from typing import Any

from batchproc.tokens.body import Body

MOST = 2**31 - 1  # tokens; larger ones are this, so that a cap fits wherever a count is stored
COMPLETIONS_DEFAULT = 16  # OpenAI's default of `max_tokens`, at /completions only

COLD_RESERVE = 512  # tokens
COLD_ANSWERS = 20
MEMORY_ANSWERS = 64
MARGIN = 0.25  # of a standard deviation

_WITHOUT_OUTPUT = frozenset({"/embeddings", "/moderations"})


def output_cap(path: str, body: Body) -> int | None:
    """The most output tokens the job itself allows, or None if it names no maximum.

    That is `max_completion_tokens`, else `max_tokens` (chat, completions), or `max_output_tokens`
    (Responses), times the larger of `n` and `best_of`: the provider bills every choice it generates. At
    /completions the maximum is 16 when none is named and holds per prompt. At other paths any of the three
    is taken. Embeddings and moderations generate nothing: 0. A value that is no whole number of 0 or more
    is ignored, as if it were not there.
    """
    if path in _WITHOUT_OUTPUT:
        return 0
    if path == "/responses":
        cap = _whole(body.max_output_tokens)
    else:
        cap = _whole(body.max_completion_tokens)
        if cap is None:
            cap = _whole(body.max_tokens)
    if path == "/completions":
        cap = (COMPLETIONS_DEFAULT if cap is None else cap) * _prompts(body.prompt)
    elif cap is None and path != "/chat/completions":
        cap = _whole(body.max_output_tokens)
    if cap is None:
        return None
    return min(cap * choices(body), MOST)


def choices(body: Body) -> int:
    """How many answers a request asks for at once: the larger of `n` and `best_of`, as all of them are billed."""
    return min(max(_whole(body.n) or 1, _whole(body.best_of) or 1), MOST)


def _whole(value: Any) -> int | None:
    # `type`, as a bool is an int to isinstance.
    return value if type(value) is int and value >= 0 else None


def _prompts(prompt: Any) -> int:
    """How many prompts a completions request has: a list of numbers is one prompt, already tokenized."""
    if type(prompt) is list and prompt and type(prompt[0]) is not int:
        return len(prompt)
    return 1


class LearntOutput:
    """What to set aside for the output of a request that names no maximum, learnt from the answers.

    Before the first 20 answers it is at least 512 tokens: about 380 English words, more than most answers in
    a batch, and little enough that a limit of 30,000 tokens per minute still starts 50 requests at once. The
    first answers alone would mislead, since the shortest arrive first; but if they are longer than that, the
    reserve follows them at once.

    Then it is their exponentially weighted mean plus a quarter of their standard deviation. The mean,
    because what a limit per minute sees is the sum over many requests, not one request: a high percentile
    would leave most of the limit unused. The quarter, because a reserve of exactly the mean is too low in
    half of all minutes; over 64 requests the sum strays by a deviation of 8 times that of one request, so a
    quarter of one each (16 in all) is two of those. What is set aside too much comes back when the answer is
    there. About the last 64 answers count (each at first 1/k, later 1/64), so that it follows a file whose
    later part differs from its start.

    Meant to be fed only with answers to requests that named no maximum: a cut answer says nothing about the
    length of an uncut one. One for each model. No clock, no randomness.
    """

    __slots__ = ("_answers", "_mean", "_reserve", "_variance")

    def __init__(self) -> None:
        self._answers = 0
        self._mean = 0.0
        self._variance = 0.0
        self._reserve = COLD_RESERVE

    def observe(self, output_tokens: int) -> None:
        """Learn from one answer. Zero or less teaches nothing: it is how a missing usage reads."""
        if output_tokens <= 0:
            return
        self._answers += 1
        share = 1 / min(self._answers, MEMORY_ANSWERS)
        off = min(output_tokens, MOST) - self._mean
        self._mean += share * off
        self._variance = (1 - share) * (self._variance + share * off * off)
        # The rounding takes the dust of floating point away: 40 answers of 10 tokens are 10, not 11.
        learnt = math.ceil(round(self._mean + MARGIN * math.sqrt(self._variance), 6))
        self._reserve = min(MOST, learnt if self._answers >= COLD_ANSWERS else max(COLD_RESERVE, learnt))

    def reserve(self) -> int:
        """Tokens to set aside for the output of the next request, at least 1."""
        return self._reserve
