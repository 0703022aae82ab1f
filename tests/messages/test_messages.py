"""Every error that a user can cause: how, with which words, which hint, and which exit code; and that none is missing.

Rows that need no run are in `rows.py` and `rows_many.py`, those that do in `test_messages_runs.py` and
`test_messages_shards.py`, those that need a failing machine in `test_messages_machine.py`, those of `run_jobs` in
`test_messages_api.py`, those of `--engine ray` in `test_messages_ray.py`. `test_messages_complete.py` reads every place
in the source where an error is made, and looks for a row whose words fit: a new error needs a row, or a reason in
`EXEMPT`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rows import TYPED, Row
from rows_many import MANY
from said import fits, said_in

# Called in this process, a program that gives up leaves files open which the end of a process would close.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


ALL = [*TYPED, *MANY]


@pytest.mark.parametrize("row", ALL, ids=[f"{row.typed[:50]} {row.error[:30]}" for row in ALL])
def test_what_is_typed(
    row: Row, folder: Path, call: Callable[[str], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code, `error:` and `hint:`, to the letter."""
    if row.before is not None:
        row.before(folder)
    for name, value in row.env.items():
        monkeypatch.setenv(name, value)
    said = said_in(*call(row.typed))
    assert fits(row.error, said.error), said.error
    assert fits(row.hint, said.hint), said.hint
    assert said.code == row.code
    assert said.err.startswith("error: "), "nothing was begun"
