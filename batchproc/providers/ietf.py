"""The `RateLimit` and `RateLimit-Policy` headers of the IETF's draft on rate-limit headers for HTTP (2025).

    RateLimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400
    RateLimit: "burst";r=50;t=30

A policy has a quota `q` of a window of `w` seconds; `r` of it remain, for `t` seconds. `qu` names another unit than
requests; such policies are passed over, and so is a limit whose policy is not given: without a window it says little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from batchproc.model import RateSeen

_ITEM = re.compile(r'"([^"\\]{0,200})"((?:[ \t]*;[ \t]*[a-z*][a-z0-9_.*-]*(?:=(?:"[^"]*"|[^;,"\s]+))?)*)')
_PARAMETER = re.compile(r';[ \t]*([a-z*][a-z0-9_.*-]*)=("[^"]*"|[^;,"\s]+)')
_LONGEST = 8192
_MOST = 10**15


def _items(text: str) -> dict[str, dict[str, str]]:
    return {m[1]: dict(_PARAMETER.findall(m[2])) for m in _ITEM.finditer(text[:_LONGEST])}


def _number(parameters: dict[str, str], name: str) -> int | None:
    text = parameters.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def standard_rates(headers: Mapping[str, str]) -> tuple[RateSeen, ...]:
    """The limits on requests that both headers (lower-case names) describe."""
    policies = _items(headers.get("ratelimit-policy", ""))
    found = []
    for name, state in _items(headers.get("ratelimit", "")).items():
        policy = policies.get(name, {})
        limit, window, remaining = _number(policy, "q"), _number(policy, "w"), _number(state, "r")
        if policy.get("qu", '"requests"') != '"requests"' or not limit or not window or remaining is None:
            continue
        if remaining <= limit <= _MOST:
            reset = _number(state, "t")
            found.append(
                RateSeen("requests", limit, remaining, float(reset) if reset is not None else None, float(window))
            )
    return tuple(found)


def standard_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until more is allowed, where a limit is used up; None if that is not said."""
    states = _items(headers["ratelimit"]).values() if "ratelimit" in headers else ()
    waits = [float(t) for s in states if _number(s, "r") == 0 and (t := _number(s, "t")) is not None]
    wait = max(waits, default=None)
    return wait if wait is None or wait <= 366 * 86_400 else None
