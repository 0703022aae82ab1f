"""Anthropic's Messages API: `/v1/messages`, the key in `x-api-key`, a version in a header.

Anthropic's API reference: an answer is an object of type `message` with a list `content`; its rate limits are told in
`anthropic-ratelimit-…` headers and corrected to the tokens really used.
"""

from __future__ import annotations

from typing import Any

from batchproc.providers.base import Api
from batchproc.providers.presets import ANTHROPIC

VERSION = "2023-06-01"


class Anthropic(Api):
    """`base_url` is the API's root, with or without its `/v1` (Anthropic's SDK takes it without)."""

    name = "anthropic"
    standard = ANTHROPIC

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._base.endswith("/v1"):
            self._base += "/v1"

    def _credentials(self) -> dict[str, str]:
        version = {"anthropic-version": VERSION}
        return version | {"x-api-key": self._key} if self._key is not None else version
