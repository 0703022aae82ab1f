"""What a run leaves in its checkpoint for those who look at it: notes, and its time line; until they are written."""

from __future__ import annotations

from collections.abc import Callable

from batchproc.store.checkpoint import Told, told_record


class Notes:
    """Collects records; `wake` is called when there is one to write."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._records: list[bytes] = []
        self._last: dict[str, bytes] = {}  # by what it tells

    def __bool__(self) -> bool:
        return bool(self._records)

    def tell(self, told: Told) -> None:
        """Leave a note."""
        self._last[told.what] = told_record(told)
        self.add(self._last[told.what])

    def add(self, record: bytes) -> None:
        """Leave a record."""
        self._records.append(record)
        self._wake()

    def take(self) -> list[bytes]:
        """What is to be written; it is collected no more."""
        records, self._records = self._records, []
        return records

    def put_back(self, records: list[bytes]) -> None:
        """These were taken, but could not be written: they come first."""
        self._records[:0] = records

    def kept(self) -> bytes:
        """The last note of each kind: what a compaction keeps."""
        return b"".join(self._last.values())
