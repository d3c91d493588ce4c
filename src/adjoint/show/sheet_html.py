"""A Sheet as a fragment of HTML: static, no script, its style bound to its own class.

The text keeps the colour of the page and all tints are translucent, so that it reads on white and
on dark alike. Groups of rows fold by ``<details>`` and CSS; where a browser lacks ``:has`` all rows
are seen.
"""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from .cells import ROLES
from .sheet_view import Gap, Heading, Line
from .typesetting import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .sheet_view import Seen, View

LONG = 24  # characters of a formula that may be broken into lines where there is no room
CLASSES = {role: role.replace(" ", "-") for role in ROLES}
STYLE = """
.adjoint-sheet{overflow-x:auto;margin:1em 0;color:inherit;font-size:.95em;line-height:1.45}
.adjoint-sheet table.sheet{border-collapse:collapse;border:0;margin:0;width:auto;display:table;\
background:none;color:inherit;font-size:1em;font-variant-numeric:tabular-nums}
.adjoint-sheet table.sheet caption{caption-side:top;text-align:left;font-weight:600;\
font-size:1.08em;padding:0 .7em .5em;color:inherit;white-space:pre-wrap}
.adjoint-sheet table.sheet :is(th,td){border:0;padding:.22em .7em;text-align:left;\
vertical-align:baseline;background:none;color:inherit;max-width:none}
.adjoint-sheet table.sheet td{white-space:pre-wrap}
.adjoint-sheet table.sheet :is(td.number,td.math){white-space:pre}
.adjoint-sheet table.sheet td.long{white-space:pre-wrap;min-width:13em}
.adjoint-sheet table.sheet :is(th,td).right{text-align:right}
.adjoint-sheet table.sheet :is(th,td).center{text-align:center}
.adjoint-sheet table.sheet thead th{font-weight:600;border-bottom:1.5px solid rgba(128,128,128,.8);\
vertical-align:bottom}
.adjoint-sheet table.sheet thead th.span{text-align:center;\
border-bottom:1px solid rgba(128,128,128,.45)}
.adjoint-sheet table.sheet :is(th,td).start{border-left:1px solid rgba(128,128,128,.45)}
.adjoint-sheet table.sheet tbody tr{background:none}
.adjoint-sheet table.sheet tbody tr+tr>td{border-top:1px solid rgba(128,128,128,.16)}
.adjoint-sheet table.sheet tbody tr.row:hover>td{background:rgba(128,128,128,.12)}
.adjoint-sheet table.sheet tfoot td{border-top:1.5px solid rgba(128,128,128,.8);font-weight:600}
.adjoint-sheet table.sheet td.number::after{content:attr(data-pad);visibility:hidden}
.adjoint-sheet table.sheet :is(td.code,td.matrix){font-family:ui-monospace,Menlo,Consolas,\
monospace;font-size:.9em;line-height:1.3}
.adjoint-sheet table.sheet td.matrix{white-space:pre}
.adjoint-sheet td.matrix mark{display:block;width:fit-content}
.adjoint-sheet table.sheet th.group{font-weight:600;padding-top:.7em}
.adjoint-sheet table.sheet td.gap{text-align:center;font-style:italic;opacity:.75}
.adjoint-sheet summary{cursor:pointer}
.adjoint-sheet .count{font-weight:400;opacity:.7}
.adjoint-sheet tbody:has(details:not([open])) tr.row{display:none}
.adjoint-sheet var{font-family:"STIX Two Text","Cambria Math",Georgia,"Times New Roman",serif;\
font-style:italic;font-size:1.06em}
.adjoint-sheet :is(sub,sup){font-size:.75em;line-height:0;font-style:normal}
.adjoint-sheet .bar{text-decoration:overline;text-decoration-thickness:.07em}
.adjoint-sheet mark{color:inherit;border-radius:.25em;padding:.05em .2em;background:none}
.adjoint-sheet mark.new-factor{background:rgba(255,150,0,.3);font-weight:600}
.adjoint-sheet mark.already-computed{background:rgba(60,130,255,.24)}
.adjoint-sheet mark.accumulates{background:rgba(0,170,90,.24)}
.adjoint-sheet mark.bad{background:rgba(230,30,30,.3);font-weight:600}
.adjoint-sheet mark.muted{opacity:.62;padding:0}
.adjoint-sheet p{margin:.5em .7em 0;font-size:.92em;color:inherit}
""".strip()
BARRED = re.compile(r"([^\W_])[\u0304\u0305]")


def prose(text: str) -> str:
    """Plain text, escaped; a bar over a letter is drawn by the browser, in any font."""
    return BARRED.sub(r'<span class="bar">\1</span>', escape(text))


def formula(text: str) -> str:
    """A formula in plain Unicode with indices, exponents and letters as mathematics has them.

    >>> from adjoint.show.sheet_html import formula
    >>> formula("v3 · cos(x^2)")
    '<var>v</var><sub>3</sub> · cos(<var>x</var><sup>2</sup>)'
    """
    return "".join(math_token(t.kind, t.text, t.extra) for t in tokens(text))


def math_token(kind: str, text: str, extra: str) -> str:
    """A token of a formula."""
    if kind == "number":
        return f"{escape(text)} × 10<sup>{extra.replace('-', '−')}</sup>"
    if kind in ("name", "function"):
        tag = "var" if kind == "name" else "span"
        bare = re.sub("[\u0304\u0305]", "", text)
        attribute = ' class="bar"' if bare != text else ""
        name = f"<{tag}{attribute}>{escape(bare)}</{tag}>" if tag == "var" or attribute else (
            escape(bare))
        return name + (f"<sub>{escape(extra)}</sub>" if extra else "")
    if kind == "power":
        return f"<sup>{formula(extra)}</sup>"
    return escape(text.replace("-", "−"))


def content(kind: str, cell: Seen) -> Iterator[str]:
    """The parts of a cell with their marks."""
    for role, pieces in groupby(cell.pieces, lambda p: p.role):
        text = "".join(p.text for p in pieces)
        inner = formula(text) if kind == "math" else (
            scientific(text) if kind == "number" else prose(text))
        marked = role and text
        yield f'<mark class="{CLASSES[role]}">{inner}</mark>' if marked else inner


def scientific(text: str) -> str:
    """A printed value, ``1.000e-09`` with its power of ten."""
    return re.sub(r"(?<=[\d.])e([+-])0*(\d+)",
                  lambda m: f"×10<sup>{m[1].replace('+', '').replace('-', '−')}{m[2]}</sup>",
                  escape(text))


def data(view: View, line: Line, *, total: bool = False) -> str:
    """A row of the table; the exact value of a rounded number is its tool tip."""
    cells: list[str] = []
    for k, (column, cell) in enumerate(zip(view.columns, line.cells, strict=True)):
        kind = "text" if total and column.kind == "math" else column.kind
        names = [kind, column.side, "start" if k in view.starts else "",
                 "matrix" if "\n" in cell.text else "",
                 "long" if kind == "math" and len(cell.text) > LONG else ""]
        tip = f' title="{escape(cell.exact)}"' if cell.exact else ""
        pad = f' data-pad="{cell.pad}"' if cell.pad else ""
        cells.append(f'<td class="{" ".join(filter(None, names))}"{tip}{pad}>'
                     f'{"".join(content(kind, cell))}</td>')
    return f'<tr class="row">{"".join(cells)}</tr>'


def heads(view: View) -> Iterator[str]:
    """The rows of headings."""
    if view.spans:
        k = 0
        yield "<tr>"
        for name, count in view.spans:
            start = " start" if k in view.starts else ""
            kind = f"span{start}" if name else start.strip()
            yield (f'<th class="{kind}" colspan="{count}"' + (' scope="colgroup"' if name else "")
                   + f">{prose(name)}</th>")
            k += count
        yield "</tr>\n"
    yield "<tr>"
    for k, c in enumerate(view.columns):
        start = " start" if k in view.starts else ""
        yield f'<th class="{c.side}{start}" scope="col">{prose(c.title)}</th>'
    yield "</tr>\n"


def bodies(view: View, *, collapsed: bool) -> Iterator[str]:
    """The groups of rows, each a ``tbody`` of its own."""
    across = len(view.columns)
    opened = "" if collapsed else " open"
    yield "<tbody>\n"
    for line in view.lines:
        if isinstance(line, Line):
            yield data(view, line) + "\n"
        elif isinstance(line, Heading):
            yield (f'</tbody>\n<tbody>\n<tr><th class="group" colspan="{across}">'
                   f"<details{opened}><summary>{prose(str(line))} "
                   f'<span class="count">{line.size}</span></summary></details></th></tr>\n')
        else:
            yield f"</tbody>\n<tbody>\n{gap(line, across)}\n</tbody>\n<tbody>\n"
    yield "</tbody>\n"


def gap(line: Gap, across: int) -> str:
    """The line that says what was left out."""
    return f'<tr><td class="gap" colspan="{across}">{line}</td></tr>'


def html(view: View, *, collapsed: bool = False) -> str:
    """The Sheet as a fragment of HTML; with ``collapsed`` the groups of rows start folded.

    >>> from adjoint.show.sheet import Sheet
    >>> "<td" in Sheet("A value", ["step", "value"], [["v1", 0.25]]).html()
    True
    """
    body = "".join(bodies(view, collapsed=collapsed)).replace("<tbody>\n</tbody>\n", "")
    parts = [f'<div class="adjoint-sheet">\n<style>\n{STYLE}\n</style>\n<table class="sheet">\n']
    parts += [f"<caption>{prose(view.title)}</caption>\n"] if view.title else []
    parts += [f'<thead>\n{"".join(heads(view))}</thead>\n', body]
    parts += [f"<tfoot>\n{data(view, view.footer, total=True)}\n</tfoot>\n"] if view.footer else []
    parts.append("</table>\n")
    legend = " ".join(f'<mark class="{CLASSES[r]}">{r}</mark>' for r in view.legend)
    parts += [f"<p>{legend}</p>\n"] if legend else []
    parts += [f"<p>{prose(note)}</p>\n" for note in view.notes]
    return "".join(parts) + "</div>\n"
