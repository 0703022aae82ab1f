"""What ends a run early by what came of its jobs: too many failures, no such model, nothing but time-outs."""

from __future__ import annotations

from batchproc.core.decisions import Halt, HaltKind
from batchproc.core.lane import Lane
from batchproc.core.modelqueue import Policy
from batchproc.model import Fault

_NO_MODEL = 20  # answers «no such model», and no others, after which the run stops
_TIMED_OUT = 5  # first jobs of a lane that all time out, after which the run stops
_FEWEST = 20  # jobs that have ended before a share of failures means anything

_TIMEOUT_HINT = "raise `--timeout`, then run the same command again"
_MODEL_HINT = "correct the model's name in the jobs or with `--model`; no job was failed for it"
_FAIL_OVER_HINT = "look at the errors above; run the same command again to go on, with a higher `--fail-over` or none"


class Guards:
    """Counts how jobs end; `halted` is why nothing is sent any more, None while the run goes on."""

    def __init__(self, policy: Policy) -> None:
        self.halted: Halt | None = None
        self._fail_over = policy.fail_over
        self.held: set[int] = set()  # jobs for which there is no such model, while nothing else was ever answered
        self._no_model: int | None = 0  # such answers; None once anything else was answered
        self._ended = self._failed = 0

    def halt(self, halt: Halt) -> None:
        """Stop sending; the first reason given stands."""
        if self.halted is None:
            self.halted = halt

    def succeeded(self) -> None:
        """A job has its answer."""
        self._answered_otherwise()
        self._ended += 1

    def holds(self, index: int, fault: Fault) -> bool:
        """Whether a job is not failed yet: so far every answer was that there is no such model.

        If that stays so the name is wrong, the run stops, and nothing is burnt: «give up this request, or stop the
        run if every request uses that model».
        """
        if self._no_model is None or not fault.no_model:
            return False
        self._no_model += 1
        self.held.add(index)
        if self._no_model >= _NO_MODEL:
            self.no_such_model(fault)
        return True

    def no_such_model(self, fault: Fault) -> None:
        """Stop: no job of this run finds its model."""
        self.halt(Halt(HaltKind.REFUSED, fault.message, _MODEL_HINT))

    def _answered_otherwise(self) -> None:
        self._no_model = None
        self.held.clear()

    def failed(self, fault: Fault | None = None) -> None:
        """A job is given up, for this fault if a request was sent."""
        self._ended += 1
        self._failed += 1
        rate = self._fail_over
        if rate is not None and self._ended >= _FEWEST and self._failed > rate * self._ended:
            text = f"{self._failed} of the first {self._ended} jobs failed, more than --fail-over allows"
            self.halt(Halt(HaltKind.FAIL_OVER, text, _FAIL_OVER_HINT))
        if fault is not None:
            self._answered_otherwise()

    def timed_out(self, lane: Lane) -> None:
        """A job of this lane ended by running into the time-out."""
        lane.timed_out += 1
        if lane.timed_out >= _TIMED_OUT and not lane.ended_otherwise:
            text = f"the first {_TIMED_OUT} jobs all ran into the time-out"
            self.halt(Halt(HaltKind.TIMEOUTS, text, _TIMEOUT_HINT))
