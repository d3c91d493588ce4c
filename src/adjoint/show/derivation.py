r"""A derivation in LaTeX: the program, its local derivatives by their rules, the backward pass.

Written for plain LaTeX with `amsmath`, which every installation has. Adjoints are written with a
bar, :math:`\bar v = \partial L / \partial v`, in the layout "array"; "numerator" and "denominator"
write the partials out and put the factors in the order that these layouts multiply in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from adjoint.errors import ArgumentError, ShapeError

from .complexes import has_partial, is_complex, takes_real_part_back
from .expansion import expanded
from .numbers import shown
from .record import CONSTANT
from .sheet_latex import PAGE
from .terms import is_spread
from .typesetting import latex_formula, latex_text
from .writing import (
    ONES,
    bracketed,
    derivative_latex,
    filled_latex,
    formula_latex,
    name_latex,
    partial_latex,
    pullback_label,
    rule_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .explanation import Explanation
    from .flows import Contribution
    from .record import Step

T = TypeVar("T")
LAYOUTS = ("array", "numerator", "denominator")
LINES = 200  # of a part; the middle of a longer one is left out
MATRIX, ENTRIES = 2, 16  # axes and entries of an array that is written out
WIDEST = 160  # characters of a nested formula on one line
GROUPS = re.compile(r"\\[{}|]|(?P<opens>\\left\b[(\[|]?|[(\[{])"
                    r"|(?P<closes>\\right\b[)\]|]?|[)\]}])|(?P<sign> [+-] )")
SLOTS = re.compile(r"\{(?:\d+|y)\}")
COMPLEX = "of a complex v: dL/dRe v - i dL/dIm v"
FACTOR = re.compile(r"\{(?:\d+|dy)\}(?:\^\\top)?")


class Line(NamedTuple):
    """A line: what is left of the sign, the sign and what follows, and a remark."""

    left: str
    right: str
    remark: str = ""

    def __str__(self) -> str:
        remark = rf" && \mbox{{{latex_text(self.remark)}}}" if self.remark else ""
        return f"{self.left} &{self.right}{remark}"


@dataclass(frozen=True)
class Derivation:
    """A derivation in parts: {title: lines}. `str` gives LaTeX to paste, `document` a whole file.

    ``formula`` is the nested formula of the result (``expand=True``), with the steps that it leaves
    by name because the whole would be too long.
    """

    title: str
    parts: dict[str, list[Line]]
    formula: tuple[Line, ...] = ()

    def align(self, lines: Sequence[Line]) -> str:
        """Lines as one aligned display."""
        rows = list(map(str, lines))
        return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"

    def titled(self) -> dict[str, list[Line]]:
        """The parts with the nested formula before them, a long one broken into its terms."""
        formula = [row for line in self.formula for row in broken(line)]
        return ({"The formula": formula} if formula else {}) | self.parts

    def latex(self) -> str:
        """The parts, each under its title in bold."""
        return "\n".join(f"\\noindent\\textbf{{{latex_text(title)}}}\n{self.align(lines)}"
                         for title, lines in self.titled().items() if lines)

    def document(self) -> str:
        """A whole file for LaTeX."""
        return ("\\documentclass{article}\n\\usepackage{amsmath}\n\\allowdisplaybreaks\n"
                f"{PAGE}\\setlength{{\\arraycolsep}}{{3pt}}\n\\begin{{document}}\n"
                f"\\section*{{{latex_text(self.title)}}}\n{self.latex()}\n"
                "\\end{document}\n")

    def __str__(self) -> str:
        return self.latex()

    def _repr_latex_(self) -> str:
        """One display; remarks stand beside the lines of their own part."""
        rows = []
        for title, lines in self.titled().items():
            if lines:
                body = self.align(lines).replace("{align*}", "{aligned}").replace(
                    " && ", r" &\quad& ").replace(r"\mbox{", r"\text{")
                rows += [rf"\textbf{{{latex_text(title)}}}", body]
        return "$$\\begin{array}{l}\n" + " \\\\\n".join(rows) + "\n\\end{array}$$"


def derivation(e: Explanation, layout: str = "array", shapes: bool | None = None,
               expand: bool = False, digits: int | None = None) -> Derivation:
    """The derivation of an explanation."""
    if layout not in LAYOUTS:
        raise ArgumentError(f"latex(layout={layout!r}): it is 'array' (the variable's shape), "
                            "'numerator' (rows, K x D) or 'denominator' (columns, D x K)")
    writer = Writer(e, layout, shapes, digits)
    parts = {"The program": writer.program(), "Local derivatives": writer.locals(),
             "Backward": writer.backward()}
    formula: tuple[Line, ...] = ()
    if expand:
        formula = tuple(Line(name_latex(step), f"= {text}") for step, text in expanded(
            e.record.output))
    return Derivation(e.record.title, parts, formula)


def broken(line: Line) -> list[Line]:
    """A formula as one line, a long one as a line for each term of the sum that it is."""
    if len(line.right) <= WIDEST:
        return [line]
    depth, ends = 0, list[int]()
    for m in GROUPS.finditer(line.right):
        if m["sign"] and not depth:
            ends.append(m.start())
        depth += bool(m["opens"]) - bool(m["closes"])
    terms = [line.right[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True)]
    return [Line(line.left, terms[0]), *(Line("", rf"\quad{t}") for t in terms[1:])]


def some(items: Sequence[T], line: Callable[[T], Line]) -> list[Line]:
    """A line for each item; of many items only for the first and the last, the rest counted."""
    if len(items) <= LINES:
        return list(map(line, items))
    half, rest = LINES // 2, len(items) - 2 * (LINES // 2)
    gap = Line("", r"\vdots", f"{rest:,} more lines")
    return [*map(line, items[:half]), gap, *map(line, items[-half:])]


class Writer:
    """What the lines of one derivation have in common: layout, shapes, digits."""

    def __init__(self, e: Explanation, layout: str, shapes: bool | None, digits: int | None
                 ) -> None:
        self.e, self.layout, self.digits = e, layout, digits
        arrays = any(s.shape for s in e.record.steps)
        self.shapes = arrays if shapes is None else shapes
        self.lead = e.flows.reverse.lead
        if layout != "array":
            for s in e.record.steps:
                if len(s.shape) + self.lead > MATRIX:
                    raise ShapeError(f"latex(layout={layout!r}): the adjoint of {s.name} has "
                                     f"{len(s.shape) + self.lead} axes, and this layout is for "
                                     "two; write layout='array'")

    # ---- parts

    def program(self) -> list[Line]:
        """Each step with its formula and its value."""
        return some(self.e.record.steps, lambda s: Line(
            name_latex(s), f"= {formula_latex(s) + ' = ' if s.inputs else ''}"
            f"{self.number(s.value)}"))

    def locals(self) -> list[Line]:
        """Each local derivative with its value, where it is one number, and its rule."""
        numbers = set[str]()
        pairs = [(s, s.inputs.index(source))
                 for s in self.e.record.behind([self.e.record.output])
                 for source in dict.fromkeys(s.inputs)
                 if source.differentiated or (is_left_out(s, s.inputs.index(source)) and
                                              not (source.name in numbers or
                                                   numbers.add(source.name)))]
        return some(pairs, lambda pair: self.local(*pair))

    def local(self, s: Step, position: int) -> Line:
        """One local derivative; of an argument that stands twice the sum."""
        source = s.inputs[position]
        if not source.differentiated:
            return Line(rf"\mathrm{{d}}\,{bracketed(source)}", "= 0", "constant rule")
        given = self.labelled(s, position, self.adjoint(s, bare=True), plain=True)
        bare = s.is_hook or not has_partial(s, position)
        if given and takes_real_part_back(s, position):
            given = rf"\mathrm{{Re}}\left({given}\right)"
        if given and (bare or s.shape + source.shape):  # told by what goes back
            return Line(self.adjoint(source, bare=True), rf"\leftarrow {given}", rule_name(s))
        if bare:
            return Line(derivative_latex(s, source), r"\colon \mbox{not holomorphic}", rule_name(s))
        places = [k for k, i in enumerate(s.inputs) if i is source]
        parts = [partial_latex(s, k) for k in places]
        left, sign = derivative_latex(s, source), derivative_latex(s, source)
        value = "" if s.shape + source.shape else self.number(self.e.flows.partial(s, source))
        if sign in parts:  # no formula: the rule of its pullback is in the backward pass
            return Line(left, f"= {value}" if value else "", rule_name(s))
        right = f"= {' + '.join(parts)}"
        right += f" = {value}" if value and value not in parts else ""
        return Line(left, right, rule_name(s))

    def backward(self) -> list[Line]:
        """The adjoint of the result, and each contribution in the order of the sweep."""
        output = self.e.record.output
        seed = self.number(self.laid(self.e.flows.reverse.seed))
        remark = COMPLEX if any(map(is_complex, self.e.record.steps)) else ""
        first = Line(self.adjoint(output, bare=True), f"= {seed}", remark)
        return [first, *some(self.e.flows.reverse.contributions, self.step_back)]

    def step_back(self, c: Contribution) -> Line:
        """What one use of a step adds to its adjoint."""
        sign = "=" if c.first else r"\mathrel{+}="
        value, factors = self.number(self.laid(c.amount)), self.contribution(c)
        right = f"{sign} {factors}" + (f" = {value}" if value != factors else "")
        if not c.first:
            right += rf",\quad {self.adjoint(c.target, bare=True)} = " + self.number(
                self.laid(c.total))
        remark = f"through {c.user.name}" + (", a hook: no derivative" if c.user.is_hook else "")
        return Line(self.adjoint(c.target, bare=True), right, remark)

    # ---- factors

    def contribution(self, c: Contribution) -> str:
        """What goes back to an input: of a complex adjoint the real part, if that is real."""
        found = self.sent_back(c)
        return rf"\mathrm{{Re}}\left({found}\right)" if takes_real_part_back(
            c.user, c.position) else found

    def sent_back(self, c: Contribution) -> str:
        """The adjoint of the user times the local derivative, in the layout's order."""
        u, dy = c.user, self.adjoint(c.user)
        if found := self.labelled(u, c.position, dy):
            return found
        if not has_partial(u, c.position):
            return rf"\mathrm{{pullback}}({dy})"
        partial = partial_latex(u, c.position)
        if not u.row.elementwise:
            sign = derivative_latex(u, c.target)
            if partial in {sign, "1"} or self.layout != "array":
                return self.product(dy, self.under(sign, self.jacobian(c)))
            return self.product(dy, f"({partial})" if needs_brackets(partial) else partial)
        if self.layout != "array" and len(u.shape) == 1 and not c.target.shape and (
                partial not in {"1", "-1"}):  # a row times a column: the sum over what was repeated
            turned = "" if self.layout == "numerator" else r"^\top"
            column = self.under(rf"\left({partial}\right){turned}" if turned else partial,
                                self.sizes((u.size, 1)[::-1 if turned else 1]))
            return self.product(dy, column)
        return self.summed(c, self.pointwise(c, dy, partial))

    def labelled(self, u: Step, position: int, dy: str, plain: bool = False) -> str:
        """The pullback that the row's label writes, in the layout; empty if it writes none."""
        template = pullback_label(u, position)
        if not template:
            return ""
        if template == ONES:
            return self.spread(u.inputs[position], dy, plain)
        signs = [bracketed(i) if plain else self.under(bracketed(i), self.sizes(self.of(i)))
                 for i in u.inputs]
        if self.layout != "numerator" or not u.shape:
            found = filled_latex(template, u, signs, dy=dy)
            return rf"\mathrm{{unbroadcast}}({found})" if found and is_spread(
                u, position, template) else found
        if FACTOR.sub("", template).replace(r"\,", "").strip():  # no bare product
            found = filled_latex(template, u, signs, dy=rf"{{{dy}}}^\top")
            return rf"\left({found}\right)^\top" if found else ""
        return r"\,".join(self.turned(factor, u, dy, plain) for factor in reversed(
            FACTOR.findall(template)))

    def spread(self, source: Step, dy: str, plain: bool) -> str:
        """A number times ones in the shape of an array, in the layout's order."""
        shape = self.of(source)
        if self.layout == "numerator":
            ones = r"\mathbf{1}^\top" if len(source.shape) == 1 else r"\mathbf{1}"
            return rf"{dy}\,{ones if plain else self.under(ones, self.sizes(shape[::-1]))}"
        ones = r"\mathbf{1}" if plain else self.under(r"\mathbf{1}", self.sizes(shape))
        return rf"{dy} \cdot {ones}" if self.layout == "array" else rf"{ones}\,{dy}"

    def turned(self, factor: str, u: Step, dy: str, plain: bool) -> str:
        """A factor of a label's product, transposed; the adjoint already is."""
        bare = factor.split("^", maxsplit=1)[0]
        if bare == "{dy}":
            return dy
        i = u.inputs[int(bare[1:-1])]
        transposed, shape = factor.endswith("top"), self.of(i)
        sign = bracketed(i) if transposed else rf"{bracketed(i)}^\top"
        return sign if plain else self.under(sign, self.sizes(shape if transposed else shape[::-1]))

    def of(self, s: Step) -> tuple[int, ...]:
        """The shape of a value in the layout: a vector is a column where layouts have two axes."""
        return (*s.shape, 1) if self.layout != "array" and len(s.shape) == 1 else s.shape

    def pointwise(self, c: Contribution, dy: str, partial: str) -> str:
        """The adjoint of an elementwise step times its partial."""
        u = c.user
        if partial in {"1", "-1"}:
            return dy if partial == "1" else f"-{dy}"
        if not u.shape or is_number(c, partial):
            return self.product(dy, f"({partial})" if needs_brackets(partial) else partial)
        if self.layout == "array" or len(u.shape) == MATRIX:
            turned = rf"\left({partial}\right)^\top" if self.layout == "numerator" else (
                f"({partial})" if needs_brackets(partial) else partial)
            shape = u.shape[::-1] if self.layout == "numerator" else u.shape
            return rf"{dy} \odot {self.under(turned, self.sizes(shape))}"
        diagonal = self.under(rf"\mathrm{{diag}}\!\left({partial}\right)",
                              self.sizes((u.size, u.size)))
        return self.product(dy, diagonal)

    def product(self, dy: str, factor: str) -> str:
        """Two factors in the order of the layout: columns stand at the right."""
        between = r" \cdot "
        return between.join((factor, dy) if self.layout == "denominator" else (dy, factor))

    def summed(self, c: Contribution, text: str) -> str:
        """The sum over what broadcasting had repeated."""
        target, shape = c.target.shape, c.user.shape
        if target == shape:
            return text
        lost = len(shape) - len(target)
        axes = [*range(lost), *[lost + k for k, n in enumerate(target) if n != shape[lost + k]]]
        where = ", ".join(map(str, axes))
        return rf"\sum_{{{where}}}\left({text}\right)" if len(axes) < len(shape) else (
            rf"\sum\left({text}\right)")

    # ---- signs and numbers

    def adjoint(self, s: Step, bare: bool = False) -> str:
        """The sign of an adjoint, its shape below."""
        output = self.e.record.output
        sign = name_latex(s, "bar") if self.layout == "array" else derivative_latex(output, s)
        if self.layout != "array" and self.e.flows.cotangent is not None:  # u: the one given
            sign = (rf"\frac{{\partial (u \cdot {name_latex(output)})}}"
                    rf"{{\partial {name_latex(s)}}}")
        if bare or not self.shapes:
            return sign
        lead = self.e.record.output.shape if self.lead else ()
        if self.layout == "array":
            return self.under(sign, self.sizes(lead + s.shape))
        rows, columns = (lead or (1,)), (s.shape or (1,))
        if len(s.shape) == MATRIX:
            rows, columns = s.shape[1:], s.shape[:1]
        pair = (*rows, *columns) if self.layout == "numerator" else (*columns, *rows)
        if len(s.shape) == MATRIX and self.layout == "denominator":
            pair = s.shape
        return self.under(sign, self.sizes(pair))

    def jacobian(self, c: Contribution) -> str:
        """The shape of a local Jacobian."""
        if self.layout == "array" or max(len(c.user.shape), len(c.target.shape)) > 1:
            return self.sizes(c.user.shape + c.target.shape)
        pair = (c.user.size, c.target.size)
        return self.sizes(pair if self.layout == "numerator" else pair[::-1])

    def under(self, text: str, shape: str) -> str:
        """A factor with its shape below."""
        return rf"\underbrace{{{text}}}_{{{shape}}}" if self.shapes and shape else text

    def sizes(self, shape: tuple[int, ...]) -> str:
        """A shape; of a number nothing."""
        return r" \times ".join(map(str, shape))

    def laid(self, x: Any) -> Any:
        """An adjoint in the layout: rows, columns, or as it is."""
        x = np.asarray(x)
        if self.layout == "array" or x.ndim == 0:
            return x
        lead = len(self.e.record.output.shape) if self.lead else 0
        if x.ndim == 1 and not lead:
            return x[None, :] if self.layout == "numerator" else x[:, None]
        plain = (self.layout == "numerator") == bool(lead)
        return x if plain else x.T

    def number(self, x: Any) -> str:
        """A number, a small array as a matrix, of others the summary."""
        x = np.asarray(x)
        if x.ndim == 0:
            return latex_formula(shown(x[()], self.digits))
        if not 0 < x.size <= ENTRIES or x.ndim > MATRIX:
            return rf"\mbox{{{latex_text(shown(x, self.digits))}}}"
        rows = x[:, None] if x.ndim == 1 else x
        body = r" \\ ".join(" & ".join(latex_formula(shown(v, self.digits)) for v in row)
                            for row in rows)
        return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"


def is_number(c: Contribution, partial: str) -> bool:
    """Whether a partial of arrays is one number for all elements: it is made of numbers only."""
    arrays = [s for s in (c.user, *c.user.inputs) if s.shape]
    return not any(name_latex(s) in partial for s in arrays)


def is_left_out(s: Step, position: int) -> bool:
    """Whether an argument is a number that stands in no local derivative: one that is added."""
    source, texts = s.inputs[position], s.row.label.partials
    if source.kind != CONSTANT or source.shape or not s.row.elementwise:
        return False
    slots = {f"{{{position}}}", "{y}"}
    moving = [k for k, i in enumerate(s.inputs) if i.differentiated]
    return all(k < len(texts) and texts[k] and slots.isdisjoint(SLOTS.findall(texts[k]))
               for k in moving)


def needs_brackets(text: str) -> bool:
    """Whether a factor is a sum, or begins with a sign."""
    depth = 0
    for k, c in enumerate(text):
        depth += (c in "({[") - (c in ")}]")
        if c in "+-" and not depth and (k == 0 or text[k - 1] != "^"):
            return True
    return False
