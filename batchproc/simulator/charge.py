"""What a request costs against the token limits: the provider's estimate, never the client's count.

documented  the larger of its maximum output and the estimate of its input (OpenAI, rate limits guide)
sum         both, the maximum output times n (recorded from OpenAI in 2024)
prompt      the estimate of its input alone (recorded from OpenAI since 2025, where no maximum is sent)
actual      what the answer's usage says (Mistral)
"""

from __future__ import annotations

from batchproc.simulator.asked import Asked

CHARGE_MODES = ("documented", "sum", "prompt", "actual")


def charge_tokens(mode: str, asked: Asked, used_tokens: int) -> int:
    """Tokens to charge for a request; `used_tokens` is the total its answer's usage reports."""
    if mode == "documented":
        return max(asked.cap or 0, asked.estimate)
    if mode == "sum":
        return asked.n * (asked.cap or 0) + asked.estimate
    if mode == "prompt":
        return asked.estimate
    return used_tokens
