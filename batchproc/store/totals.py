"""What results add up to: how many, which errors, which tokens of which model."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy

from msgspec import Struct, field

from batchproc.model import Usage

_MODELS = 1000  # models whose tokens are kept apart


class ErrorCount(Struct):
    """How many jobs failed with one code, and the first of them."""

    count: int
    line: int  # physical input line of the first
    message: str


class Spent(Struct):
    """What one model's answers used, in tokens; `cached_tokens` are among the input's.

    `lost` attempts were sent under a budget and brought no usage back: the most that they can have used.
    """

    answers: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    lost: int = 0
    lost_input: int = 0
    lost_output: int = 0

    def add(self, usage: Usage, answers: int = 1) -> None:
        """Count an answer; −1 takes it back."""
        self.answers += answers
        self.input_tokens += answers * usage.input_tokens
        self.cached_tokens += answers * usage.cached_tokens
        self.output_tokens += answers * usage.output_tokens

    def merge(self, other: Spent, *, losses_only: bool = False) -> None:
        """Count what another sum has, or only its losses."""
        for name in self.__struct_fields__:
            if not losses_only or name.startswith("lost"):
                setattr(self, name, getattr(self, name) + getattr(other, name))


def as_named(model: str, known: Collection[str]) -> str:
    """The name of `known` for a model as an answer names it: servers add dates and the like; else that name itself."""
    if model in known:
        return model
    begin = [name for name in known if name and model.startswith(name)]
    if begin:
        return max(begin, key=len)
    return next(iter(known)) if len(known) == 1 else model


class Totals(Struct):
    """What the results so far add up to. Tokens as the provider reported them."""

    succeeded: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: dict[str, ErrorCount] = field(default_factory=dict)
    models: dict[str, Spent] = field(default_factory=dict)  # by the name that the jobs use

    def add(self, code: str | None, usage: Usage, line: int, message: str, model: str = "") -> None:
        """Count one result."""
        if code is None:
            self.succeeded += 1
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.spent(model).add(usage)
            return
        self.failed += 1
        known = self.errors.get(code)
        if known is not None:
            known.count += 1
            if line and (line < known.line or not known.line):
                known.line, known.message = line, message[:200]
        elif len(self.errors) < 100:
            self.errors[code] = ErrorCount(1, line, message[:200])

    def take_back(self, code: str | None, usage: Usage, model: str = "") -> None:
        """A result that was counted is not the last of its job."""
        if code is None:
            self.succeeded -= 1
            self.input_tokens -= usage.input_tokens
            self.output_tokens -= usage.output_tokens
            self.spent(model).add(usage, -1)
            return
        self.failed -= 1
        known = self.errors.get(code)
        if known is not None:
            known.count -= 1
            if known.count <= 0:
                del self.errors[code]

    def unsaved(self, code: str | None, usage: Usage, model: str) -> None:
        """A result that was counted could be saved nowhere; its answer is paid for all the same."""
        self.take_back(code, usage, model)
        if code is None:
            self.lose(model, usage.input_tokens, usage.output_tokens)

    def spent(self, model: str) -> Spent:
        """What this model used, to be counted on; the nameless one where there are more models than are kept apart."""
        spent = self.models.get(model)
        if spent is None:
            name = model if len(self.models) < _MODELS else ""
            spent = self.models[name] = self.models.get(name) or Spent()
        return spent

    def lose(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """Count an attempt that may have been billed at the most that it can have used."""
        spent = self.spent(model)
        spent.lost += 1
        spent.lost_input += input_tokens
        spent.lost_output += output_tokens

    def rename(self, known: Collection[str]) -> None:
        """Give models that are counted under a server's name the one of `known` that the jobs must have used."""
        for name in [n for n in self.models if n not in known]:
            target = as_named(name, known)
            if target != name:
                was = self.models.pop(name)
                self.spent(target).merge(was)

    def merge_spent(self, other: Totals, *, losses_only: bool = False) -> None:
        """Count what other totals spent, or only lost, too."""
        for model, spent in other.models.items():
            if not losses_only or spent.lost:
                self.spent(model).merge(spent, losses_only=losses_only)

    def merge(self, other: Totals) -> None:
        """Count what another counted."""
        for name in ("succeeded", "failed", "input_tokens", "output_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.merge_spent(other)
        for code, e in other.errors.items():
            known = self.errors.get(code)
            if known is None:
                if len(self.errors) < 100:
                    self.errors[code] = ErrorCount(e.count, e.line, e.message)
                continue
            known.count += e.count
            if e.line and (e.line < known.line or not known.line):
                known.line, known.message = e.line, e.message

    def copy(self) -> Totals:
        """An independent copy."""
        errors = {k: ErrorCount(e.count, e.line, e.message) for k, e in self.errors.items()}
        models = {k: copy(s) for k, s in self.models.items()}
        return Totals(self.succeeded, self.failed, self.input_tokens, self.output_tokens, errors, models)
