"""The nested formula of a step: every operation written out in the one that uses it.

What a formula is put into decides its brackets: the row's Label says how strongly the operator at
its top binds, and the template whether brackets or braces stand around the argument already.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .typesetting import latex_text
from .writing import filled, name_latex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.core.primitive import Label

    from .record import Step

WEAK = "=+*^("  # operators from the weakest to a call, or a name
LONGEST = 4_000  # characters of a formula that is put into another
HELD = re.compile(r"\x00(\d+)\x01")
OPENS = ("(", "[", "{", ",", "|", r"\lfloor", r"\lceil", r"\langle", r"\|")
CLOSES = (")", "]", "}", ",", "|", r"\right")
TALL = (r"\frac", r"\sum", r"\begin")


class Nested(NamedTuple):
    """A formula and the operator at its top, as `Label.binds` names it."""

    text: str
    top: str = "("


def expanded(output: Step, latex: bool = True, longest: int = LONGEST) -> list[tuple[Step, str]]:
    """The formula of ``output``, then of each step that it leaves by name because of its length."""
    found: dict[Step, Nested] = {}
    left: list[tuple[Step, str]] = []
    for s in reached(output):
        name = name_latex(s) if latex else s.name
        if not s.inputs:
            found[s] = Nested(name, "+" if name.startswith("-") else "(")
            continue
        made = written(s, [found[i] for i in s.inputs], latex)
        if len(made.text) > longest and s is not output:
            left.append((s, made.text))
            made = Nested(name)
        found[s] = made
    return [(output, found[output].text), *left[::-1]]


def reached(output: Step) -> list[Step]:
    """The steps that the formula is made of, constants too, arguments first."""
    seen: dict[Step, None] = {}
    stack: list[tuple[Step, int]] = [(output, 0)]
    while stack:
        s, k = stack.pop()
        if s in seen:
            continue
        if k == len(s.inputs):
            seen[s] = None
            continue
        stack += [(s, k + 1), (s.inputs[k], 0)]
    return list(seen)


def written(s: Step, arguments: Sequence[Nested], latex: bool) -> Nested:
    """The formula of a step with those of its arguments in place."""
    label, name = s.row.label, name_latex(s) if latex else s.name
    holders = [f"\x00{k}\x01" for k in range(len(arguments))]
    template = filled(label.latex if latex else label.text, s, holders, name)
    if not template:
        shown = rf"\mathrm{{{latex_text(s.row.name)}}}" if latex else s.row.name
        made = nested(f"{shown}({', '.join(holders)})", "(", arguments)
    else:
        made = nested(template, top_of(label, latex), arguments)
    if s.picked is None:
        return made
    return Nested(f"({made.text})_{{{s.picked}}}" if latex else f"{made.text}[{s.picked}]")


def top_of(label: Label, latex: bool) -> str:
    """The operator at the top of a label."""
    return label.binds[1 if latex else 0]


def nested(template: str, top: str, arguments: Sequence[Nested]) -> Nested:
    r"""``template``, in which ``\x00k\x01`` stands for argument k, with brackets where needed.

    >>> from adjoint.show.expansion import Nested, nested
    >>> nested("\x000\x01 * \x001\x01", "*", [Nested("a + b", "+"), Nested("c")]).text
    '(a + b) * c'
    """
    if top == " ":  # the argument as it is
        return Nested(HELD.sub(lambda m: arguments[int(m[1])].text, template), arguments[0].top)

    def put(m: re.Match[str]) -> str:
        own = arguments[int(m[1])]
        before, after = template[:m.start()].rstrip(" "), template[m.end():]
        held = before.endswith(OPENS) and after.lstrip(" ").startswith(CLOSES)
        loose = own.top != "(" and not held and falls_apart(own, top, before, after)
        return bracketed(own.text) if loose else own.text
    return Nested(HELD.sub(put, template), top)


def falls_apart(own: Nested, top: str, before: str, after: str) -> bool:
    """Whether a formula needs brackets under the operator that it is put next to."""
    if after.startswith(("^", "_", "[")):
        return True
    if own.top != top:
        return WEAK.index(own.top) < WEAK.index(top)
    return top in "=^" or before.endswith(("-", "/")) or (
        before != "" and own.text.startswith(("-", "+")))


def bracketed(text: str) -> str:
    """A formula in brackets, tall ones if it is tall."""
    tall = any(sign in text for sign in TALL)
    return rf"\left({text}\right)" if tall else f"({text})"
