"""The words by which providers refuse a whole run (no money, a bad key, a closed account), or a model's name."""

from __future__ import annotations

import re

from batchproc.model import Reply
from batchproc.providers.errorbody import ErrorBody

# Nothing of this run can pass: the key, the money, the account.
_CODES = frozenset(
    {
        # OpenAI
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "access_terminated",
        "invalid_api_key",
        "ip_not_authorized",
        "unsupported_country_region_territory",
        "country_not_supported",
        # Anthropic
        "authentication_error",
        "permission_error",
        "organization_on_hold",
        "billing_error",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        # Azure: no role for this resource, keys switched off
        "PermissionDenied",
        "AuthenticationTypeDisabled",
        # Google
        "API_KEY_INVALID",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",  # billing, or a region without service
    }
)
_STATUS = frozenset({401, 402})
_NO_QUOTA = r"exceeded your current quota"  # OpenAI's for money; Google says the same of a minute's requests
_WORDS = re.compile(
    r"billing hard limit has been reached|access was terminated|workspace spending limit"
    r"|credit balance is too low|insufficient balance|api key not valid|account is not active"
    r"|reached your (?:specified )?(?:\w+ )?(?:api )?usage limits|user location is not supported"
    r"|prepay\w* [^.]*depleted|denied due to virtual network",
    re.IGNORECASE,
)
_MONEY = re.compile(_NO_QUOTA, re.IGNORECASE)
_MONTH = re.compile(r"\bper month\b|\bmonthly\b|\bthis month\b", re.IGNORECASE)
_NONE_AT_ALL = re.compile(r"quota exceeded for metric: [^,\s]+, limit: 0\b", re.IGNORECASE)

_NO_MODEL_CODES = frozenset({"model_not_found", "DeploymentNotFound", "invalid_model", "model_not_available"})
# 404: Anthropic «model: x», Ollama «model 'x' not found», Gemini «models/x is not found», vLLM, OpenRouter
_NO_MODEL = re.compile(
    r"^model: |\bmodels?\b.{0,300}?(?:does not exist|not found|not exist)|no endpoints found for", re.IGNORECASE | re.S
)
# 400: DeepSeek «Model Not Exist», Mistral «Invalid model: x», OpenRouter «x is not a valid model ID»
_BAD_MODEL = re.compile(r"^model not exist|^invalid model\b|is not a valid model id", re.IGNORECASE)


def refuses(status: int, error: ErrorBody) -> bool:
    """Whether no job of this run can pass."""
    if error.code in _CODES or error.type in _CODES or status in _STATUS or _WORDS.search(error.message):
        return True
    if error.type == "RESOURCE_EXHAUSTED":  # Google's limits: none at all on this plan, or too many for now
        quota = error.details.quota
        return quota.limit == 0 if quota is not None and quota.limit is not None else _none_at_all(error.message)
    return _MONEY.search(error.message) is not None


def _none_at_all(message: str) -> bool:
    return _NONE_AT_ALL.search(message) is not None


def refuses_for_the_month(reply: Reply, error: ErrorBody) -> bool:
    """Whether a rate refusal is for a month's worth (Mistral has such a limit): nobody waits for that."""
    return reply.headers.get("x-ratelimit-remaining-tokens-month") == "0" or _MONTH.search(error.message) is not None


def no_model(status: int, error: ErrorBody) -> bool:
    """Whether a job was given up because there is no such model."""
    if error.code in _NO_MODEL_CODES or error.type in _NO_MODEL_CODES:
        return True
    if status == 404:
        return _NO_MODEL.search(error.message) is not None
    return status == 400 and _BAD_MODEL.search(error.message) is not None
