"""Which jobs of a finished run a retry sends again: a byte for each, and how often each was sent."""

from __future__ import annotations

from array import array

GOOD, CHOSEN, LEFT_OUT, ANSWERED, FAILED = range(5)


class Chosen:
    """What every one of `jobs` jobs is to a retry.

    GOOD      its line in the output is an answer, and stays
    LEFT_OUT  it failed, and is not to be sent
    CHOSEN    it is to be sent
    ANSWERED  this retry has its answer
    FAILED    in this retry it failed again
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.state = bytearray(jobs)
        self.attempts = array("I", bytes(4 * jobs))  # requests sent before this retry, of those that failed
        self.lines = array("I", bytes(4 * jobs))  # physical lines of the input, as far as it was read

    @property
    def count(self) -> int:
        """Jobs of this retry, those that have their new result included."""
        return sum(self.state.count(kind) for kind in (CHOSEN, ANSWERED, FAILED))


class Attempts:
    """How often a job of a retry was sent: before it, and in it without a result."""

    def __init__(self, chosen: Chosen, unanswered: dict[int, int]) -> None:
        self._chosen = chosen
        self._unanswered = unanswered

    def get(self, index: int, default: int) -> int:
        """The requests of a job."""
        return self._chosen.attempts[index] + self._unanswered.get(index, default)
