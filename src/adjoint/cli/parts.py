"""What `adjoint explain` prints: tables and texts, in each of its formats.

A `Part` is a table (a Sheet), words beside one, or code in LaTeX, DOT or Mermaid; `printed` writes
the parts. Sheets escape names in their own formats, and what is no table is escaped here.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from adjoint.errors import ArgumentError
from adjoint.show.cells import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from adjoint.show.sheet import Sheet

FORMATS = ("text", "markdown", "html", "latex", "csv", "json")
STYLE = ("body{font-family:system-ui,sans-serif;margin:2rem;max-width:75rem}"
         "pre{overflow-x:auto;background:#f6f8fa;padding:1rem}")


@dataclass(frozen=True)
class Part:
    """A table or code; ``words``, if there are any, are its lines on a terminal.

    ``key`` is its name in JSON; ``language`` that of the code.
    """

    key: str
    sheet: Sheet | None = None
    words: tuple[str, ...] = ()
    code: str = ""
    language: str = ""


def check_format(form: str, parts: Sequence[str]) -> None:
    """An ArgumentError, before anything runs, for code in a format that has no place for it."""
    misfits = {"csv": {"latex", "dot", "mermaid"}, "latex": {"dot", "mermaid"}}.get(form, set())
    for name in parts:
        if name in misfits:
            raise ArgumentError(f"--{name} is no part of --format {form}; give it a file of its "
                                f"own, --{name} FILE, or choose --format text")


def printed(console: Console, form: str, title: str, parts: Sequence[Part], facts: dict[str, Any]
            ) -> None:
    """Print the parts; ``facts`` is what JSON holds besides them."""
    if form == "json":
        print(json.dumps(facts | {p.key: p.sheet.dict() if p.sheet else p.code for p in parts},
                         ensure_ascii=False, allow_nan=False))
    elif form == "html":
        print('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>'
              f"{html.escape(title)}</title>\n<style>{STYLE}</style>")
    for k, part in enumerate(() if form == "json" else parts):
        if k:
            print()
        if form == "text":
            on_terminal(console, part)
        else:
            print(written(form, part))


def on_terminal(console: Console, part: Part) -> None:
    """Print a part as text; code as it is, so that it can be pasted."""
    if part.code:
        print(part.code)
    elif part.words:
        for line in part.words:
            print(fill(clean(line), console.width, subsequent_indent="  ", break_long_words=False,
                       break_on_hyphens=False))
    else:
        console.print(part.sheet)


def written(form: str, part: Part) -> str:
    """A part in a format for files."""
    if part.sheet:
        return {"markdown": part.sheet.markdown, "html": part.sheet.html,
                "latex": part.sheet.latex, "csv": part.sheet.csv}[form]().rstrip("\n")
    if form == "markdown":
        fence = "`" * 3
        while fence in part.code:
            fence += "`"
        return f"{fence}{part.language}\n{part.code}\n{fence}"
    return f"<pre>{html.escape(part.code)}</pre>" if form == "html" else part.code
