"""What a request costs against the token limits: the provider's estimate, never the client's count.

documented  the larger of its maximum output and the estimate of its input (OpenAI, rate limits guide)
sum         both, the maximum output times n (recorded from OpenAI in 2024)
prompt      the estimate of its input alone (recorded from OpenAI since 2025, where no maximum is sent)
actual      what the answer's usage says, charged when the request comes in
azure       the estimate and the maximum output times best_of (Azure OpenAI, quota management)
corrected   the estimate of its input; what was really used when the answer ends (Anthropic, rate limits)
postpaid    nothing; what was really used when the answer ends (recorded from Mistral, 2025)

Limits of input and of output tokens apart are charged the same way in all modes: the input estimated at the
start and corrected at the end, the output as it was ("the max_tokens parameter does not factor into OTPM",
Anthropic, rate limits).
"""

from __future__ import annotations

from batchproc.simulator.asked import Asked
from batchproc.simulator.limits import Amounts

CHARGE_MODES = ("documented", "sum", "prompt", "actual", "azure", "corrected", "postpaid")
SETTLED_MODES = ("corrected", "postpaid")


def charge_tokens(mode: str, asked: Asked, used_tokens: int) -> int:
    """Tokens to charge for a request as it comes in; `used_tokens` is the total its answer's usage reports."""
    if mode == "documented":
        return max(asked.cap or 0, asked.estimate)
    if mode == "sum":
        return asked.n * (asked.cap or 0) + asked.estimate
    if mode == "azure":
        return asked.estimate + (asked.cap or 0) * asked.best_of
    if mode in ("prompt", "corrected"):
        return asked.estimate
    return 0 if mode == "postpaid" else used_tokens


def settle_amounts(mode: str, asked: Asked, used_tokens: int) -> Amounts:
    """What to charge when the answer ends (negative: to give back); `used_tokens` is 0 for a failed one.

    A failed answer has no output, and its input stays charged as estimated.
    """
    if not used_tokens:
        return 0, 0, 0, 0
    tokens = used_tokens - charge_tokens(mode, asked, 0) if mode in SETTLED_MODES else 0
    return 0, tokens, asked.prompt_tokens - asked.estimate, used_tokens - asked.prompt_tokens
