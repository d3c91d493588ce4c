"""A diagram as text for other programs: Graphviz's DOT and Mermaid."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count

from .diagram import DEPTH, Diagram, Edge, Line, Vertex
from .measure import badges_of
from .scene import BLUE, FAINT, GRADIENT, INK, MIST, PALE, PAPER, SKY, YELLOW
from .text import visible

SHAPES = {"operation": "ellipse", "variable": "box", "input": "box", "output": "box",
          "constant": "plain"}
PLAINER = {ord("<"): "\u2039", ord(">"): "\u203a", ord("&"): " and ", ord("\\"): "\u2216"}
# The title of Mermaid has no way to write those signs themselves.
GROUP = "#f3f6f9"
SAFE = frozenset(" .,+-/=_()*")  # what Mermaid takes for itself inside quotation marks


def entity(text: str) -> str:
    """``text`` inside an HTML-like label of DOT."""
    return "".join(f"&#{ord(c)};" if c in "&<>\"'\\[]{}|" else c for c in visible(text))


def quoted(text: str) -> str:
    r"""``text`` inside quotation marks of DOT, nothing in it taken for a command.

    >>> from adjoint.drawing.markup import quoted
    >>> print(quoted('a "b" \\N'))
    "a \"b\" \\N"
    """
    text = visible(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def dot(diagram: Diagram) -> str:
    """A diagram as text for Graphviz, with the same marks and colours.

    >>> from adjoint import drawing
    >>> d = drawing.Diagram([drawing.Vertex("x", lines=("x",)), drawing.Vertex("y", lines=("y",))],
    ...                     [drawing.Edge("x", "y", "2")])
    >>> print(drawing.dot(d).splitlines()[0])
    digraph {
    """
    number = {v.key: k for k, v in enumerate(diagram.vertices)}
    lines = ["digraph {",
             f"  rankdir={'LR' if diagram.direction == 'right' else 'TB'};",
             '  graph [fontname="DejaVu Sans,Verdana,sans-serif", fontsize=13];',
             '  node [fontname="DejaVu Sans,Verdana,sans-serif", fontsize=11];',
             '  edge [fontname="DejaVu Sans,Verdana,sans-serif", fontsize=10];']
    if diagram.title:
        lines.append(f"  label={quoted(diagram.title).replace('&', '&amp;')}; labelloc=t;")
    lines += nested(diagram, lambda v: _dot_vertex(v, number[v.key]), _dot_group, "  }")
    for e in diagram.edges:
        lines += _dot_edge(e, number[e.tail], number[e.head])
    return "\n".join([*lines, "}"])


def nested(diagram: Diagram, vertex: Callable[[Vertex], str], group: Callable[[str, int], str],
           end: str) -> list[str]:
    """The vertices of each group between its first line and its last one."""
    own: dict[tuple[str, ...], list[str]] = {(): []}
    inner: dict[tuple[str, ...], list[tuple[str, ...]]] = {(): []}
    for v in diagram.vertices:
        path = v.group[:DEPTH]
        for k in range(len(path)):
            if path[:k + 1] not in own:
                own[path[:k + 1]], inner[path[:k + 1]] = [], []
                inner[path[:k]].append(path[:k + 1])
        own[path].append(vertex(v))
    numbers = count()

    def written(path: tuple[str, ...]) -> list[str]:  # no deeper than DEPTH
        lines = list(own[path])
        for one in inner[path]:
            lines += [group(one[-1], next(numbers)), *written(one), end]
        return lines
    return written(())


def _dot_group(name: str, n: int) -> str:
    label = quoted(name).replace("&", "&amp;")
    return (f'  subgraph cluster{n} {{ label={label}; labeljust=l; style="rounded,filled"; '
            f'color="{FAINT}"; fillcolor="{MIST}";')


def _dot_vertex(v: Vertex, n: int) -> str:
    """A vertex with its lines, each in its colour."""
    if "hidden" in v.marks:
        return f"  v{n} [style=invis];"
    pale = "skipped" in v.marks or v.kind == "constant"
    rows = [_dot_line(line, pale) for line in v.text if line.role != "hidden"]
    if v.sign:
        rows.insert(0, f"({entity(v.sign)})")
    if badges := badges_of(v):
        rows.append(f'<FONT COLOR="{GRADIENT}">{entity(" ".join(badges))}</FONT>')
    style = ["filled", "dashed" if "skipped" in v.marks else "solid"]
    fill = YELLOW if "current" in v.marks else SKY if v.kind == "operation" else (
        MIST if pale else PAPER)
    return (f"  v{n} [label=<{'<BR/>'.join(rows) or ' '}>, shape={SHAPES[v.kind]}, "
            f'style="{",".join(style)}", fillcolor="{fill}", '
            f'color="{PALE if pale else BLUE if v.kind == "operation" else INK}", '
            f"penwidth={2 if v.kind == 'input' else 1}, "
            f"peripheries={2 if v.kind == 'output' else 0 if v.kind == 'constant' else 1}];")


def _dot_line(line: Line, pale: bool) -> str:
    text = entity(line.text) or " "
    if line.role == "adjoint":
        return f'<FONT COLOR="{GRADIENT}">{text}</FONT>'
    if pale:
        return f'<FONT COLOR="{PALE}">{text}</FONT>'
    return f"<B>{text}</B>" if line.role == "name" else text


def _dot_edge(e: Edge, tail: int, head: int) -> list[str]:
    """The arrow, and the arrow back."""
    label = f"label=<{entity(e.label)}>, " if e.label else ""
    if e.kind == "hidden" or e.shown == "none":
        return [f"  v{tail} -> v{head} [{label}style=invis];"]
    if e.kind == "skipped":
        return [f'  v{tail} -> v{head} [{label}style=dotted, color="{PALE}"];']
    back = f"label=<{entity(e.contribution)}>, " if e.contribution else ""
    lines = [f'  v{tail} -> v{head} [{label}color="{INK}"];']
    if e.kind == "flow" and e.shown == "all":
        lines.append(f'  v{head} -> v{tail} [{back}style=dashed, constraint=false, '
                     f'color="{GRADIENT}", fontcolor="{GRADIENT}"];')
    return lines


def plain(text: str) -> str:
    """``text`` inside quotation marks of Mermaid: what it could take for itself is a number."""
    coded = "".join(c if c.isalnum() or c in SAFE or ord(c) > 127 else f"#{ord(c)};"
                    for c in visible(text))
    return coded.replace("#92;n", "#92;\u2060n") or " "  # it would become a new line


def mermaid(diagram: Diagram) -> str:
    """A diagram as text for Mermaid, with the same marks and colours.

    >>> from adjoint import drawing
    >>> d = drawing.Diagram([drawing.Vertex("x", lines=("x",)), drawing.Vertex("y", lines=("y",))],
    ...                     [drawing.Edge("x", "y", "2")])
    >>> print(drawing.mermaid(d).splitlines()[0])
    flowchart LR
    """
    number = {v.key: k for k, v in enumerate(diagram.vertices)}
    lines = [f"flowchart {'LR' if diagram.direction == 'right' else 'TB'}"]
    if diagram.title:
        title = json.dumps(visible(diagram.title).translate(PLAINER))
        lines[:0] = ["---", f"title: {title}", "---"]
    lines += nested(diagram, lambda v: _mermaid_vertex(v, number[v.key]),
                    lambda name, n: f'  subgraph g{n}["{plain(name)}"]', "  end")
    groups = sum("subgraph" in line.split('"')[0] for line in lines)
    lines += [_mermaid_edge(e, number[e.tail], number[e.head]) for e in diagram.edges]
    lines += [f"  style g{n} fill:{GROUP},stroke:{FAINT}" for n in range(groups)]
    return "\n".join([*lines, *_classes()])


def _classes() -> list[str]:
    """The colours of the kinds."""
    return [f"  classDef variable fill:{PAPER},stroke:{INK},color:{INK}",
            f"  classDef input fill:{PAPER},stroke:{INK},color:{INK},stroke-width:3px",
            f"  classDef output fill:{PAPER},stroke:{INK},color:{INK},stroke-width:2px",
            f"  classDef constant fill:{MIST},stroke:{FAINT},color:{PALE}",
            f"  classDef operation fill:{SKY},stroke:{BLUE},color:{INK}",
            f"  classDef skipped fill:{MIST},stroke:{PALE},color:{PALE},stroke-dasharray:5 3",
            f"  classDef current fill:{YELLOW},stroke:{INK},color:{INK},stroke-width:3px",
            "  classDef hidden visibility:hidden"]


def _mermaid_vertex(v: Vertex, n: int) -> str:
    """A vertex; its lines are separated by breaks."""
    rows = [f"<i>{plain(line.text)}</i>" if line.role == "adjoint" else plain(line.text)
            for line in v.text if line.role != "hidden"]
    if v.sign:
        rows.insert(0, f"({plain(v.sign)})")
    if badges := badges_of(v):
        rows.append(plain(" ".join(badges)))
    left, right = {"operation": ("([", "])"), "output": ("[[", "]]")}.get(v.kind, ("[", "]"))
    look = next((m for m in ("hidden", "current", "skipped") if m in v.marks), v.kind)
    return f'  v{n}{left}"{"<br>".join(rows) or " "}"{right}:::{look}'


def _mermaid_edge(e: Edge, tail: int, head: int) -> str:
    """The arrow; with a tip at both ends where a gradient flows back.

    An arrow of its own for the way back would be a cycle to Mermaid, which then draws the steps in
    a wrong order.
    """
    whole = e.shown == "all"
    back = f"← {plain(e.contribution)}" if e.contribution and whole else ""
    words = "<br>".join(t for t in (plain(e.label) if e.label else "", back) if t)
    label = f'|"{words}"|' if words else ""
    if e.kind == "hidden" or e.shown == "none":
        return f"  v{tail} ~~~ v{head}"
    arrow = {"skipped": "-.->", "flow": "<-->" if whole else "-->"}.get(e.kind, "-->")
    return f"  v{tail} {arrow}{label} v{head}"
