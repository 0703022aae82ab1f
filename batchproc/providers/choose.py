"""The one place where a provider is made, by the name of its API and its base URL."""

from __future__ import annotations

from collections.abc import Mapping

from batchproc.providers.anthropic import Anthropic
from batchproc.providers.azure import Azure
from batchproc.providers.base import Api, Provider
from batchproc.providers.openai import OpenAI
from batchproc.providers.presets import preset_of

_APIS: dict[str, type[Api]] = {api.name: api for api in (OpenAI, Azure, Anthropic)}


def provider_for(
    name: str, base_url: str, key: str | None, extra_headers: Mapping[str, str], environment: Mapping[str, str]
) -> Provider:
    """The provider that speaks this API at this base URL; any other name is one compatible with OpenAI's.

    `environment` may hold what an API wants beside its key: Azure's version.
    """
    api = _APIS.get(name, OpenAI)
    return api(base_url, key, extra_headers, environment=environment, preset=preset_of(name, base_url))
