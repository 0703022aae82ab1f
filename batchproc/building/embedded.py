"""The embedded provider of a run: it enforces the limits of that run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from batchproc.settings import Limits, RunSettings

if TYPE_CHECKING:
    from batchproc.simulator.embedded import Embedded
    from batchproc.simulator.settings import SimulatorSettings


def embedded(settings: RunSettings) -> Embedded | None:
    """The provider to spawn for these settings; None where they name a real one."""
    if settings.provider != "simulated":
        return None
    from batchproc.simulator.embedded import Embedded

    return Embedded(embedded_settings(settings))


def embedded_settings(settings: RunSettings) -> SimulatorSettings:
    """An embedded provider that enforces the limits of this run, on any free port."""
    from batchproc.simulator.settings import SimulatorSettings

    by_model = {name: _enforced(limits) for name, limits in settings.models.items()}
    return SimulatorSettings(port=0, **_enforced(settings.limits), by_model=by_model)  # type: ignore[arg-type]


def _enforced(limits: Limits) -> dict[str, int]:
    """What is limited, of that which the embedded provider can limit."""
    from batchproc.simulator.settings import SimulatorSettings

    known = {f.name for f in dataclasses.fields(SimulatorSettings)}
    return {f: v for f in limits.__struct_fields__ if f in known and (v := getattr(limits, f)) is not None}
