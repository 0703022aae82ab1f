"""Azure OpenAI: the same bodies and answers at other addresses, with the key in a header of its own.

Microsoft's reference of the service knows two kinds of addresses. The classic one names the deployment in the path,
`https://RES.openai.azure.com/openai/deployments/NAME/chat/completions?api-version=2024-10-21`: the job's model is the
name of the deployment. The newer one ends in `/openai/v1` and reads the model in the body, as OpenAI does.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from batchproc.providers.base import Api
from batchproc.providers.presets import AZURE

API_VERSION = "2024-10-21"
_VERSION_KEYS = ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION")
# What the classic address serves below a deployment; anything else (responses, models) it serves beside them.
_OF_A_DEPLOYMENT = re.compile(r"/(?:chat/completions|completions|embeddings|audio/\w+|images/\w+)")
_NAMED = re.compile(r"/openai/deployments/[^/]+$")


class Azure(Api):
    """`base_url` is the resource's address, or that with `/openai`, `/openai/v1`, or `/openai/deployments/NAME`."""

    name = "azure"
    standard = AZURE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        said = (self._environment.get(name, "").strip() for name in _VERSION_KEYS)
        self._version = quote(next(filter(None, said), API_VERSION), safe="")
        self._newer = self._base.endswith("/openai/v1")
        self._named = _NAMED.search(self._base) is not None
        if not self._newer and not self._named and not self._base.endswith("/openai"):
            self._base += "/openai"

    def url(self, path: str, model: str) -> str:
        """The address of the job's path, of its model's deployment on a classic address."""
        if self._newer:
            return self._base + path
        below = "" if self._named or not _OF_A_DEPLOYMENT.fullmatch(path) else f"/deployments/{_segment(model)}"
        return f"{self._base}{below}{path}?api-version={self._version}"

    def _credentials(self) -> dict[str, str]:
        return {"api-key": self._key} if self._key is not None else {}


def _segment(name: str) -> str:
    """One segment of a path: nothing in a name can end it, or climb out of it."""
    encoded = quote(name, safe="", errors="replace")
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")
