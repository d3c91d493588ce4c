"""A Sheet as a pipe table of GitHub's Markdown."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from .cells import ALREADY, BAD, NEW
from .sheet_view import Gap, Line

if TYPE_CHECKING:
    from .sheet_view import Seen, View

RULES = {"left": ":---", "center": ":---:", "right": "---:"}
TAGS = {NEW: "b", ALREADY: "ins", BAD: "b"}
NEEDED = set("\\`*_[]|~@")  # the others mark something only at the start of a line, or are numbers
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "\n": "<br>"}
LINK = re.compile(r"(?i)(?<=http)(?=s?:)|(?<=ftp)(?=:)|(?<=www)(?=\.)")


def escaped(text: str) -> str:
    r"""Text that Markdown prints as it stands; a dollar is no formula, a pipe no column.

    >>> from adjoint.show.sheet_markdown import escaped
    >>> escaped("a_b | $x$ <b>")
    'a\\_b \\| &#36;x&#36; &lt;b&gt;'
    """
    said = "".join("\\" + c if c in NEEDED else ENTITIES.get(c, c) for c in text)
    return LINK.sub(r"<!-- -->", said)


def cell(seen: Seen) -> str:
    """A cell with its marks."""
    parts: list[str] = []
    for role, pieces in groupby(seen.pieces, lambda p: p.role):
        text = escaped("".join(p.text for p in pieces))
        parts.append(f"<{TAGS[role]}>{text}</{TAGS[role]}>" if role in TAGS and text else text)
    return "".join(parts)


def markdown(view: View) -> str:
    """The Sheet as Markdown; a heading over several columns stands in front of each of theirs.

    >>> from adjoint.show.sheet import Sheet
    >>> print(Sheet("", ["step", "value"], [["v1", 0.25]]).markdown())
    | step | value |
    | :--- | :--- |
    | v1 | 0.25 |
    """
    heads = [escaped(c.title) for c in view.columns]
    k = 0
    for name, count in view.spans:
        if name:
            heads[k] = f"{escaped(name)}:<br>{heads[k]}"
        k += count
    lines = [piped(heads), piped([RULES[c.side] for c in view.columns])]
    empty = [""] * (len(view.columns) - 1)
    for line in view.lines:
        if isinstance(line, Line):
            lines.append(piped([cell(c) for c in line.cells]))
        else:
            tag = "i" if isinstance(line, Gap) else "b"
            lines.append(piped([f"<{tag}>{escaped(str(line))}</{tag}>", *empty]))
    if view.footer:
        lines.append(piped([f"<b>{t}</b>" if (t := cell(c)) else "" for c in view.footer.cells]))
    legend = [f"<{TAGS[r]}>{r}</{TAGS[r]}>" for r in view.legend if r in TAGS]
    blocks = [f"**{escaped(view.title)}**"] if view.title else []
    blocks += ["\n".join(lines)]
    blocks += [", ".join(legend)] if legend else []
    return "\n\n".join(blocks + [paragraph(n) for n in view.notes])


def paragraph(text: str) -> str:
    """A note as a paragraph: nothing at its start makes a list or a heading of it."""
    said = escaped(text.strip())
    return re.sub(r"^([#+=-]|\d+(?=[.)]))", lambda m: m[1] + "\\" if m[1].isdigit()
                  else "\\" + m[1], said)


def piped(cells: list[str]) -> str:
    """A line of the table."""
    return "| " + " | ".join(cells) + " |"
