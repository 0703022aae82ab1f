"""The OpenAI API, and everything compatible with it."""

from __future__ import annotations

from batchproc.providers.base import Api
from batchproc.providers.presets import COMPATIBLE


class OpenAI(Api):
    """`base_url` is what the OpenAI SDK takes: it ends in `/v1` for OpenAI itself."""

    name = "openai"
    standard = COMPATIBLE

    def _credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key is not None else {}
