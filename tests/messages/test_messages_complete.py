"""No error is without a row: every place in the source where one is made is found in the tests beside this one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import rows
import rows_many
import test_messages_api
import test_messages_machine
import test_messages_ray
import test_messages_runs
import test_messages_shards
from sites import sites

# Places that pass on the words of others.
PASSED_ON = {
    "api/wording.py:stopped_by": "those of the guard, respelt; see test_a_run_that_is_stopped",
    "building/purse.py:first_look": "the budget's; see `--max-cost 5` and `--max-total-tokens 5k` in rows.py",
    "cli/onray/driver.py:_ended": "those of the shard that cannot go on; tests/e2e/test_e2e_ray.py sees one refused",
    "cli/config.py:_error": "where the errors of a config file are made: each has a row",
    "cli/config.py:read": "key and complaint: each complaint has a row",
    "cli/config.py:_model": "key and complaint: each complaint has a row",
    "core/failure.py:after": "the provider's; see test_the_provider_refuses",
    "core/guards.py:no_such_model": "the provider's; see test_the_provider_refuses",
    "core/scheduler.py:_stuck": "those of `too_long`; see test_guards",
    "engine/run.py:failing": "those of the disk's error; see test_disks",
    "engine/run.py:_feed": "those of the input's error; see test_the_input_cannot_be_read_on",
    "store/opening.py:open_store": "those of `changes_text`; see test_files_that_changed",
    "store/parts.py:check": "those of `changes_text`; see test_shards_that_do_not_fit",
    "store/retrying.py:_header": "those of `changes_text`; see test_retry",
}
# Places that no row reaches.
EXEMPT = {
    "cli/bug.py:bug_found": "no user can cause it; see test_a_bug",
    "engine/shutdown.py:_stop": "an interruption is no error: the verdict says it, and `next:` what to type",
    "cli/onray/relay.py:halt": "in a worker: its driver says why all were stopped, and what to type",
    "cli/completion.py:completion": "click refuses other shells before it",
    "store/retrying.py:_survey": "only damage that all checksums miss comes so far; otherwise the run is unfinished",
    "store/rewrite.py:_lines": "a record that was read a moment ago cannot be read again: a disk that forgets",
    "store/waiting.py:take": "a record that was read a moment ago cannot be read again: a disk that forgets",
}
TWICE = r"is\ there\ twice,\ in\ two\ spellings"  # no limit of a model has a dash in its name yet
NO_HINT = {
    "engine/shutdown.py:_stop": "`next:` says what to type",
    "cli/onray/driver.py:_asked_to": "`next:` says what to type",
    "cli/onray/driver.py:_ended": "`last_words` gives that of the shard",
    "cli/onray/driver.py:run": "`last_words` raises the error of the merge, which has one",
    "cli/onray/relay.py:halt": "its driver says what to type",
    "core/failure.py:after": "`closing` gives it: a key, or the account",
    "cli/completion.py:completion": "never made",
    "api/jobs.py:lines": "the iterable's own error is raised; `status` tells these words, and what to type",
    "api/session.py:_wind_up": "whoever left the results knows why; `status` tells what to type",
    "engine/again.py:read": "HINT is imported; see test_retry",
}


def texts(module: ModuleType) -> set[str]:
    """Every text in a file of tests, as it is when it runs; `<…>` for what only shows then."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.add("".join(piece(v, vars(module)) for v in node.values))
    return found


def piece(node: ast.expr, known: dict[str, Any]) -> str:
    """A part of an f-string."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    return str(known[inner.id]) if isinstance(inner, ast.Name) and inner.id in known else "<…>"


MODULES = (
    rows,
    rows_many,
    test_messages_runs,
    test_messages_machine,
    test_messages_shards,
    test_messages_api,
    test_messages_ray,
)
TEXTS = set().union(*map(texts, MODULES))


def has_words(pattern: str) -> bool:
    """Whether a pattern says anything of its own."""
    return len(re.sub(r"\(\?s:\.\*\)|\W|\\.", "", pattern)) >= 6


def told(pattern: str) -> bool:
    """Whether the tests have this text."""
    return any(re.fullmatch(pattern, text) for text in TEXTS)


def test_every_error_has_a_row() -> None:
    """Its words stand in a test, to the letter but for names and numbers; so do those of its hint."""
    missing = []
    for site in sites():
        if site.name in EXEMPT or TWICE in site.words:
            continue
        if has_words(site.words):
            if not told(site.words):
                missing.append(f"{site.name}: {site.words}")
        elif site.name not in PASSED_ON:
            missing.append(f"{site.name} passes on the words of others: say in PASSED_ON where they have a row")
        if site.hint is not None and has_words(site.hint) and not told(site.hint):
            missing.append(f"{site.name}, its hint: {site.hint}")
    assert not missing, "\n".join(missing)


def test_every_error_has_a_hint() -> None:
    """What to type, or to change, next; those of click's types get theirs from the command."""
    without = {site.name for site in sites() if site.hint is None and not site.file.startswith(("cli/params.py",))}
    assert without - set(NO_HINT) - {"cli/simulate.py:convert"} == set()


def test_no_exemption_is_idle() -> None:
    """A reason for what is not there any more goes."""
    found = list(sites())
    names = {site.name for site in found}
    assert set(EXEMPT) | set(PASSED_ON) | set(NO_HINT) <= names
    assert {site.name for site in found if not has_words(site.words)} >= set(PASSED_ON)
    assert any(TWICE in site.words for site in found)
