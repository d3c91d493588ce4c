"""Which name the source gives to what a line computes: ``self.h = np.tanh(x)``, ``d["h"] = x * 2``.

The variables of a frame say what a value is called when they are looked at, which may be after
``a, b = b, a``; and they do not say what an attribute or the entry of a dict is called. Where there
is source, the assignment around the expression of a step tells both. It is read only for code that
assigns a variable twice, or something that is no variable.
"""

from __future__ import annotations

import ast
import dis
import linecache
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .places import parsed, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import CodeType

    from adjoint.core.node import Node

SOURCES, CODES = 8, 256  # files and functions that are remembered
Span = tuple[int | None, int | None, int | None, int | None]


def assigned_names(nodes: Sequence[Node], names: Mapping[Node, str]) -> dict[Node, str]:
    """The names of Nodes, oldest first, that the source gives otherwise than ``names`` does.

    A call of several steps has one expression: the last of them is its value.
    """
    found: dict[Node, str] = {}
    sites: dict[Any, list[str]] = {}
    files: dict[str, dict[Span, list[str]]] = {}
    for k, n in enumerate(nodes):
        site = n.site
        if site.__class__ is not tuple:
            continue
        key = id(site[0]), site[1]
        if key not in sites:
            sites[key] = targets(site, files)
        told, name = sites[key], names.get(n, "")
        if not told or name in told or (name and not (
                name.isidentifier() and told[0].isidentifier())):
            continue
        last = k + 1 == len(nodes) or nodes[k + 1].site != site
        if name or (last and not told[0].isidentifier()):
            found[n] = told[0]
    return found


def targets(site: Any, files: dict[str, dict[Span, list[str]]]) -> list[str]:
    """What the expression at a site is assigned to; nothing where that is not to be seen."""
    if not is_unsteady(site[0]):
        return []
    file = site[0].co_filename
    if file not in files:
        files[file] = assignments_of("".join(linecache.getlines(file)))
    return files[file].get(span(site), []) if files[file] else []


@lru_cache(CODES)
def is_unsteady(code: CodeType) -> bool:
    """Whether code stores attributes or entries, or one variable in two places."""
    stored: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in {"STORE_ATTR", "STORE_SUBSCR"}:
            return True
        if step.opname.startswith("STORE_"):
            told: Any = step.argval
            names: tuple[str, ...] = told if isinstance(told, tuple) else (told,)
            for name in names[:1] if step.opname.endswith("LOAD_FAST") else names:
                if name in stored:
                    return True
                stored.add(name)
    return False


@lru_cache(SOURCES)
def assignments_of(source: str) -> dict[Span, list[str]]:
    """The assignments of a file; none where it cannot be read, such as a line of IPython's own."""
    try:
        return dict(assignments(parsed(source)))
    except (SyntaxError, ValueError):
        return {}


def assignments(tree: ast.AST) -> Iterator[tuple[Span, list[str]]]:
    """The place of each expression that is assigned, and the names of what it is assigned to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from paired(node.targets, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            yield from paired([node.target], node.value)
        elif isinstance(node, ast.AugAssign):
            yield place(node), [name for name in (said(node.target),) if name]


def paired(to: Sequence[ast.expr], value: ast.expr) -> Iterator[tuple[Span, list[str]]]:
    """The same of ``a, b = x, y``, part by part."""
    if isinstance(value, ast.Tuple):
        for k, part in enumerate(value.elts):
            parts = [t.elts[k] for t in to if isinstance(t, (ast.Tuple, ast.List))
                     and len(t.elts) == len(value.elts)]
            yield from paired(parts, part)
    else:
        yield place(value), [name for name in map(said, to) if name]


def said(target: ast.expr) -> str:
    """A variable, an attribute or an entry of a dict as it is written; empty for anything else."""
    inner = target
    while isinstance(inner, ast.Attribute) or (
            isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant)
            and isinstance(inner.slice.value, str)):
        inner = inner.value
    return ast.unparse(target) if isinstance(inner, ast.Name) else ""


def place(node: ast.expr | ast.stmt) -> Span:
    """Lines and columns of a part of the source, as `places.span` gives them of a step."""
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
