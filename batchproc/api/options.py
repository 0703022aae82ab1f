"""The keyword arguments of `run_jobs`, checked: wrong types are a TypeError, wrong values a UsageError with a hint."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import structs

from batchproc.building.connect import base_url_of, checked_header, extra_headers, key_of, secrets_of
from batchproc.building.parts import Access
from batchproc.core.concurrency import MOST
from batchproc.errors import UsageError
from batchproc.price import PICO
from batchproc.providers.presets import APIS, api_of, preset_of
from batchproc.settings import Limits, RunSettings
from batchproc.store.jobs import is_plain_path

LIMITS = ("rpm", "tpm", "rpd", "tpd", "itpm", "otpm")
_AMOUNTS = (*LIMITS, "concurrency", "max_attempts", "max_total_tokens", "assume_max_output", "look_ahead")
_SECONDS = ("timeout", "stop_after", "max_wait", "drain")
_MAY_BE_ZERO = ("max_wait", "drain")
_TEXTS = ("provider", "base_url", "endpoint", "model", "api_key")
_PATHS = ("prices", "output", "checkpoint")
_MOST = 10**15
_LEAST_AHEAD = 1000


def settings_of(o: Mapping[str, Any]) -> RunSettings:
    """The settings that these arguments make. Raises TypeError, UsageError."""
    _check_kinds(o)
    provider, base_url = _address(o)
    model, endpoint = o["model"], o["endpoint"]
    if model is not None and not model.strip():
        raise UsageError("`model` is empty", "name one, for example 'gpt-4o-mini', or leave it out")
    if endpoint is not None and not is_plain_path(endpoint):
        raise UsageError(f"`endpoint` {endpoint!r} is not a plain absolute path", "for example '/v1/chat/completions'")
    output = os.fspath(o["output"]) if o["output"] is not None else None
    if output is None and o["checkpoint"] is not None:
        raise UsageError("`checkpoint` is given without `output`", "name the `output` that it belongs to")
    if output == "-":
        raise UsageError("`output` is the path of a file, not `-`", "leave it out: results are yielded anyway")
    return RunSettings(
        jobs="-",
        output=output or "-",
        checkpoint=os.fspath(o["checkpoint"]) if o["checkpoint"] is not None else f"{output}.ckpt",
        base_url=base_url,
        provider=provider,
        limits=_limits(o),
        models=dict(o["models"] or {}),
        endpoint=endpoint,
        model=model,
        concurrency=o["concurrency"],
        max_attempts=o["max_attempts"],
        timeout_s=float(o["timeout"]),
        max_wait_s=float(o["max_wait"]),
        wait_for_daily=o["on_daily_limit"] == "wait",
        stop_after_s=o["stop_after"],
        drain_s=float(o["drain"]),
        fail_over=o["fail_over"],
        max_cost=_pico(o["max_cost"]),
        max_total_tokens=o["max_total_tokens"],
        assume_max_output=o["assume_max_output"],
        prices=os.fspath(o["prices"]) if o["prices"] is not None else None,
    )


def access_of(o: Mapping[str, Any], settings: RunSettings) -> Access:
    """Key and headers, from the arguments and the environment. Raises UsageError; the key is in no message."""
    preset = preset_of(settings.provider, settings.base_url)
    headers = extra_headers((), os.environ, preset)
    for name, value in (o["headers"] or {}).items():
        headers[name] = checked_header(name, value)
    key = None
    if settings.provider != "simulated":
        key = key_of(None, preset, settings.base_url, headers, os.environ, given=o["api_key"])
    return Access(key, headers, secrets_of(key, (), headers))


def look_ahead_of(o: Mapping[str, Any]) -> int:
    """How many jobs may be taken from the input whose results are not taken yet."""
    given: int | None = o["look_ahead"]
    return given if given is not None else max(_LEAST_AHEAD, 10 * (o["concurrency"] or MOST))


def ahead_of(o: Mapping[str, Any]) -> int:
    """How many jobs may wait to be sent."""
    return max(64, 2 * (o["concurrency"] or MOST))


def _check_kinds(o: Mapping[str, Any]) -> None:
    for name in _AMOUNTS:
        _check_amount(name, o[name])
    for name in _SECONDS:
        _check_seconds(name, o[name])
    for name in _TEXTS:
        _check(name, o[name], str, "a string")
    for name in _PATHS:
        _check(name, o[name], (str, os.PathLike), "a path")
    for name in ("simulate", "ordered"):
        _check(name, o[name], bool, "True or False", needed=True)
    for name in ("headers", "models"):
        _check(name, o[name], Mapping, "a dict")
    _check("limits", o["limits"], Limits, "batchproc.Limits")
    for model, limits in (o["models"] or {}).items():
        _check("a key of `models`", model, str, "a model's name", needed=True)
        _check(f"models[{model!r}]", limits, Limits, "batchproc.Limits", needed=True)
    for name, value in (o["headers"] or {}).items():
        _check("a name in `headers`", name, str, "a string", needed=True)
        _check(f"headers[{name!r}]", value, str, "a string", needed=True)
    share = o["fail_over"]
    _check("fail_over", share, (int, float), "a number from 0 to 1")
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"`fail_over` is {share}: it must be from 0 to 1", "give a share of the jobs, such as 0.05")
    if o["on_daily_limit"] not in ("stop", "wait"):
        raise UsageError(
            f"`on_daily_limit` is {o['on_daily_limit']!r}: it must be 'stop' or 'wait'",
            "'stop' ends the run where a day's limit is used up, 'wait' waits until more fits in",
        )


def _check(name: str, value: object, kinds: Any, words: str, *, needed: bool = False) -> None:
    if value is None and not needed:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        shown = name if "`" in name else f"`{name}`"
        raise TypeError(f"{shown} must be {words}, not {type(value).__name__}")


def _check_amount(name: str, value: object) -> None:
    _check(name, value, int, "a whole number", needed=name == "max_attempts")
    if isinstance(value, int) and not 1 <= value <= _MOST:
        bound = "at least 1" if value < 1 else f"at most {_MOST:,}"
        raise UsageError(f"`{name}` is {value}: it must be {bound}", "leave it out for what is usual")


def _check_seconds(name: str, value: object) -> None:
    _check(name, value, (int, float), "a number of seconds", needed=name != "stop_after")
    if isinstance(value, int | float) and (math.isnan(value) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO)):
        least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
        raise UsageError(f"`{name}` is {value}: it must be {least}", "give seconds, for example 30 or 0.5")


def _limits(o: Mapping[str, Any]) -> Limits:
    limits: Limits = o["limits"] or Limits()
    for each in (limits, *(o["models"] or {}).values()):
        for name in LIMITS:
            _check_amount(name, getattr(each, name))
        if each.burst_s is not None:
            _check_seconds("burst_s", each.burst_s)
    return structs.replace(limits, **{name: o[name] for name in LIMITS if o[name] is not None})


def _address(o: Mapping[str, Any]) -> tuple[str, str]:
    provider = o["provider"]
    if provider is not None and provider not in (*APIS, "simulated"):
        raise UsageError(f"there is no provider {provider!r}", f"known are {', '.join((*APIS, 'simulated'))}")
    if o["simulate"] or provider == "simulated":
        for name in ("base_url", "api_key", *(["provider"] if provider in APIS else [])):
            if o[name] is not None:
                raise UsageError(f"`{name}` makes no sense with the embedded provider", "leave one of the two out")
        return "simulated", "http://127.0.0.1/v1"
    base_url = base_url_of(o["base_url"], provider, os.environ)
    return provider or api_of(base_url), base_url


def _pico(dollars: object) -> int | None:
    if dollars is None:
        return None
    _check("max_cost", dollars, (int, float, Decimal, str), "an amount of dollars")
    try:
        pico = int(Decimal(str(dollars).removeprefix("$")) * PICO)
    except (InvalidOperation, ValueError, OverflowError):
        pico = 0
    if not 0 < pico <= _MOST * PICO:
        raise UsageError(
            f"`max_cost` is {dollars}: it must be an amount of dollars, more than 0", "for example 5 or '0.25'"
        )
    return pico
