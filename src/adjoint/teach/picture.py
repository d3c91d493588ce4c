"""Pictures of a graph of Values: a `Diagram` of it, written as SVG, and DOT text for Graphviz."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adjoint import drawing
from adjoint.core.primitive import CONSTANT
from adjoint.drawing.markup import quoted

SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**",
         "negative": "-", "leaf": "", "constant": ""}


def words_of(n: Any) -> list[str]:
    """What stands in the box of a node: label, data and gradient; of a plain number its value."""
    if n.prim is CONSTANT:
        return [f"{n.data:.4g}"]
    label = "".join(sign for sign in n.label if sign.isprintable())
    return [*([label] if label else []), f"data {n.data:.4g}", f"grad {n.grad:.4g}"]


def sign_of(n: Any) -> str:
    """The operation that made a node; empty if nothing did."""
    name: str = n.prim.name
    return SIGNS.get(name, name)


def diagram(nodes: Iterable[Any]) -> drawing.Diagram:
    """The graph as a diagram; ``nodes`` come oldest first."""
    nodes = list(nodes)
    return drawing.Diagram([_vertex(n) for n in nodes],
                           [drawing.Edge(f"n{i.index}", f"n{n.index}")
                            for n in nodes for i in n.inputs],
                           description=f"The graph of a Value: {len(nodes)} nodes.")


def _vertex(n: Any) -> drawing.Vertex:
    """A node: its words in one line, and before them the operation that made it."""
    return drawing.Vertex(f"n{n.index}", "constant" if n.prim is CONSTANT else "variable",
                          (drawing.Line(" | ".join(words_of(n))),), sign=sign_of(n))


def svg(nodes: Iterable[Any]) -> str:
    """The graph as SVG text; ``nodes`` come oldest first."""
    return drawing.svg(diagram(nodes))


def dot(nodes: Iterable[Any]) -> str:
    """The graph as text for Graphviz."""
    lines = ["digraph {", "  rankdir=LR; node [shape=record];"]
    for n in nodes:
        lines.append(f'  n{n.index} [label="{{ {" | ".join(map(field, words_of(n)))} }}"];')
        if sign := sign_of(n):
            lines.append(f"  o{n.index} [label={quoted(sign)}, shape=circle];")
            lines.append(f"  o{n.index} -> n{n.index};")
            lines += [f"  n{i.index} -> o{n.index};" for i in n.inputs]
    return "\n".join([*lines, "}"])


def field(text: str) -> str:
    """``text`` as a field of a record label of DOT."""
    for sign in '\\"{}|<>':
        text = text.replace(sign, "\\" + sign)
    return text
