"""The providers that are known by name: one row each. Data only, cheap to import.

A server that is compatible with OpenAI's API and not named here works all the same: what a row adds is the variable
of its key, whether one is demanded, and what is particular in its headers and errors. Sources: each provider's own
documentation of authentication, rate limits and errors, and recorded answers.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import Struct, structs

from batchproc.providers import spellings
from batchproc.providers.spellings import Rates

OPENAI_KEY = "OPENAI_API_KEY"


class Preset(Struct, frozen=True):
    """What is particular to one provider."""

    name: str  # as it calls itself
    api: str = "openai"  # the API it speaks, as `--provider` names it
    hosts: tuple[str, ...] = ()  # `.x.y`: any host below; `host:port`: only at that port
    keys: tuple[str, ...] = (OPENAI_KEY,)  # variables its key may be in, the first one first
    needs_key: bool = True
    base_url: str = ""  # where it is, if nothing else is said
    base_url_keys: tuple[str, ...] = ()  # variables that say where it is
    drops_v1: bool = False  # a job's `/v1` goes although the base URL does not end in one
    messages: str = "/v1/chat/completions"  # where a bare job with `messages` goes
    rates: Rates = spellings.COMMON
    request_ids: tuple[str, ...] = ("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id")
    settles: bool = False  # the charge is corrected to the tokens really used
    crowds: bool = False  # a 429 means too many requests in flight, not too many a minute
    errors_in_200: bool = False  # an error inside a 200 means what the status in it means


PRESETS = (
    Preset(
        "OpenAI",
        hosts=("api.openai.com", ".api.openai.com"),
        base_url="https://api.openai.com/v1",
        base_url_keys=("OPENAI_BASE_URL",),
    ),
    Preset(
        "Azure OpenAI",
        api="azure",
        hosts=(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
        keys=("AZURE_OPENAI_API_KEY",),
        base_url_keys=("AZURE_OPENAI_ENDPOINT",),
        drops_v1=True,
        rates=spellings.AZURE,
    ),
    Preset(
        "Anthropic",
        api="anthropic",
        hosts=("api.anthropic.com",),
        keys=("ANTHROPIC_API_KEY",),
        base_url="https://api.anthropic.com/v1",
        base_url_keys=("ANTHROPIC_BASE_URL",),
        drops_v1=True,
        messages="/v1/messages",
        rates=spellings.ANTHROPIC,
        request_ids=("request-id", "x-request-id"),
        settles=True,
    ),
    Preset(
        "Gemini",
        hosts=("generativelanguage.googleapis.com",),
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY", OPENAI_KEY),
        drops_v1=True,  # its base URL ends in `/v1beta/openai`
    ),
    Preset("Groq", hosts=("api.groq.com",), keys=("GROQ_API_KEY", OPENAI_KEY), rates=spellings.GROQ),
    Preset(
        "Mistral",
        hosts=("api.mistral.ai",),
        keys=("MISTRAL_API_KEY", OPENAI_KEY),
        rates=spellings.MISTRAL,
        settles=True,  # recorded: what remains falls by usage.total_tokens
    ),
    Preset("DeepSeek", hosts=("api.deepseek.com",), keys=("DEEPSEEK_API_KEY", OPENAI_KEY), crowds=True),
    Preset(
        "Together",
        hosts=("api.together.xyz", "api.together.ai"),
        keys=("TOGETHER_API_KEY", OPENAI_KEY),
        rates=spellings.TOGETHER,
    ),
    Preset(
        "OpenRouter",
        hosts=("openrouter.ai",),
        keys=("OPENROUTER_API_KEY", OPENAI_KEY),
        rates=spellings.OPENROUTER,
        errors_in_200=True,
    ),
    Preset("Cerebras", hosts=("api.cerebras.ai",), keys=("CEREBRAS_API_KEY", OPENAI_KEY)),
    Preset("Ollama", hosts=("localhost:11434", "127.0.0.1:11434", "[::1]:11434"), needs_key=False),
    Preset("vLLM", hosts=("localhost:8000", "127.0.0.1:8000", "[::1]:8000"), needs_key=False),
    Preset("llama.cpp", hosts=("localhost:8080", "127.0.0.1:8080", "[::1]:8080"), needs_key=False),
)
COMPATIBLE = Preset("a compatible server", needs_key=False)
OPENAI, AZURE, ANTHROPIC = PRESETS[:3]
APIS = tuple(dict.fromkeys(p.api for p in PRESETS))


def _is_at(preset: Preset, base_url: str) -> bool:
    try:
        parts = urlsplit(base_url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    shown = f"[{host}]" if ":" in host else host
    return any(
        host.endswith(known) if known.startswith(".") else known in (shown, f"{shown}:{port}") for known in preset.hosts
    )


def api_of(base_url: str) -> str:
    """The API spoken at a base URL, going by its host: one of APIS."""
    return next((p.api for p in PRESETS if _is_at(p, base_url)), OPENAI.api)


def standard_of(api: str) -> Preset:
    """The row of an API's own provider: whose variables and address are meant where no base URL is given."""
    return next(p for p in PRESETS if p.api == api)


def preset_of(api: str, base_url: str) -> Preset:
    """The row of the provider that speaks this API at this base URL."""
    for preset in PRESETS:
        if preset.api == api and _is_at(preset, base_url):
            return preset
    if api in APIS and api != OPENAI.api:
        return structs.replace(standard_of(api), needs_key=False)  # a gateway, whose own affair keys are
    return COMPATIBLE


def drops_v1(api: str, base_url: str) -> bool:
    """Whether the `/v1` that jobs' paths begin with is left out, because the base URL has it, or has no room for it."""
    return base_url.endswith("/v1") or preset_of(api, base_url).drops_v1
