"""Where a step was asked for: the file, the line, and the expression in the user's source."""

from __future__ import annotations

import ast
import linecache
from threading import Lock
from typing import Any, NamedTuple

from adjoint.modes import line_of

WIDTH = 100
PARSING = Lock()


class Written(NamedTuple):
    """The site of a step that no Python file asks for: ``file``, ``line`` and text as they are."""

    file: str
    line: int
    text: str


class Derived(tuple[Any, ...]):  # noqa: SLOT001 - a tuple of this length cannot have slots
    """The site of a step that a rule makes: that of the operation whose rule it is."""

    row = ""


def parsed(source: str, mode: str = "exec") -> Any:
    """The tree of a source; one at a time, because CPython counts the depth of all in one number.

    That number is the interpreter's in CPython 3.11: a thread that comes in between spoils it.
    """
    with PARSING:
        return ast.parse(source, mode=mode)


def located(where: Any) -> tuple[str, int, str]:
    """File, line, and the text of a site; an expression over several lines is joined."""
    if where is None:
        return "", 0, ""
    if isinstance(where, Written):
        return where
    file, number = line_of(where)
    first, last, start, end = span(where)
    lines = [linecache.getline(file, n) for n in range(number, number + 1)]
    if first and last and last > first:
        lines = [linecache.getline(file, n) for n in range(first, last + 1)]
        if lines and start is not None and end is not None:  # columns count bytes
            lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
            lines[0] = lines[0].encode()[start:].decode(errors="ignore")
    text = " ".join(" ".join(lines).split())
    row = getattr(where, "row", "")
    text = text if len(text) <= WIDTH else text[:WIDTH - 4] + " ..."
    return file, number, text + (f"  (in the derivative of `{row}`)" if row else "")


def operand(where: Any, position: int) -> str:
    """The source of an argument of the expression at a site, or of all of it if it has no operator.

    Empty where there is no source.
    """
    if where is None or isinstance(where, Written):
        return ""
    file, _ = line_of(where)
    first, last, start, end = span(where)
    if first is None or last is None or start is None or end is None:
        return ""
    lines = [linecache.getline(file, n).encode() for n in range(first, last + 1)]
    lines[-1] = lines[-1][:end]  # the end first: it may be the same line
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="ignore")
    try:
        found = parsed(f"({text})", "eval").body
    except (SyntaxError, ValueError):
        return text
    if isinstance(found, ast.BinOp):
        found = (found.left, found.right)[position > 0]
    return ast.unparse(found)


def span(where: Any) -> tuple[int | None, int | None, int | None, int | None]:
    """First and last line, and columns, of the expression at a site."""
    code, instruction = where
    for k, found in enumerate(code.co_positions()):
        if 2 * k == instruction:
            return found[0], found[1], found[2], found[3]
    return None, None, None, None
