"""The fold of a job file: lines that were parsed and weighed come in chunks, in their order."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from batchproc.forecast import BadLines, ModelForecast, Part, Repeats, Spread
from batchproc.plan.limits import enough_s, slowest
from batchproc.plan.quantiles import Sketch
from batchproc.plan.repeats import Seen
from batchproc.price import Price, dollars_in
from batchproc.settings import Limits

COLD_OUTPUT = 512  # tokens for a job that names no maximum, where nothing tells more
_REASONS = 200  # kinds of bad lines kept apart
_LINES = 10  # of each shown
_VARIES = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")  # what differs between messages that say the same


class Chunk(Struct):
    """Some whole lines: `lines` of the file, of which `jobs` are not blank.

    For each good job: its place among the lines that are not blank (`at`) and among all (`line`), both from 0; which
    of `models`; input tokens; output tokens, or minus the number of answers asked for where it names no maximum;
    digests of body and `custom_id` (0: none). `bad`: (at, line, code, message). `uncounted`: jobs by model.
    """

    lines: int = 0
    jobs: int = 0
    models: list[str] = field(default_factory=list)
    at: array[int] = field(default_factory=lambda: array("I"))
    line: array[int] = field(default_factory=lambda: array("I"))
    model: array[int] = field(default_factory=lambda: array("I"))
    input: array[int] = field(default_factory=lambda: array("I"))
    output: array[int] = field(default_factory=lambda: array("q"))
    bodies: array[int] = field(default_factory=lambda: array("Q"))
    ids: array[int] = field(default_factory=lambda: array("Q"))
    bad: list[tuple[int, int, str, str]] = field(default_factory=list)
    uncounted: dict[str, int] = field(default_factory=dict)


class _Model:
    """What the jobs of one model add up to."""

    def __init__(self, assumed: int) -> None:
        self.assumed = assumed  # output tokens of an answer without a maximum
        self.tokens = Sketch()
        self.input = 0
        self.output = 0
        self.estimated = 0
        self.estimated_output = 0
        self.uncounted = 0

    def add(self, tokens: int, output: int) -> None:
        if output < 0:
            output *= -self.assumed
            self.estimated += 1
            self.estimated_output += output
        self.input += tokens
        self.output += output
        self.tokens.add(tokens + output)


class Tally:
    """The jobs of a file, or those that remain, by model. `assumed(model)`: output of an answer without a maximum."""

    def __init__(self, assumed: Callable[[str], int]) -> None:
        self._assumed = assumed
        self._models: dict[str, _Model] = {}

    def of(self, model: str) -> _Model:
        """The sums of a model."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = _Model(self._assumed(model))
        return found

    def part(
        self, limits_for: Callable[[str], Limits], concurrency: int | None, price_of: Callable[[str], Price | None]
    ) -> Part:
        """The forecast at these limits of each model, and so many requests in flight of all together."""
        models: list[ModelForecast] = []
        cost = 0
        unpriced: list[str] = []
        for name, m in self._models.items():
            if not m.tokens.count:
                continue
            binding, minutes = slowest(m.tokens.count, m.input, m.output, limits_for(name))
            price = price_of(name)
            if price is None:
                unpriced.append(name)
            pico = price.cost(m.input, m.output) if price is not None else 0
            cost += pico
            s = m.tokens
            models.append(
                ModelForecast(
                    name,
                    s.count,
                    Spread(s.min, s.quantile(0.5), s.quantile(0.95), s.max, s.total),
                    m.input,
                    m.output,
                    m.estimated,
                    m.estimated_output,
                    m.uncounted,
                    binding,
                    minutes,
                    dollars_in(pico) if price is not None else None,
                    price.source if price is not None else None,
                )
            )
        models.sort(key=lambda f: (-f.jobs, f.model))
        jobs = sum(f.jobs for f in models)
        last = max(models, key=lambda f: f.minutes or 0.0, default=None)
        minutes = last.minutes if last is not None else None
        binding = last.binding or "concurrency" if last is not None else None
        priced = len(unpriced) < len(models)
        return Part(
            jobs,
            tuple(models),
            binding,
            minutes,
            enough_s(jobs, minutes, concurrency),
            dollars_in(cost) if priced else None,
            tuple(sorted(unpriced)),
        )


class Survey:
    """Folds chunks. `done(index)` says which jobs have their result; None where there is no earlier run.

    `told` gets each bad line as it comes: line, code, message. At most `limit` jobs are looked at.
    """

    def __init__(
        self,
        assumed: Callable[[str], int],
        *,
        done: Callable[[int], bool] | None = None,
        limit: int | None = None,
        told: Callable[[int, str, str], None] = lambda line, code, message: None,
    ) -> None:
        self.lines = self.jobs = self.bad = 0
        self.whole = Tally(assumed)
        self.rest = Tally(assumed) if done is not None else None
        self._done = done
        self._limit = limit
        self._told = told
        self._reasons: dict[tuple[str, str], tuple[str, array[int], list[int]]] = {}
        self._ids, self._bodies = Seen(), Seen()

    @property
    def full(self) -> bool:
        """Whether as many jobs were seen as are wanted."""
        return self._limit is not None and self.jobs >= self._limit

    def add(self, chunk: Chunk) -> None:
        """The next chunk."""
        first, first_line = self.jobs, self.lines + 1
        most = chunk.jobs if self._limit is None else min(chunk.jobs, self._limit - first)
        whole = [self.whole.of(name) for name in chunk.models]
        rest = [self.rest.of(name) for name in chunk.models] if self.rest is not None else []
        rows = zip(chunk.at, chunk.line, chunk.model, chunk.input, chunk.output, chunk.bodies, chunk.ids, strict=True)
        done, add_body, add_id = self._done, self._bodies.add, self._ids.add
        for at, line, model, tokens, output, body, custom_id in rows:
            if at >= most:
                break
            whole[model].add(tokens, output)
            add_body(body, first_line + line)
            if custom_id:
                add_id(custom_id, first_line + line)
            if done is not None and not done(first + at):
                rest[model].add(tokens, output)
        for at, line, code, message in chunk.bad:
            if at < most:
                self._add_bad(first_line + line, code, message)
        for name, count in chunk.uncounted.items():
            self.whole.of(name).uncounted += count
        self.jobs += most
        self.lines += chunk.lines

    def _add_bad(self, line: int, code: str, message: str) -> None:
        self.bad += 1
        self._told(line, code, message)
        key = (code, _VARIES.sub("…", message))
        if key not in self._reasons and len(self._reasons) >= _REASONS:
            key, message = (code, ""), "for other reasons"
        _, lines, count = self._reasons.setdefault(key, (message, array("Q"), [0]))
        count[0] += 1
        if len(lines) < _LINES:
            lines.append(line)

    def bad_lines(self) -> tuple[BadLines, ...]:
        """The reasons, most frequent first."""
        found = [BadLines(code, m, n[0], tuple(lines)) for (code, _), (m, lines, n) in self._reasons.items()]
        return tuple(sorted(found, key=lambda b: (-b.count, b.lines)))

    def repeats(self) -> tuple[Repeats, Repeats]:
        """`custom_id`s and bodies that occur again."""
        return self._ids.repeats(), self._bodies.repeats()


def assumed_output(given: int | None, earlier: Mapping[str, tuple[int, int]]) -> Callable[[str], int]:
    """Output tokens of an answer without a maximum: what is given, else the mean of at least 20 earlier ones, else 512.

    `earlier`: answers and their output tokens, by model.
    """

    def assumed(model: str) -> int:
        if given is not None:
            return given
        answers, tokens = earlier.get(model, (0, 0))
        return -(-tokens // answers) if answers >= 20 else COLD_OUTPUT

    return assumed
