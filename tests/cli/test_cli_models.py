"""Limits of single models: which count for which model, and that everything which limits has them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.building.embedded import embedded_settings
from batchproc.building.trackers import capacity_maker
from batchproc.settings import Limits, RunSettings
from batchproc.simulator.settings import SimulatorSettings
from batchproc.store.checkpoint import Sent

OF_ONE = {
    "gpt-4o*": Limits(rpm=100, tpm=1000),
    "gpt-4o-mini*": Limits(rpm=50),
    "gpt-4o-mini": Limits(tpm=7),
    "*-odd": Limits(rpm=1),  # no beginning: the name of a model that has a star in front
}
CASES = [
    ("o3", Limits(rpm=500, burst_s=2.0), "no name fits: what every model has"),
    ("gpt-4o", Limits(rpm=100, tpm=1000, burst_s=2.0), "the beginning alone fits too"),
    ("gpt-4o-2024", Limits(rpm=100, tpm=1000, burst_s=2.0), "a longer name with that beginning"),
    ("gpt-4o-mini", Limits(rpm=50, tpm=7, burst_s=2.0), "each limit from the most exact name that gives it"),
    ("gpt-4o-mini-x", Limits(rpm=50, tpm=1000, burst_s=2.0), "the longer beginning before the shorter; no exact name"),
    ("GPT-4o", Limits(rpm=500, burst_s=2.0), "names are compared as they are spelt"),
    ("so-odd", Limits(rpm=500, burst_s=2.0), "a star in front means nothing"),
]  # fmt: skip


def settings(limits: Limits, models: dict[str, Limits]) -> RunSettings:
    return RunSettings("j", "o", "c", "http://127.0.0.1/v1", "simulated", limits=limits, models=models)


@pytest.mark.parametrize(("model", "expected", "reason"), CASES, ids=[c[2] for c in CASES])
def test_limits_for(model: str, expected: Limits, reason: str) -> None:
    """The limits of a model: its own over those of its beginnings over those of all, each limit by itself."""
    assert settings(Limits(rpm=500, burst_s=2.0), OF_ONE).limits_for(model) == expected, reason


names = st.text(st.sampled_from("ab-*"), min_size=1, max_size=5)
limits = st.builds(Limits, rpm=st.none() | st.integers(1, 9), tpm=st.none() | st.integers(1, 9))


@given(st.dictionaries(names, limits, max_size=6), limits, st.text(st.sampled_from("ab-"), min_size=1, max_size=5))
def test_client_and_simulator_agree(models: dict[str, Limits], every: Limits, model: str) -> None:
    """The embedded provider enforces for each model what the client keeps to: two implementations, one rule."""
    run = settings(every, models)
    enforced = embedded_settings(run).limit_spec_of(model)
    kept = run.limits_for(model)
    assert (enforced.rpm, enforced.tpm) == (kept.rpm, kept.tpm)


def test_trackers_have_the_limits_of_their_model() -> None:
    """Each model's trackers are made from its own limits, and charged with what was sent to it before."""
    run = settings(Limits(rpm=500, burst_s=2.0), OF_ONE)
    sent = [Sent(90.0, "gpt-4o", 3, 40, [])]
    capacity = capacity_maker(run.limits_for, sent, now=lambda: 0.0, wall=100.0)
    every, one = capacity("o3"), capacity("gpt-4o")
    assert every.requests is not None
    assert (every.requests.limit, every.requests.burst_s, every.tokens) == (500, 2.0, None)
    assert one.requests is not None
    assert one.tokens is not None
    assert (one.requests.limit, one.tokens.limit, one.tokens.burst_s) == (100, 1000, 2.0)


@pytest.mark.parametrize(
    ("every", "models", "expected"),
    [
        (Limits(rpm=5), {}, False),
        (Limits(tpm=5), {}, True),
        (Limits(rpm=5), {"a": Limits(rpm=5)}, False),
        (Limits(rpm=5), {"a": Limits(rpm=5), "b*": Limits(tpm=5)}, True),
    ],
)
def test_tokens_are_counted_where_any_model_limits_them(
    every: Limits, models: dict[str, Limits], expected: bool
) -> None:
    """A token limit of one model is enough to make every job be weighed exactly."""
    assert settings(every, models).limits_tokens is expected


def test_every_limit_of_tokens_is_known_as_one() -> None:
    """A field of `Limits` that limits tokens makes tokens be counted; one of requests does not."""
    for name in Limits.__struct_fields__:
        if name != "burst_s":
            given_one: dict[str, Any] = {name: 1}
            assert Limits(**given_one).of_tokens is not name.startswith("r"), name


def test_what_the_embedded_provider_enforces() -> None:
    """Of the limits every one that it knows, nothing that is not given, and no burst."""
    made = embedded_settings(settings(Limits(rpm=5, burst_s=1.0), {"a*": Limits(tpm=6)}))
    assert made == SimulatorSettings(port=0, rpm=5, by_model={"a*": {"tpm": 6}})
    assert {f.name for f in dataclasses.fields(SimulatorSettings)} >= {"rpm", "tpm", "rpd", "tpd"}
