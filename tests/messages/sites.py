"""Every place in the package where an error is made, read from the source: its words as a pattern, and its hint's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "batchproc"
MAKERS = {"UsageError", "FilesDoNotFit", "Locked", "InputChanged", "ForeignOutput", "DiskFailed", "BatchprocError"}
HALT = "Halt"  # its words come second
OWN = {"fail", "_error"}  # methods that make one: click's, and those of the config file
ANYTHING = "(?s:.*)"


@dataclass(frozen=True)
class Site:
    """A call that makes an error. `words` and `hint` are regular expressions; hint None: none is given."""

    file: str
    function: str
    words: str
    hint: str | None

    @property
    def name(self) -> str:
        """What exemptions call it."""
        return f"{self.file}:{self.function}"

    def fits(self, error: str, hint: str | None) -> bool:
        """Whether an error that was seen may have been made here."""
        if re.fullmatch(self.words, error) is None:
            return False
        return self.hint is None or (hint is not None and re.fullmatch(self.hint, hint) is not None)


def sites() -> Iterator[Site]:
    """All of them but those of the simulated dialects, which make errors of providers."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if not file.startswith(("simulator/dialects", "errors.py", "ui/", "resultline.py")):
            yield from _of(ast.parse(path.read_text(encoding="utf-8")), file)


def _of(tree: ast.Module, file: str) -> Iterator[Site]:
    known = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    around = {
        id(inner): node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        made = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        method = isinstance(node.func, ast.Attribute)
        if not (made in MAKERS or made == HALT or (made in OWN and method)) or not node.args:
            continue
        first = 1 if made == HALT or (made == "_error" and method) else 0
        told = [*node.args[first:], *(k.value for k in node.keywords if k.arg == "hint")]
        prefix = ".*: " if made == "_error" else "(invalid value for .*: )?" if made == "fail" else ""
        hint = told[1] if len(told) > 1 and made != "fail" else None
        none = hint is None or (isinstance(hint, ast.Constant) and hint.value is None)
        words = prefix + _pattern(told[0], known)
        yield Site(file, around.get(id(node), ""), words, None if none or hint is None else _pattern(hint, known))


def _pattern(node: ast.expr, known: dict[str, ast.expr], depth: int = 0) -> str:
    """What text an expression can make, as far as its constants tell."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(v, known) if isinstance(v, ast.Constant) else ANYTHING for v in node.values)
    if isinstance(node, ast.BoolOp):
        return "(" + "|".join(_pattern(v, known) for v in node.values) + ")"
    if isinstance(node, ast.IfExp):
        return "(" + "|".join(_pattern(v, known) for v in (node.body, node.orelse)) + ")"
    if isinstance(node, ast.BinOp):
        return _pattern(node.left, known, depth) + _pattern(node.right, known, depth)
    if isinstance(node, ast.Name) and node.id in known and depth < 3:
        return _pattern(known[node.id], known, depth + 1)
    return ANYTHING
