"""Pieces of HTML. Everything foreign passes through `escaped`."""

from __future__ import annotations

import html
from collections.abc import Sequence

from batchproc.ui.words import harmless


def escaped(text: str, *, lines: bool = False) -> str:
    """Text of a server or a file as the content of an element or an attribute, control characters spelt out.

    `lines`: line breaks are meant, and stay.
    """
    if lines:
        return "\n".join(escaped(line) for line in text.split("\n"))
    return html.escape(harmless(text), quote=True)


def tile(value: str, name: str) -> str:
    """A number and what it counts."""
    return f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>'


def cell(text: str, kind: str = "") -> str:
    """A cell of a table; `kind`: `n` for numbers, `text` for what may be long."""
    return f'<td class="{kind}">{escaped(text)}</td>' if kind else f"<td>{escaped(text)}</td>"


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], *, small: bool = False) -> str:
    """A table of finished cells under (head, kind); `small`: no wider than it need be."""
    head = "".join(
        f'<th class="{kind}">{escaped(name)}</th>' if kind else f"<th>{escaped(name)}</th>" for name, kind in heads
    )
    kind = ' class="small"' if small else ""
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
