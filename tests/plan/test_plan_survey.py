"""The fold of `check`: quantiles, repeats, limits, and what remains."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.forecast import Repeats
from batchproc.plan.limits import enough_s, slowest
from batchproc.plan.quantiles import Sketch
from batchproc.plan.repeats import Seen
from batchproc.plan.survey import Chunk, Survey, assumed_output
from batchproc.price import Price
from batchproc.settings import Limits


@given(st.lists(st.integers(0, 2**40), min_size=1), st.floats(0.01, 1.0))
def test_quantiles_are_as_good_as_promised(numbers: list[int], share: float) -> None:
    """Exact below 2,048; above, within a thousandth of the number at that rank."""
    sketch = Sketch()
    for n in numbers:
        sketch.add(n)
    true = sorted(numbers)[max(1, math.ceil(share * len(numbers))) - 1]
    found = sketch.quantile(share)
    assert found == true if true < 2048 else abs(found - true) <= true / 1000
    assert (sketch.min, sketch.max, sketch.total, sketch.count) == (
        min(numbers),
        max(numbers),
        sum(numbers),
        len(numbers),
    )


def test_a_sketch_of_nothing() -> None:
    """Zeros."""
    assert (Sketch().quantile(0.5), Sketch().min, Sketch().max) == (0, 0, 0)


@given(st.lists(st.integers(1, 60)))
def test_repeats(digests: list[int]) -> None:
    """Each occurrence after the first counts; the first pairs are named in the order of the file."""
    seen = Seen()
    first: dict[int, int] = {}
    pairs = []
    for line, digest in enumerate(digests, 1):
        seen.add(digest, line)
        if first.setdefault(digest, line) != line:
            pairs.append((first[digest], line))
    assert seen.repeats() == Repeats(len(pairs), tuple(pairs[:5]))


@pytest.mark.parametrize(
    ("jobs", "tokens", "limits", "expected"),  # of the tokens a tenth is input
    [
        (100, 1000, Limits(), (None, None)),
        (100, 1000, Limits(tpm=1000, itpm=10), ("itpm", 10.0)),
        (100, 1000, Limits(tpm=1000, itpm=100, otpm=100), ("otpm", 9.0)),
        (100, 1000, Limits(tpm=100, itpm=100, otpm=100), ("tpm", 10.0)),
        (100, 1000, Limits(rpm=50), ("rpm", 2.0)),
        (100, 1000, Limits(rpm=50, tpm=100), ("tpm", 10.0)),
        (100, 1000, Limits(rpm=50, rpd=100), ("rpm", 2.0)),  # they fit into the day
        (200, 1000, Limits(rpm=50, rpd=100), ("rpd", 2 * 1440.0)),
        (100, 3000, Limits(rpm=50, tpd=1000), ("tpd", 3 * 1440.0)),
        (100, 1000, Limits(rpd=100), ("rpd", 0.0)),
    ],
)
def test_which_limit_binds(jobs: int, tokens: int, limits: Limits, expected: tuple[str | None, float | None]) -> None:
    """The one that takes longest."""
    assert slowest(jobs, tokens // 10, tokens - tokens // 10, limits) == expected


def test_how_long_requests_may_take() -> None:
    """8 in flight for 10 minutes are 4,800 seconds of requests; among 1,000 jobs 4.8 s each."""
    assert enough_s(1000, 10.0, 8) == pytest.approx(4.8)
    assert enough_s(0, 10.0, 8) is None
    assert enough_s(10, None, 8) is None
    assert enough_s(10, 10.0, None) is None


def chunk(
    rows: list[tuple[int, int, str, int, int]], lines: int, bad: tuple[tuple[int, int, str, str], ...] = ()
) -> Chunk:
    """A chunk of (at, line, model, input, output)."""
    models = sorted({row[2] for row in rows})
    return Chunk(
        lines,
        len(rows) + len(bad),
        models,
        array("I", [r[0] for r in rows]),
        array("I", [r[1] for r in rows]),
        array("I", [models.index(r[2]) for r in rows]),
        array("I", [r[3] for r in rows]),
        array("q", [r[4] for r in rows]),
        array("Q", [1000 + r[0] for r in rows]),
        array("Q", [0 for _ in rows]),
        list(bad),
    )


def test_the_fold() -> None:
    """Two models, a bad line, a job without a maximum that asks for two answers; and what an earlier run left."""
    survey = Survey(lambda model: 7, done=lambda index: index < 2)
    survey.add(chunk([(0, 0, "a", 10, 90), (2, 3, "b", 5, -2)], 4, ((1, 2, "invalid_json", "byte 9"),)))
    survey.add(chunk([(0, 0, "a", 20, 80)], 1))
    prices = {"a": Price(10**6, 2 * 10**6, source="a list")}
    whole = survey.whole.part(lambda model: Limits(rpm=1, tpm=1000), 2, prices.get)
    assert (survey.jobs, survey.lines, survey.bad, whole.jobs) == (4, 5, 1, 3)
    a, b = whole.models
    assert (a.model, a.jobs, a.input_tokens, a.output_tokens, a.estimated_jobs) == ("a", 2, 30, 170, 0)
    assert (b.model, b.tokens.total, b.estimated_jobs, b.estimated_output_tokens) == ("b", 19, 1, 14)
    assert (a.cost_usd, b.cost_usd, whole.cost_usd, whole.unpriced) == (370e-6, None, 370e-6, ("b",))
    assert (whole.binding, whole.minutes, whole.enough_s) == ("rpm", 2.0, 2 * 2 * 60 / 3)
    assert survey.rest is not None
    rest = survey.rest.part(lambda model: Limits(), None, prices.get)
    assert {m.model: m.jobs for m in rest.models} == {"a": 1, "b": 1}
    assert rest.binding == "concurrency"
    assert [(bad.message, bad.count, bad.lines) for bad in survey.bad_lines()] == [("byte 9", 1, (3,))]
    assert survey.repeats()[1] == Repeats(1, ((1, 5),))


def test_each_model_has_its_own_limits() -> None:
    """The slower one decides, whichever has more jobs."""
    survey = Survey(lambda model: 7)
    survey.add(chunk([(0, 0, "a", 10, 90), (1, 1, "a", 10, 90), (2, 2, "b", 5, 5)], 3))
    limits = {"a": Limits(rpm=2), "b": Limits(otpm=1)}
    whole = survey.whole.part(limits.__getitem__, None, lambda m: None)
    assert [(m.model, m.binding, m.minutes) for m in whole.models] == [("a", "rpm", 1.0), ("b", "otpm", 5.0)]
    assert (whole.binding, whole.minutes) == ("otpm", 5.0)


def test_bad_lines_are_grouped_by_what_they_say() -> None:
    """Offsets and quoted values differ; the reason is the same. Of many, the first ten are named."""
    survey = Survey(lambda model: 7)
    told: list[int] = []
    survey._told = lambda line, code, message: told.append(line)
    bad = tuple((n, n, "invalid_json", f"byte {n}, 'x{n}'") for n in range(30))
    survey.add(chunk([], 30, bad))
    (group,) = survey.bad_lines()
    assert (group.count, group.lines) == (30, tuple(range(1, 11)))
    assert told == list(range(1, 31))


def test_a_limit_of_jobs() -> None:
    """What comes after it is not looked at."""
    survey = Survey(lambda model: 7, limit=3)
    survey.add(chunk([(0, 0, "a", 1, 1), (1, 1, "a", 1, 1)], 2))
    survey.add(chunk([(0, 0, "a", 1, 1), (1, 1, "a", 1, 1)], 3, ((2, 2, "c", "m"),)))
    assert (survey.jobs, survey.bad, survey.full) == (3, 0, True)
    assert survey.whole.part(lambda model: Limits(), None, lambda m: None).jobs == 3


def test_what_is_assumed_of_output() -> None:
    """What the user says, else what at least twenty answers had, else 512."""
    earlier = {"m": (20, 101), "few": (19, 19)}
    assert assumed_output(5, earlier)("m") == 5
    assert assumed_output(None, earlier)("m") == 6
    assert assumed_output(None, earlier)("few") == 512
    assert assumed_output(None, {})("m") == 512
