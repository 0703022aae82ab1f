"""`--quota URL` taken apart, and the name of a quota: whose it is cannot be read from it, nor found by trying keys."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from batchproc.errors import UsageError

_HINT = "use `sqlite:///path/to/file` for runs on this host, `redis://host:6379/0` for several hosts"
_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_ROUNDS = 200_000  # some 50 ms: to try all short keys takes as much for each
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Place(Struct, frozen=True):
    """Where a quota is kept. `path` of a file, or `url` of a server; `where` may be shown."""

    path: str
    url: str
    where: str
    name: str | None


def place_of(text: str) -> Place:
    """Take a URL apart. Raises UsageError, which never shows a password."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UsageError("the address cannot be read", _HINT) from None
    query = parse_qsl(parts.query, keep_blank_values=True)
    name = dict(query).get("name")
    if name is not None and _NAME.fullmatch(name) is None:
        raise UsageError(f"`name={name}` is not a name", "use up to 100 letters, digits, and . _ : -")
    rest = [(key, value) for key, value in query if key != "name"]
    if parts.scheme == "sqlite":
        path = unquote(parts.path)
        if parts.netloc or not path.strip("/") or rest:
            raise UsageError(f"`{hidden(text)}` names no file", _HINT)
        if re.match(r"/[A-Za-z]:[/\\]", path):
            path = path[1:]  # C:/… on Windows
        return Place(path, "", path, name)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError(f"`{hidden(text)}` is no place where a quota can be kept", _HINT)
    url = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path, urlencode(rest), ""))
    return Place("", url, f"{parts.hostname}:{port or 6379}", name)


def hidden(text: str) -> str:
    """A URL as it may be shown: without user name and password."""
    return re.sub(r"(?<=//).*@", "…@", re.sub(r"(?i)(password=)[^&]*", r"\1…", text))


class Names:
    """The names of the quotas of one run: `name` as the user gives it, or from base URL and key; and the model.

    What is kept of the key is a digest of many rounds, salted with the base URL: it differs from provider to provider,
    and trying one key takes as long as computing it did.
    """

    def __init__(self, base_url: str, key: str, name: str | None) -> None:
        self._name = name
        salt = b"batchproc quota\0" + base_url.strip().rstrip("/").lower().encode()
        self._secret = hashlib.pbkdf2_hmac("sha256", key.encode(), salt, _ROUNDS) if name is None else b""

    def of(self, model: str) -> str:
        """The name of a model's quota."""
        if self._name is not None:
            return f"batchproc:{{{self._name}}}:{model}"
        return "batchproc:{" + hmac.new(self._secret, model.encode(), "sha256").hexdigest()[:12] + "}"
