"""Error bodies as servers send them. «Recorded»: from traffic or from reports of users, identifiers replaced;
«documented»: from the provider's own pages."""

# ruff: noqa: E501 - bodies are one line, however long

from __future__ import annotations

import json
from typing import Any


def anthropic(type: str, message: str, **details: Any) -> dict[str, Any]:
    """Anthropic's shape (its API reference), with `details` where given."""
    error: dict[str, Any] = {"type": type, "message": message}
    return {
        "type": "error",
        "error": error | ({"details": details} if details else {}),
        "request_id": "req_011CSomething",
    }


# Anthropic, recorded 2025: a limit on input tokens.
ANTHROPIC_RATE = anthropic(
    "rate_limit_error",
    "This request would exceed the rate limit for your organization (00000000-0000-4000-8000-000000000000) of 40,000 input tokens per minute. For details, refer to: https://docs.anthropic.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later.",
)
# Anthropic, recorded 2026: the same in newer words.
ANTHROPIC_RATE_2026 = anthropic(
    "rate_limit_error",
    "This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: 0, model: claude-sonnet-4-6). For details, refer to: https://docs.claude.com/en/api/rate-limits.",
)
# Anthropic, the error codes that its SDK knows (documented), the text of the cap recorded 2026.
ANTHROPIC_RAMP = anthropic("rate_limit_error", "Your usage has risen too sharply.", error_code="ramp_limit_exceeded")
ANTHROPIC_CAP = anthropic(
    "rate_limit_error",
    "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set based on your organization's API tier. You will regain access on 2026-09-01 at 00:00 UTC.",
    error_code="enforced_spend_limit_reached",
)
ANTHROPIC_CONTRACT = anthropic("rate_limit_error", "No more.", error_code="contract_spend_limit_reached")
ANTHROPIC_OWN_CAP = anthropic(
    "invalid_request_error",
    "You have reached your specified API usage limits. You will regain access on 2026-09-01 at 00:00 UTC.",
)
ANTHROPIC_TOO_LONG = anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
ANTHROPIC_NO_MODEL = anthropic("not_found_error", "model: claude-9")

# Azure's gateway, recorded 2023: codes are strings of the status.
AZURE_CALL_RATE = {
    "error": {
        "code": "429",
        "message": "Requests to the Creates a completion for the chat message Operation under Azure OpenAI API version 2023-05-15 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 5 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.",
    }
}
AZURE_TOKEN_RATE = {
    "error": {
        "code": "429",
        "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current AIServices S0 pricing tier. Please retry after 1 second.",
    }
}
AZURE_LIMITED = {"error": {"code": "429", "message": "Requests to this deployment have been limited."}}
AZURE_KEY = {
    "error": {
        "code": "401",
        "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.",
    }
}
AZURE_NETWORK = {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}}
AZURE_NO_DEPLOYMENT = {
    "error": {
        "code": "DeploymentNotFound",
        "message": "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.",
    }
}
AZURE_FILTER = {
    "error": {
        "code": "content_filter",
        "param": "prompt",
        "status": 400,
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.",
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "hate": {"filtered": True, "severity": "high"},
                "jailbreak": {"detected": False, "filtered": False},
            },
        },
    }
}

GEMINI_WORDS = "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."


def gemini(quota: str, value: str | None, metric: str = "requests", delay: str = "38.2s") -> list[dict[str, Any]]:
    """A refusal of Gemini's compatible endpoint, recorded 2025 and 2026: a list, and OpenAI's words for «no money»."""
    name = "generativelanguage.googleapis.com/generate_content_free_tier_" + metric
    violation = {"quotaMetric": name, "quotaId": quota, "quotaDimensions": {"model": "gemini-2.5-flash"}}
    if value is not None:
        violation["quotaValue"] = value
    limit = (
        f"\n* Quota exceeded for metric: {name}, limit: {value or 0}, model: gemini-2.5-flash\nPlease retry in {delay}."
    )
    details = [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Learn more"}]},
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return [
        {"error": {"code": 429, "message": GEMINI_WORDS + limit, "status": "RESOURCE_EXHAUSTED", "details": details}}
    ]


GEMINI_MINUTE = gemini("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15")
GEMINI_TOKENS = gemini("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000", "input_token_count")
GEMINI_DAY = gemini("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20")
GEMINI_NONE = gemini("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", None)
GEMINI_BAD_KEY = [
    {
        "error": {
            "code": 400,
            "message": "Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                }
            ],
        }
    }
]
GEMINI_BILLING = [
    {
        "error": {
            "code": 400,
            "message": "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.",
            "status": "FAILED_PRECONDITION",
        }
    }
]
GEMINI_LEAKED = [
    {
        "error": {
            "code": 403,
            "message": "Your API key was reported as leaked. Please use another API key.",
            "status": "PERMISSION_DENIED",
        }
    }
]
GEMINI_NO_MODEL = [
    {
        "error": {
            "code": 404,
            "message": "models/gemini-9 is not found for API version v1main, or is not supported for generateContent.",
            "status": "NOT_FOUND",
        }
    }
]

# Groq, recorded 2026 (a minute) and documented (a day).
GROQ_MINUTE = {
    "error": {
        "message": "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_0` service tier `on_demand` on tokens per minute (TPM): Limit 12000, Used 4437, Requested 9854. Please try again in 11.455s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}
GROQ_DAY = {
    "error": {
        "message": "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_0` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 99000, Requested 2000. Please try again in 14m24s.",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}

# Mistral, recorded 2026; its gateway speaks of `detail` or of a `message` alone.
MISTRAL_RATE = {
    "object": "error",
    "message": "Rate limit exceeded",
    "type": "rate_limited",
    "param": None,
    "code": "1300",
    "raw_status_code": 429,
}
MISTRAL_SHORT = {"message": "Requests rate limit exceeded"}
MISTRAL_MONTH = {
    "object": "error",
    "message": "You have exceeded your tokens per month limit",
    "type": "rate_limited",
    "param": None,
    "code": "1300",
}
MISTRAL_FIELDS = {
    "object": "error",
    "message": {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]},
    "type": "invalid_request_message_error",
    "param": None,
    "code": None,
}
MISTRAL_KEY = {"detail": "Unauthorized"}
MISTRAL_NO_MODEL = {
    "object": "error",
    "message": "Invalid model: mistral-9",
    "type": "invalid_model",
    "param": None,
    "code": "1500",
}

# DeepSeek: concurrency recorded 2026, the others documented.
DEEPSEEK_CROWDED = {
    "error": {
        "message": "Your current concurrency is 40, which exceeds your concurrency limit of 39 based on your remaining balance. Please top up your balance to restore your concurrency.",
        "type": "rate_limit_error",
        "param": None,
        "code": None,
    }
}
DEEPSEEK_429 = {"error": {"message": "Too many requests", "type": "rate_limit_error", "param": None, "code": None}}
DEEPSEEK_MONEY = {
    "error": {
        "message": "Insufficient Balance",
        "type": "unknown_error",
        "param": None,
        "code": "invalid_request_error",
    }
}
DEEPSEEK_NO_MODEL = {
    "error": {
        "message": "Model Not Exist",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_request_error",
    }
}

# OpenRouter, recorded 2026 (the free models' day); shapes documented.
OPENROUTER_DAY = {
    "error": {
        "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        "code": 429,
        "metadata": {
            "headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700006400000"},
            "provider_name": None,
            "limit_source": "openrouter_free_tier_daily",
        },
    },
    "user_id": "user_0",
}
OPENROUTER_MINUTE = {
    "error": {
        "message": "Rate limit exceeded: free-models-per-min.",
        "code": 429,
        "metadata": {
            "headers": {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000030000"}
        },
    }
}
OPENROUTER_UPSTREAM = {
    "error": {
        "message": "Provider returned error",
        "code": 429,
        "metadata": {"provider_name": "x"},
        "availability": {"code": "rate_limited", "retryable": True, "retry_after": 7},
    }
}
OPENROUTER_DOWN = {
    "error": {"message": "Provider returned error", "code": 502, "metadata": {"error_type": "provider_unavailable"}}
}
OPENROUTER_NEVER = {
    "error": {
        "message": "Provider returned error",
        "code": 500,
        "availability": {"code": "unsupported", "retryable": False},
    }
}
OPENROUTER_CREDITS = {
    "error": {"message": "Insufficient credits. Add more using https://openrouter.ai/settings/credits", "code": 402}
}
OPENROUTER_MODERATION = {
    "error": {
        "code": 403,
        "message": "Input was flagged by moderation",
        "metadata": {"reasons": ["violence"], "flagged_input": "…"},
    }
}
OPENROUTER_NO_MODEL = {"error": {"message": "openai/gpt-99 is not a valid model ID", "code": 400}}

# vLLM and llama.cpp write integer codes; Ollama's own paths have an `error` that is a text.
VLLM_NO_MODEL = {
    "error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}
}
VLLM_CONTEXT = {
    "error": {
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    }
}
LLAMA_CONTEXT = {
    "error": {
        "code": 400,
        "message": "request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 13392,
        "n_ctx": 8192,
    }
}
LLAMA_BATCH = {
    "error": {
        "code": 500,
        "message": "input is too large to process. increase the physical batch size",
        "type": "server_error",
    }
}
OLLAMA_BUSY = {"error": "server busy, please try again.  maximum pending requests exceeded"}
OLLAMA_NO_MODEL = {"error": {"message": "model 'x' not found", "type": "not_found_error", "param": None, "code": None}}
TOGETHER_NO_MODEL = {
    "error": {
        "message": "Unable to access model x. Please visit the list of models.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_available",
    }
}
TOGETHER_CONTEXT = {
    "error": {
        "message": "inputs tokens + max_new_tokens must be <= 8193",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
}
# A gateway of the kind that many put in front: no JSON at all.
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def raw(body: Any) -> bytes:
    """The bytes of a body."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()
