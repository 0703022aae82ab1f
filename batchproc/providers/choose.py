"""The one place where a provider is made, by the name of its API and its base URL."""

from __future__ import annotations

from collections.abc import Mapping

from batchproc.providers.anthropic import Anthropic
from batchproc.providers.azure import Azure
from batchproc.providers.base import Provider
from batchproc.providers.openai import OpenAI
from batchproc.providers.presets import preset_of


def provider_for(
    name: str, base_url: str, key: str | None, extra_headers: Mapping[str, str], environment: Mapping[str, str]
) -> Provider:
    """The provider that speaks this API at this base URL; any other name is one compatible with OpenAI's.

    `environment` may hold what an API wants beside its key: Azure's version.
    """
    preset = preset_of(name, base_url)
    if name == Azure.name:
        return Azure(base_url, key, extra_headers, environment=environment, preset=preset)
    if name == Anthropic.name:
        return Anthropic(base_url, key, extra_headers, preset=preset)
    return OpenAI(base_url, key, extra_headers, preset=preset)
