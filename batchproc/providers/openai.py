"""The OpenAI API, and everything compatible with it."""

from __future__ import annotations

from collections.abc import Mapping

from batchproc.providers.base import Api
from batchproc.providers.presets import COMPATIBLE, Preset


class OpenAI(Api):
    """`base_url` is what the OpenAI SDK takes: it ends in `/v1` for OpenAI itself."""

    name = "openai"

    def __init__(
        self, base_url: str, key: str | None, extra: Mapping[str, str], *, preset: Preset = COMPATIBLE
    ) -> None:
        super().__init__(preset, base_url, key, extra)

    def _credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key is not None else {}
