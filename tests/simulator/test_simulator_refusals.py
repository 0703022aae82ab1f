"""Refusals word for word, and the spelling of waits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchproc.simulator import refusals
from batchproc.simulator.limits import Refusal

DURATIONS = [
    (0.0, "0s"), (0.006, "6ms"), (0.00975, "9ms"), (0.012, "12ms"), (0.424, "424ms"), (8.64, "8.64s"),
    (1.182, "1.182s"), (360.0, "6m0s"), (432.0, "7m12s"), (1252.666, "20m52.666s"), (3723.0, "1h2m3s"),
    (3600.0, "1h0m0s"), (1.3785, "1.378s"), (59.9999, "59.999s"), (-1.0, "0s"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations(seconds: float, text: str) -> None:
    """Durations are spelt as in recorded headers: Go's way, cut to milliseconds."""
    assert refusals.go_duration(seconds) == text


EXACT = [
    (0.0, "0s"), (17.3999999995, "17.399999999s"), (0.13, "130ms"), (0.026, "26ms"), (179.56, "2m59.56s"),
    (0.0000425, "42.5µs"), (0.7896, "789.6ms"), (23.5125, "23.5125s"), (86_400.0, "24h0m0s"), (-1.0, "0s"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), EXACT)
def test_exact_durations(seconds: float, text: str) -> None:
    """Groq's durations go down to the nanosecond, cut and not rounded (recorded, and from its messages)."""
    assert refusals.exact_duration(seconds) == text


@pytest.mark.parametrize(("wait_s", "text"), [(0.12, "1"), (1.0, "1"), (1.378, "2"), (432.0, "432")])
def test_retry_after(wait_s: float, text: str) -> None:
    """Whole seconds, rounded up, at least one."""
    assert refusals.retry_after(wait_s) == text


def _error(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


VERBATIM = [
    (
        "a rate limit",
        refusals.rate_limited("gpt-6-sol", Refusal("tpm", 4_000_000, 3_999_000, 2000, 0.015), "org-x"),
        _error(
            "Rate limit reached for gpt-6-sol in organization org-x on tokens per min (TPM): Limit 4000000, Used "
            "3999000, Requested 2000. Please try again in 15ms. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            "tokens",
            "rate_limit_exceeded",
        ),
    ),
    (
        "a daily limit",
        refusals.rate_limited("gpt-4o", Refusal("rpd", 200, 200, 1, 432.0), "org-x"),
        _error(
            "Rate limit reached for gpt-4o in organization org-x on requests per day (RPD): Limit 200, Used 200, "
            "Requested 1. Please try again in 7m12s. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            "requests",
            "rate_limit_exceeded",
        ),
    ),
    (
        "too large",
        refusals.rate_limited("gpt-4o", Refusal("tpm", 30_000, 0, 80_715, float("inf")), "org-x"),
        _error(
            "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested "
            "80715. The input or output tokens must be reduced in order to run successfully. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            "tokens",
            "rate_limit_exceeded",
        ),
    ),
    (
        "no money",
        refusals.insufficient_quota(),
        _error(
            "You exceeded your current quota, please check your plan and billing details. For more information on "
            "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),
    (
        "a wrong key",
        refusals.invalid_key("DEADBEEF"),
        _error(
            "Incorrect API key provided: DEADBEEF. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            "invalid_api_key",
        ),
    ),
    (
        "an unknown model",
        refusals.model_not_found("/v1/chat/completions", "x")[1],
        _error(
            "The model `x` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
    ),
    (
        "an unknown model of the Responses API",
        refusals.model_not_found("/v1/responses", "x")[1],
        _error("The requested model 'x' does not exist.", "invalid_request_error", "model_not_found", "model"),
    ),
    (
        "a prompt too long",
        refusals.context_length_exceeded(8192, 9085),
        _error(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9085 tokens. "
            "Please reduce the length of the messages.",
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
    ),
]


@pytest.mark.parametrize(("body", "expected"), [row[1:] for row in VERBATIM], ids=[row[0] for row in VERBATIM])
def test_refusals_word_for_word(body: bytes, expected: dict[str, Any]) -> None:
    """Bodies are those of recorded answers, to the letter."""
    assert json.loads(body) == expected
