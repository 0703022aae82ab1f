"""The kinds of values options take: amounts (`3.5k`), durations (`10m`), shares (`5%`), headers."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from batchproc.errors import UsageError
from batchproc.price import PICO

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kKmMgG]?)")
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_MOST = 10**15
_MOST_S = 10 * 365 * 86_400.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|min|h|d|)")
_DOLLARS = re.compile(r"\d{1,15}(?:\.\d{1,12})?|\.\d{1,12}")
_SHARD = re.compile(r"(\d{1,7})\s*/\s*(\d{1,7})")
_MOST_SHARDS = 100_000
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Amount(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """A whole number of at least 1, which may be written `3500`, `3.5k`, or `2m`."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        m = _AMOUNT.fullmatch(str(value).strip().replace("_", "").replace(",", ""))
        amount = float(m[1]) * _FACTORS[m[2].lower()] if m else math.nan
        if m is None or amount > _MOST or amount != int(amount):
            self.fail(f"`{value}` is not a number such as `3500`, `3.5k` or `2m`", param, ctx)
        if amount < 1:
            self.fail(f"`{value}` is too small: it must be at least 1; leave the option out for no limit", param, ctx)
        return int(amount)


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """Seconds, or a number with a unit: `90`, `10m`, `1h30m`."""

    name = "SECONDS"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower().replace(" ", "")
        parts = list(_DURATION.finditer(text))
        if not text or "".join(m[0] for m in parts) != text:
            self.fail(f"`{value}` is not a duration such as `90`, `10m` or `1h30m`", param, ctx)
        seconds = sum(float(m[1]) * _SECONDS[m[2]] for m in parts if m[0])
        if seconds < 0 or (seconds == 0 and not self._zero):
            self.fail(f"`{value}` is too short: it must be more than 0", param, ctx)
        return min(seconds, _MOST_S)


class Share(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """A share: `5%` or `0.05`."""

    name = "RATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Between 0 and 1."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            self.fail(f"`{value}` is not a share such as `5%` or `0.05`", param, ctx)
        return share


class AutoOr(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """`auto`, or a value of another kind."""

    def __init__(self, kind: Any, name: str) -> None:
        self._kind = kind
        self.name = f"auto|{name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word `auto`, or the value."""
        if str(value).strip().lower() == "auto":
            return "auto"
        return self._kind.convert(value, param, ctx)


class Header(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """NAME=VALUE. From the environment several are separated by line breaks: a value may contain spaces."""

    name = "NAME=VALUE"
    envvar_list_splitter = "\n"


class Dollars(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """An amount of money, `5`, `$5` or `0.25`, as whole pico-dollars."""

    name = "USD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Pico-dollars."""
        text = str(value).strip().removeprefix("$").replace(",", "").replace("_", "")
        m = _DOLLARS.fullmatch(text)
        amount = int(Decimal(text) * PICO) if m else 0
        if not 0 < amount <= _MOST * PICO:
            self.fail(f"`{value}` is not an amount of dollars such as `5` or `0.25`", param, ctx)
        return amount


class File(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """The name of a file, which a shell completes; whether it is there is for others to judge."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell name files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class ShardOf(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """Which of how many parts, from 0: `0/8` to `7/8`."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The two numbers as they are typed."""
        m = _SHARD.fullmatch(str(value).strip())
        index, count = (int(m[1]), int(m[2])) if m else (0, 0)
        if not 0 < count <= _MOST_SHARDS:
            self.fail(f"`{value}` is not a shard such as `0/8`, the first of eight", param, ctx)
        if index >= count:
            self.fail(
                f"`{value}`: shards are counted from 0, so the last of {count} is `{count - 1}/{count}`", param, ctx
            )
        return f"{index}/{count}"


class Fraction(Share):
    """A share that is more than nothing."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Above 0, up to 1."""
        share = super().convert(value, param, ctx)
        if share <= 0:
            self.fail(f"`{value}` is too little: it must be more than 0", param, ctx)
        return share


class Quota(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """Where a quota is kept: `sqlite:///path`, `redis://host:6379/0?name=NAME`."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address as it was typed. No message shows a password."""
        from batchproc.quota.names import place_of

        try:
            place_of(str(value))
        except UsageError as e:
            self.fail(f"{e.message}; {e.hint}", param, ctx)
        return str(value)


AMOUNT = Amount()
FILE = File()
FRACTION = Fraction()
QUOTA = Quota()
SHARD = ShardOf()
HEADER = Header()
DURATION = Duration()
WAIT = Duration(zero=True)
SHARE = Share()
USD = Dollars()
