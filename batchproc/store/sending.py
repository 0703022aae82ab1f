"""What was sent: what still counts against a limit after a restart, and how often an open job was sent."""

from __future__ import annotations

from array import array
from collections import deque

from batchproc.core.order import InOrder
from batchproc.store.checkpoint import Sent, sent_record

_FINE_S = 61.0  # groups younger than this are kept one by one
_COARSE_S = 600.0  # older ones are summed up
_DAY_S = 86_400.0
_MODELS = 1000  # whose names are kept


class RecentlySent:
    """Requests of the last day, by model: those of the last minute as they were sent, the others summed up."""

    def __init__(self) -> None:
        self._fine: deque[Sent] = deque()
        self._coarse: dict[tuple[str, int], Sent] = {}

    def add(self, sent: Sent) -> None:
        """Note a group."""
        if sent.requests:
            self._fine.append(Sent(sent.at, sent.model, sent.requests, sent.tokens, []))
            while self._fine[0].at < sent.at - _FINE_S:
                self._sum_up(self._fine.popleft())

    def groups(self, now: float) -> list[Sent]:
        """All that is younger than a day, oldest first; a sum is as young as the youngest in it."""
        old = sorted(self._coarse.values(), key=lambda s: s.at)
        return [s for s in (*old, *self._fine) if s.at > now - _DAY_S]

    def _sum_up(self, s: Sent) -> None:
        key = (s.model, int(s.at // _COARSE_S))
        had = self._coarse.get(key)
        if had is not None:
            s = Sent(max(s.at, had.at), s.model, s.requests + had.requests, s.tokens + had.tokens, [])
        self._coarse[key] = s
        if len(self._coarse) > 4096:
            self._coarse = {k: v for k, v in self._coarse.items() if v.at > s.at - _DAY_S}


class SentBefore:
    """Reads the sent records of a checkpoint in their order."""

    def __init__(self) -> None:
        self.recent = RecentlySent()
        self.models: set[str] = set()
        self._jobs = array("q")  # of each request its job's index
        self._undone = array("q")  # the same of those that were not sent after all

    def add(self, sent: Sent) -> None:
        """Note a record."""
        self.recent.add(sent)
        if sent.requests and len(self.models) < _MODELS:
            self.models.add(sent.model)
        self._jobs.extend(sent.jobs)
        self._undone.extend(sent.undone)

    def unanswered(self, answered: InOrder) -> dict[int, int]:
        """How many requests were sent for jobs that are not in `answered`."""
        counts: dict[int, int] = {}
        for index in answered.missing(self._jobs):
            counts[index] = counts.get(index, 0) + 1
        for index in answered.missing(self._undone):
            counts[index] = counts.get(index, 0) - 1
        return {index: n for index, n in counts.items() if n > 0}


class SentLog:
    """Collects what is sent until it is written."""

    def __init__(self, recent: RecentlySent | None = None, unanswered: dict[int, int] | None = None) -> None:
        self.recent = recent if recent is not None else RecentlySent()
        self.unanswered = unanswered if unanswered is not None else {}  # index → requests sent, no result yet
        self._groups: dict[str, list[tuple[int, int]]] = {}
        self._undone: list[int] = []  # jobs whose request turned out not to have been sent

    def __bool__(self) -> bool:
        return bool(self._groups or self._undone)

    def sent(self, model: str, index: int, tokens: int) -> None:
        """A request goes out."""
        self.unanswered[index] = self.unanswered.get(index, 0) + 1
        group = self._groups.get(model)
        if group is None:
            group = self._groups[model] = []
        group.append((index, tokens))

    def not_sent(self, index: int) -> None:
        """The request noted last for this job never reached the server."""
        left = self.unanswered.get(index, 0) - 1
        if left > 0:
            self.unanswered[index] = left
        else:
            self.unanswered.pop(index, None)
        self._undone.append(index)

    def answered(self, index: int) -> None:
        """The job has its result."""
        self.unanswered.pop(index, None)

    def records(self, now: float) -> list[bytes]:
        """What was collected, as records; it is not collected any more."""
        records: list[bytes] = []
        groups, self._groups = self._groups, {}
        for model, group in groups.items():
            sent = Sent(now, model, len(group), sum(t for _, t in group), [i for i, _ in group])
            self.recent.add(sent)
            records.append(sent_record(sent))
        if self._undone:
            records.append(sent_record(Sent(now, "", 0, 0, [], self._undone)))
            self._undone = []
        return records
