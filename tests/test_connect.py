"""Where requests go and with which key, by options and environment; and what is said where that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchproc.building.connect import base_url_of, extra_headers, key_of
from batchproc.errors import UsageError
from batchproc.providers.presets import api_of, preset_of

AZURE, ANTHROPIC = "https://res.openai.azure.com", "https://api.anthropic.com/v1"
GROQ = "https://api.groq.com/openai/v1"


@pytest.mark.parametrize(
    ("option", "api", "environment", "url", "why"),
    [
        (None, None, {}, "https://api.openai.com/v1", "nothing is said"),
        (None, "openai", {}, "https://api.openai.com/v1", "the provider is"),
        (None, None, {"OPENAI_BASE_URL": "http://a/v1/"}, "http://a/v1", "the SDK's variable"),
        ("http://b/v1", None, {"OPENAI_BASE_URL": "http://a/v1"}, "http://b/v1", "the option goes first"),
        (None, "azure", {"AZURE_OPENAI_ENDPOINT": AZURE + "/", "OPENAI_BASE_URL": "http://a"}, AZURE, "Azure's"),
        (None, "anthropic", {}, ANTHROPIC, "Anthropic's own"),
        (None, "anthropic", {"ANTHROPIC_BASE_URL": "https://g"}, "https://g", "Anthropic's variable"),
        (None, None, {"ANTHROPIC_BASE_URL": "https://g", "AZURE_OPENAI_ENDPOINT": AZURE},
         "https://api.openai.com/v1", "others' variables do not change whom one asks"),
        ("http://bücher.test:1/é/v1", None, {}, "http://xn--bcher-kva.test:1/%C3%A9/v1", "as it goes over the wire"),
    ],
)  # fmt: skip
def test_base_url(option, api, environment, url, why):
    """Option, then the provider's variable, then its own address."""
    assert base_url_of(option, api, environment) == url, why


@pytest.mark.parametrize("url", ["http://a/\udcff/v1", "http://\udcff/v1", "http://a..é/v1"])
def test_base_urls_that_are_no_text(url):
    """They are said, with what cannot be shown as escapes."""
    with pytest.raises(UsageError, match="cannot be read: it is no text") as e:
        base_url_of(url, None, {})
    assert e.value.message.isascii()


def test_azure_needs_an_address():
    """There is none for everybody; the hint says what to type."""
    with pytest.raises(UsageError) as e:
        base_url_of(None, "azure", {"OPENAI_BASE_URL": "http://a/v1"})
    assert "AZURE_OPENAI_ENDPOINT" in (e.value.hint or "")
    assert "--base-url https://" in (e.value.hint or "")


def key(base: str, environment: dict[str, str], headers: dict[str, str] | None = None, file: str | None = None):
    """The key for a base URL."""
    return key_of(file, preset_of(api_of(base), base), base, headers or {}, environment)


@pytest.mark.parametrize(
    ("base", "environment", "expected", "why"),
    [
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "o"}, "o", "OpenAI's"),
        (GROQ, {"OPENAI_API_KEY": "o", "GROQ_API_KEY": "g"}, "g", "the provider's own goes first"),
        (GROQ, {"OPENAI_API_KEY": "o", "GROQ_API_KEY": " "}, "o", "OpenAI's stands in"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", {"GOOGLE_API_KEY": "g"}, "g", "Google's other one"),
        (AZURE, {"AZURE_OPENAI_API_KEY": "a", "OPENAI_API_KEY": "o"}, "a", "Azure's"),
        (ANTHROPIC, {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}, "a", "Anthropic's"),
        ("http://localhost:8000/v1", {}, None, "vLLM needs none"),
        ("http://localhost:8000/v1", {"OPENAI_API_KEY": "o"}, "o", "and gets one that is there"),
    ],
)
def test_key(base, environment, expected, why):
    """The variable of the provider at the base URL."""
    assert key(base, environment) == expected, why


@pytest.mark.parametrize(
    ("base", "variable"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        (AZURE, "AZURE_OPENAI_API_KEY"),
        (ANTHROPIC, "ANTHROPIC_API_KEY"),
        (GROQ, "GROQ_API_KEY"),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ],
)
def test_a_missing_key_is_named(base, variable):
    """The hint names the variable of this provider; another company's key is not sent to Azure or Anthropic."""
    others = {"OPENAI_API_KEY": "sk-openai"} if variable[:2] in ("AZ", "AN") else {}
    with pytest.raises(UsageError) as e:
        key(base, others)
    assert f"set {variable}," in (e.value.hint or "")


def test_a_key_in_a_header_does():
    """A token of Entra, say: no key is demanded then."""
    assert key(AZURE, {}, {"authorization": "Bearer t"}) is None


def test_a_key_file_goes_first(tmp_path: Path):
    """Before every variable."""
    (tmp_path / "key").write_text("f\n")
    assert key(ANTHROPIC, {"ANTHROPIC_API_KEY": "a"}, file=str(tmp_path / "key")) == "f"


def test_a_bad_key_is_named_by_its_variable_and_not_shown():
    """Two words in a variable."""
    with pytest.raises(UsageError) as e:
        key(GROQ, {"GROQ_API_KEY": "two words"})
    assert "`GROQ_API_KEY`" in e.value.message
    assert "two words" not in e.value.message


@pytest.mark.parametrize(("base", "sent"), [("https://api.openai.com/v1", True), ("http://localhost/v1", True),
                                            (ANTHROPIC, False), (GROQ, False), (AZURE, False)])  # fmt: skip
def test_openai_s_organisation_is_told_to_no_other_company(base, sent):
    """OPENAI_ORG_ID and OPENAI_PROJECT_ID are OpenAI's, and a gateway's to it."""
    headers = extra_headers((), {"OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "p"}, preset_of(api_of(base), base))
    assert bool(headers) is sent
