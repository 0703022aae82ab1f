"""How far a run in shards is, in words: what `batchproc status` prints before the shards are merged."""

from __future__ import annotations

import shlex

from batchproc.snapshot import ShardedStatus, ShardStatus
from batchproc.ui.console import paint
from batchproc.ui.summary import cost_words, error_lines
from batchproc.ui.words import count, duration, harmless, plural

_LABEL = 11
_WIDTH = 100
_STATES = (("finished", "done"), ("running", "running"), ("unfinished", "stopped"), ("not begun", "not begun"))
_STYLES = {"finished": "green", "running": "cyan", "unfinished": "yellow", "not begun": "dim"}


def shards_text(status: ShardedStatus, colour: bool, *, here: bool) -> str:
    """The words, without a final line break. `here`: the command can be typed in this folder as it is."""
    states = [shard.state for shard in status.shards]
    told = ", ".join(f"{count(states.count(state))} {word}" for state, word in _STATES if state in states)
    done = status.total is not None
    verdict = f"{harmless(status.output)}: {plural(len(states), 'shard')}: {told}{', to be merged' if done else ''}"
    lines = [paint(verdict, "green" if done else "cyan", colour)]
    for label, text in _rows(status, colour, here):
        shown = f"{label}:" if label else ""
        lines.append(f"{paint(shown, 'dim', colour)}{' ' * (_LABEL - len(shown))}{text}")
    return "\n".join(lines)


def _rows(status: ShardedStatus, colour: bool, here: bool) -> list[tuple[str, str]]:
    totals = status.totals
    of = f" of ~{count(status.total_estimate)}" if status.total_estimate is not None else ""
    jobs = f"{count(status.answered)}{of} jobs = {count(totals.succeeded)} succeeded + {count(totals.failed)} failed"
    rows = [("answered", jobs)]
    width = len(str(len(status.shards) - 1))
    for n, shard in enumerate(status.shards):
        rows.append(("shards" if not n else "", _shard(shard, width, colour)))
    rows += [("failed" if not n else "", text) for n, text in enumerate(error_lines(status.errors, _WIDTH))]
    if totals.input_tokens or totals.output_tokens:
        rows.append(("tokens", f"{count(totals.input_tokens)} in + {count(totals.output_tokens)} out"))
    if cost := cost_words(status):
        rows.append(("cost", cost))
    rows.append(("files", f"parts in {harmless(status.checkpoint)}"))
    if status.command:
        folder = "" if here or status.folder is None else f"cd {shlex.quote(status.folder)} && "
        rows.append(("next", harmless(folder + status.command)))
    return rows


def _shard(shard: ShardStatus, width: int, colour: bool) -> str:
    word = dict(_STATES)[shard.state]
    text = f"{shard.shard:>{width}}  {paint(word, _STYLES[shard.state], colour)}"
    if shard.state == "not begun":
        return text
    of = f" of ~{count(shard.total_estimate)}" if shard.total_estimate is not None and shard.total is None else ""
    text += f"{' ' * (9 - len(word))}  {count(shard.answered)}{of} jobs"
    if shard.failed:
        text += f", {count(shard.failed)} failed"
    if shard.running is not None:
        quiet = f", no sign of life for {duration(shard.running.beat_s)}" if shard.running.beat_s > 30 else ""
        text += f", process {shard.running.pid} on {harmless(shard.running.host)}{quiet}"
    if shard.attempts > 1:
        text += f", {shard.attempts} attempts"
    return text
