"""Where requests go and with which key: base URL, key, extra headers, from options and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from batchproc.errors import UsageError
from batchproc.providers.presets import COMPATIBLE, OPENAI, Preset, standard_of

_CREDENTIALS = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key", "proxy-authorization"})
_KEY_FILE = "name a text file that holds the key and nothing else"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def base_url_of(option: str | None, api: str | None, environment: Mapping[str, str]) -> str:
    """The base URL as the user gives it: the option, else the provider's variable, else its own. Raises UsageError.

    `api` is what `--provider` says, None if it says nothing.
    """
    standard = standard_of(api or OPENAI.api)
    said = (environment.get(name, "").strip() for name in standard.base_url_keys)
    url = option or next(filter(None, said), standard.base_url)
    if not url:
        raise UsageError(
            f"{standard.name} has no address of its own for everybody: which resource is yours is not known",
            f"add `--base-url https://RESOURCE.openai.azure.com`, or set {standard.base_url_keys[0]}",
        )
    url = url.strip().rstrip("/")
    hint = "give it as the OpenAI SDK takes it, for example `https://api.openai.com/v1` or `http://localhost:8000/v1`"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise UsageError(f"the base URL `{url}` cannot be read: {e}", hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(f"the base URL `{url}` is not an http or https address", hint)
    if parts.username is not None or parts.password is not None:
        raise UsageError("the base URL contains a user name or password", "give secrets by `--header NAME=@FILE`")
    if parts.query or parts.fragment or any(c.isspace() or ord(c) < 33 for c in url):
        raise UsageError(f"the base URL `{url}` has a query, a fragment, or white space", hint)
    return url if url.isascii() else _in_ascii(url, hint)


def _in_ascii(url: str, hint: str) -> str:
    """The address as it goes over the wire: the host's name in its ASCII form (IDNA), the path quoted."""
    from yarl import URL

    try:
        url.encode()  # yarl passes over bytes that are no text
        return str(URL(url))
    except ValueError:
        shown = url.encode("ascii", "backslashreplace").decode()
        raise UsageError(f"the base URL `{shown}` cannot be read: it is no text, or no name of a host", hint) from None


def key_of(
    file: str | None,
    preset: Preset,
    base_url: str,
    headers: Mapping[str, str],
    environment: Mapping[str, str],
    *,
    given: str | None = None,
) -> str | None:
    """The API key, or None where the server needs none, or `headers` have one. Raises UsageError.

    It is the one that is `given`, else that in the file, else that in the environment. The key is in no message.
    """
    if given is not None:
        key, where = given.strip(), "`api_key`"
    elif file is not None:
        try:
            with open(file, encoding="utf-8") as f:
                key, where = f.read().strip(), f"`{file}`"
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is not text"
            raise UsageError(f"the key file `{file}` cannot be read: {why}", _KEY_FILE) from None
        if not key:
            raise UsageError(f"the key file `{file}` is empty", _KEY_FILE)
    else:
        key, where = "", ""
        for name in preset.keys:
            if key := environment.get(name, "").strip():
                where = f"`{name}`"
                break
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(
            f"the key in {where} is not one word of plain characters", "copy it again, the whole of it and nothing else"
        )
    if not key and preset.needs_key and not _CREDENTIALS & {name.lower() for name in headers}:
        raise UsageError(
            f"there is no API key for {base_url}",
            f"set {preset.keys[0]}, or name a file with `--api-key-file`; `--simulate` tries batchproc without a key",
        )
    return key or None


def extra_headers(
    options: tuple[str, ...], environment: Mapping[str, str], preset: Preset = COMPATIBLE
) -> dict[str, str]:
    """Headers of `--header NAME=VALUE` and `NAME=@FILE`, organisation and project. Raises UsageError."""
    headers: dict[str, str] = {}
    ids = (("OPENAI_ORG_ID", "OpenAI-Organization"), ("OPENAI_PROJECT_ID", "OpenAI-Project"))
    for variable, name in ids if preset.name in (OPENAI.name, COMPATIBLE.name) else ():
        if value := environment.get(variable, "").strip():
            headers[name] = _plain(value, f"`{variable}`")
    for option in options:
        name, value = header_parts(option)
        if value.startswith("@"):
            try:
                with open(value[1:], encoding="utf-8") as f:
                    value = f.read().strip()
            except (OSError, UnicodeDecodeError) as e:
                why = e.strerror if isinstance(e, OSError) else "it is not text"
                hint = "name a text file that holds the value alone; a value that begins with `@` cannot be given"
                raise UsageError(f"the file of `--header {name}` cannot be read: {why}", hint) from None
        headers[name] = _plain(value, f"`--header {name}`")
    return headers


def header_parts(option: str) -> tuple[str, str]:
    """Name and value of a `--header`. Raises UsageError, which does not show it: it may be a secret."""
    name, equals, value = option.partition("=")
    if not equals or _TOKEN.fullmatch(name) is None:
        raise UsageError(
            "a `--header` is not of the form NAME=VALUE", "for example `--header X-Team=7`, or NAME=@FILE for secrets"
        )
    return name, value


def checked_header(name: str, value: str) -> str:
    """The value of a header that may be sent. Raises UsageError, which does not show it."""
    if _TOKEN.fullmatch(name) is None:
        raise UsageError(f"the name `{name}` of a header is not one word", "for example {'X-Team': '7'}")
    return _plain(value, f"the header `{name}`")


def secrets_of(key: str | None, options: tuple[str, ...], headers: dict[str, str]) -> list[str]:
    """What must be shown nowhere: the key, headers read from files, and those that carry credentials by their name."""
    from_files = {name for name, _, value in (o.partition("=") for o in options) if value.startswith("@")}
    secret = [v for name, v in headers.items() if name in from_files or name.lower() in _CREDENTIALS]
    words = [w for value in secret for w in (value, value.rpartition(" ")[2])]  # `Bearer KEY` and the key alone
    return [w for w in (key, *words) if w]


def credential_of(key: str | None, headers: Mapping[str, str], secrets: Sequence[str]) -> str:
    """What the server knows whose limits these are by: a header that carries it, else the key, else another secret.

    Other secret headers (a trace, a run's own name) change nothing of whose the key is.
    """
    for name, value in headers.items():
        if name.lower() in _CREDENTIALS - {"proxy-authorization"}:
            return value.rpartition(" ")[2]
    return key or (secrets[-1] if secrets else "")


def hidden_header(header: str) -> str:
    """A `--header` as it may be shown: without its value, unless that is the name of a file. Raises UsageError."""
    name, value = header_parts(header)
    return header if value.startswith("@") else f"{name}=…"


def hidden_url(url: str) -> str:
    """The address of a server as it may be shown: without user name and password."""
    from batchproc.quota.names import hidden

    return hidden(url)


def _plain(value: str, where: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise UsageError(f"the value of {where} has characters that no header can carry", "use one line of plain ASCII")
    return value
