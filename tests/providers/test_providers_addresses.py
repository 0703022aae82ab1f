"""Where requests go: Azure's addresses, Anthropic's, and which provider is meant by a base URL."""

from __future__ import annotations

import pytest

from batchproc.model import Answer, Reply, Usage
from batchproc.providers.azure import Azure
from batchproc.providers.choose import provider_for
from batchproc.providers.presets import api_of, drops_v1, preset_of

RES = "https://res.openai.azure.com"
VERSION = "?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("base", "path", "model", "url", "why"),
    [
        (RES, "/chat/completions", "gpt-4o", "/openai/deployments/gpt-4o/chat/completions" + VERSION, "the resource"),
        (RES + "/", "/chat/completions", "d", "/openai/deployments/d/chat/completions" + VERSION, "with a slash"),
        (RES + "/openai", "/embeddings", "d", "/openai/deployments/d/embeddings" + VERSION, "with /openai"),
        (RES, "/completions", "d", "/openai/deployments/d/completions" + VERSION, "completions"),
        (RES, "/images/generations", "d", "/openai/deployments/d/images/generations" + VERSION, "images"),
        (RES, "/responses", "d", "/openai/responses" + VERSION, "responses are not below a deployment"),
        (RES, "/chat/completions", "a/b", "/openai/deployments/a%2Fb/chat/completions" + VERSION, "a slash"),
        (RES, "/chat/completions", "a?b#c d", "/openai/deployments/a%3Fb%23c%20d/chat/completions" + VERSION, "marks"),
        (RES, "/chat/completions", "..", "/openai/deployments/%2E%2E/chat/completions" + VERSION, "dots"),
        (RES, "/chat/completions", "gpt-4.1", "/openai/deployments/gpt-4.1/chat/completions" + VERSION, "one dot"),
        (RES, "/chat/completions", "é", "/openai/deployments/%C3%A9/chat/completions" + VERSION, "not ASCII"),
        (RES + "/openai/v1", "/chat/completions", "d", "/openai/v1/chat/completions", "the newer address"),
        (RES + "/openai/v1", "/responses", "d", "/openai/v1/responses", "the newer address, responses"),
        (RES + "/openai/deployments/x", "/chat/completions", "d",
         "/openai/deployments/x/chat/completions" + VERSION, "a deployment in the base URL"),
    ],
)  # fmt: skip
def test_azure(base, path, model, url, why):
    """The classic address names the deployment, the newer one does not."""
    assert Azure(base, "k", {}).url(path, model) == RES + url, why


def test_azure_s_version_comes_from_the_environment():
    """Its own variable, then the one of OpenAI's SDK; what is odd in it cannot leave the query."""
    for environment, version in (
        ({"AZURE_OPENAI_API_VERSION": "2025-01-01", "OPENAI_API_VERSION": "x"}, "2025-01-01"),
        ({"OPENAI_API_VERSION": "2025-03-01-preview"}, "2025-03-01-preview"),
        ({"AZURE_OPENAI_API_VERSION": " "}, "2024-10-21"),
        ({"AZURE_OPENAI_API_VERSION": "1&a=b"}, "1%26a%3Db"),
    ):
        made = provider_for("azure", RES, "k", {}, environment)
        assert made.url("/embeddings", "d") == f"{RES}/openai/deployments/d/embeddings?api-version={version}"


@pytest.mark.parametrize(
    "base", ["https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1"]
)
def test_anthropic(base):
    """With or without /v1; the version goes along, and can be another."""
    made = provider_for("anthropic", base, "k", {}, {})
    assert made.url("/messages", "m") == "https://api.anthropic.com/v1/messages"
    assert made.headers()["anthropic-version"] == "2023-06-01"
    other = provider_for("anthropic", base, "k", {"Anthropic-Version": "2026-10-21"}, {}).headers()
    assert {v for h, v in other.items() if h.lower() == "anthropic-version"} == {"2026-10-21"}


@pytest.mark.parametrize(
    ("base", "api", "name"),
    [
        ("https://api.openai.com/v1", "openai", "OpenAI"),
        ("https://eu.api.openai.com/v1", "openai", "OpenAI"),
        ("https://API.OpenAI.com:443/v1", "openai", "OpenAI"),
        ("https://res.openai.azure.com", "azure", "Azure OpenAI"),
        ("https://res.cognitiveservices.azure.com/openai/v1", "azure", "Azure OpenAI"),
        ("https://res.services.ai.azure.com/openai/v1", "azure", "Azure OpenAI"),
        ("https://api.anthropic.com", "anthropic", "Anthropic"),
        ("http://localhost:11434/v1", "openai", "Ollama"),
        ("http://[::1]:8000/v1", "openai", "vLLM"),
        ("http://localhost:9999/v1", "openai", "a compatible server"),
        ("https://openai.azure.com.evil.test/v1", "openai", "a compatible server"),
        ("https://evilapi.openai.com.test/v1", "openai", "a compatible server"),
        ("https://notapi.groq.com/v1", "openai", "a compatible server"),
    ],
)
def test_which_provider_a_base_url_means(base, api, name):
    """By its whole host name, never by a part of it."""
    assert api_of(base) == api
    assert preset_of(api, base).name == name


def test_a_gateway_speaks_the_api_it_is_said_to():
    """Its headers are read as that API's, and whether it wants a key is its own affair."""
    preset = preset_of("anthropic", "https://gateway.test")
    assert (preset.keys, preset.needs_key, preset.messages) == (("ANTHROPIC_API_KEY",), False, "/v1/messages")
    assert preset_of("openai", "https://api.anthropic.com/v1").needs_key is False
    assert preset_of("simulated", "http://127.0.0.1/v1").name == "a compatible server"


@pytest.mark.parametrize(
    ("api", "base", "drops"),
    [
        ("openai", "https://api.openai.com/v1", True),
        ("openai", "https://api.deepseek.com", False),
        ("openai", "https://generativelanguage.googleapis.com/v1beta/openai", True),
        ("azure", RES, True),
        ("anthropic", "https://api.anthropic.com", True),
        ("anthropic", "https://gateway.test/x", True),
    ],
)
def test_where_a_job_s_v1_goes(api, base, drops):
    """It is not doubled, and not put where the provider has no room for it."""
    assert drops_v1(api, base) is drops


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (b'{"input_tokens":1,"cache_creation_input_tokens":20,"cache_read_input_tokens":300}', (321, 0, 300)),
        (b'{"input_tokens":10,"cache_read_input_tokens":null,"output_tokens":7}', (10, 7)),
        (b'{"prompt_tokens":3210,"cache_read_input_tokens":3000,"completion_tokens":7}', (3210, 7, 3000)),
    ],
)  # fmt: skip
def test_usage_of_anthropic(usage, expected):
    """What was written to the cache and read from it is input too; where a total is given it has them already."""
    body = b'{"id":"msg_1","type":"message","content":[],"usage":%s}' % usage
    answer = provider_for("anthropic", "https://api.anthropic.com", "k", {}, {}).read(
        "/messages", Reply(200, {"request-id": "req_1"}, body), 0.0
    )
    assert isinstance(answer, Answer)
    assert (answer.usage, answer.request_id) == (Usage(*expected), "req_1")
