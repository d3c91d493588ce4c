"""Steps in words: the formula of a step, its partials and pullbacks, as text and as LaTeX.

Everything is read off the Label of the step's row, with the names of the arguments filled in.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from adjoint.ops.index import Slot

from .complexes import holds, is_complex, partial_template
from .numbers import shown
from .record import CONSTANT
from .typesetting import RECENT, latex_name, latex_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .record import Step

BAR, DOT = "\u0304", "\u0307"  # combining: the usual signs of an adjoint and of a tangent
GROUP = r"\{([^{}]*)\}"
ARGUMENTS = 4  # of an operation with any number of them that are written out
WORD = r"-?(?:\d+(?:\.\d+)?|[A-Za-z]\w*(?:\([^()]*\))?)"
INDEXED = re.compile(r"\{(?:\d|y|dy)\}[_^]")
UNSET = re.compile(  # parameters that say nothing, in text and in LaTeX
    r", \w+=(?:None|False)(?=[,)])|_\{\\mathrm\{\w+\}=(?:None|False)\}"
    r"|,\\,\\mathrm\{\w+\}=(?:None|False)")
TURNED = re.compile(r"\^\{\\top_\{\(([-\d, ]*)\)\}(\^\{-1\})?\}")  # transposed, or back from it
NEGATED = re.compile(r"\\neg (True|False)")
LOWER = re.compile(r"\^\((\d+(?:\.\d+)?) - 1\)|\^\{\{?(\d+(?:\.\d+)?)\}? - 1\}")
SPREAD = r"\mathrm{{broadcast\_to}}({dy}, \mathrm{{shape}}({0}))"  # back from a sum
ONES = r"{dy} \cdot \mathbf{{1}}"  # the same where a number is spread
ACCENTED = re.compile(  # TeX looks through braces around one accented letter: its index is there
    r"\{(\\(?:bar|dot)\{[^{}]*\}_\{[^{}]*\})\}(?=_)")
CONJUGATE = r"\overline{{{dy}}}"
REPEATED = re.compile(r"(.+)\.(\d+)")


def marked(name: str, mark: str) -> str:
    """A name with a bar (an adjoint) or a dot (a tangent) over its first letter."""
    return name[0] + mark + name[1:]


def name_latex(step: Step, mark: str = "") -> str:
    r"""The name of a step in LaTeX; ``mark`` is "bar" or "dot".

    What recurs has its number above: ``h.2`` is :math:`h^{(2)}`. A constant is its value.
    """
    if step.kind == CONSTANT and not step.named:
        return shown(step.value) if not step.shape else rf"\mbox{{{latex_text(step.name)}}}"
    repeated = REPEATED.fullmatch(step.name)
    base = latex_name(repeated[1] if repeated else step.name)
    if mark:
        head, below, index = base.partition("_{")
        if not below or (len(head) > 1 and not head.startswith("\\")):
            head, below, index = base, "", ""
        long = "mathit" in head or "mbox" in head
        sign = {"bar": r"\overline" if long else r"\bar", "dot": r"\dot"}[mark]
        base = f"{sign}{{{head}}}{below}{index}"
    return f"{base}^{{({repeated[2]})}}" if repeated else base


def filled(template: str, step: Step, arguments: Sequence[str], y: str, **more: str) -> str:
    """A label with names filled in; empty if it was written for other arguments."""
    params = {k: indexed(v, step, arguments) if k == "key" else v for k, v in step.params.items()}
    if len(arguments) <= ARGUMENTS:
        every = ", ".join(f"{{{k}}}" for k in range(len(arguments)))
        template = template.replace("{0}, ...", every).replace(r"{0}, \dots", every)
    try:
        text = template.format(*arguments, **{"y": y, **params, **more})
        text = NEGATED.sub(lambda m: str(m[1] == "False"), text)
        return UNSET.sub("", TURNED.sub(turned, text))
    except (LookupError, ValueError, TypeError, AttributeError):  # for another count of arguments
        return ""


def turned(m: re.Match[str]) -> str:
    """A transposition with the axes that it takes, none if they stay, two without a word."""
    axes = [int(k) for k in m[1].split(",") if k.strip()]
    if m[2]:
        axes = sorted(range(len(axes)), key=[k % len(axes) for k in axes].__getitem__)
    if axes == sorted(axes):
        return ""
    return r"^{\top}" if axes == [1, 0] else rf"^{{\top_{{({', '.join(map(str, axes))})}}}}"


def formula(step: Step, name: Callable[[Step], str] | None = None) -> str:
    """How a step is computed, as plain text: ``v6 - v5``; of an input its name."""
    arguments = [operand(i) if name is None else name(i) for i in step.inputs]
    if not arguments:
        return step.name
    text = filled(step.row.label.text, step, arguments, step.name) if step.row.label.text else ""
    text = text or f"{step.row}({', '.join(arguments)})"
    return text if step.picked is None else f"{text}[{step.picked}]"


def operand(step: Step) -> str:
    """The name of an argument; a negative or complex number in brackets."""
    return f"({step.name})" if signed(step, step.name) else step.name


def signed(step: Step, text: str) -> bool:
    """Whether an argument is written as a sum, or with a sign before it."""
    return text.startswith("-") or (step.kind == CONSTANT and not step.named and text[-1:] == "j")


def formula_latex(step: Step) -> str:
    """How a step is computed, in LaTeX."""
    arguments = [bracketed(i) for i in step.inputs]
    if not arguments:
        return name_latex(step)
    found = filled_latex(step.row.label.latex, step)
    if not found:
        found = rf"\mathrm{{{latex_text(step.row.name)}}}({', '.join(arguments)})"
    return found if step.picked is None else f"({found})_{{{step.picked}}}"


def filled_latex(template: str, step: Step, given: Sequence[str] = (), **more: str) -> str:
    """A LaTeX label with names filled in; ``{dy}`` and other marks come by ``more``.

    ``given`` are other texts for the arguments.
    """
    names = {"y": name_latex(step), **more}
    arguments = list(given) or [bracketed(i) for i in step.inputs]
    if INDEXED.search(template):  # v_{1}_j is an error, {v_{1}}_j is not
        arguments = [f"{{{a}}}" for a in arguments]
        names = {k: f"{{{v}}}" for k, v in names.items()}
    found = filled(template, step, arguments, names.pop("y"), **names) if template else ""
    return ACCENTED.sub(r"{\1{}}", found)


def bracketed(step: Step) -> str:
    """The LaTeX name of an argument; a negative or complex number in brackets."""
    found = name_latex(step)
    return f"({found})" if signed(step, found) else found


def partial_latex(step: Step, position: int) -> str:
    """The partial derivative of a step by one of its inputs, in LaTeX."""
    if step.is_hook:
        return "1"
    found = filled_latex(partial_template(step, position), step)
    if found:
        return lowered(found)
    return derivative_latex(step, step.inputs[position])


def derivative_latex(step: Step, source: Step) -> str:
    """The sign for a derivative: a fraction of two partials."""
    return rf"\frac{{\partial {name_latex(step)}}}{{\partial {name_latex(source)}}}"


def partial_text(step: Step, position: int) -> str:
    """The partial derivative of a step by one of its inputs, as plain text."""
    if step.is_hook:
        return "1"
    found = filled(partial_template(step, position), step, [operand(i) for i in step.inputs],
                   step.name)
    if found:
        return lowered(plain(found))
    return derivative_text(step, step.inputs[position])


def derivative_text(step: Step, source: Step) -> str:
    """The sign for a derivative, as plain text."""
    return f"\u2202{step.name}/\u2202{source.name}"


def lowered(formula: str) -> str:
    """``x^(3 - 1)`` as ``x^2``, ``x^(2 - 1)`` as ``x``; in LaTeX too."""
    def power(m: re.Match[str]) -> str:
        exponent = f"{float(m[1] or m[2]) - 1:g}"
        if exponent == "1":
            return ""
        if m[2]:
            return f"^{{{exponent}}}"
        return f"^({exponent})" if exponent.startswith("-") else f"^{exponent}"
    return LOWER.sub(power, formula)


def pullback_label(step: Step, position: int) -> str:
    """The label of what goes back to an argument; empty if the row's Label says nothing."""
    texts = step.row.label.pullbacks
    own = position
    if texts and "..." in step.row.label.text:  # the last one stands for the rest
        position = min(position, len(texts) - 1)
    if position >= len(texts) or step.picked is not None or (
            not holds(step, own, texts[position])):
        return ""
    if step.is_hook and is_complex(step):  # hooks see the gradient, the conjugate of an adjoint
        return rf"\overline{{{{{texts[position].replace('{dy}', CONJUGATE)}}}}}"
    if "{back}" in texts[position]:
        return turned_subscripts(texts[position], step, own)
    return ONES if texts[position] == SPREAD and not step.shape else texts[position]


def turned_subscripts(template: str, step: Step, position: int) -> str:
    """The pullback of a sum of products that is told by subscripts: ``ik,jk->ij`` of ``ij,jk->ik``.

    Letters that the argument alone has are spread, those that it repeats are its diagonal. Empty
    where an axis of size 1 met a longer one, which is summed again.
    """
    left, _, out = step.params["subscripts"].partition("->")
    terms, sizes = left.split(","), dict[str, set[int]]()
    for term, s in zip(terms, step.inputs, strict=True):
        for letter, size in zip(term, s.shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
    if any(len(found) > 1 for found in sizes.values()):
        return ""
    others = [k for k in range(len(terms)) if k != position]
    back = ",".join([out, *[terms[k] for k in others]]) + "->" + terms[position]
    return template.replace("{back}", back).replace("{others}", "".join(
        f", {{{k}}}" for k in others))


def rule_name(step: Step) -> str:
    """The rule that a step is differentiated by.

    A label may give three, separated by semicolons: for both arguments, the first, the second.
    """
    rules = step.row.label.rule.split("; ")
    moving = [k for k, s in enumerate(step.inputs) if s.differentiated]
    return rules[0] if len(moving) != 1 or len(rules) == 1 else rules[1 + moving[0]]


def indexed(key: Any, step: Step, arguments: Sequence[str]) -> str:
    """An index as one types it: ``1:, 0`` for ``(slice(1, None), 0)``; arrays by their names."""
    if isinstance(key, Slot):  # a place for one of the arrays, which are the last arguments
        places = sum(isinstance(k, Slot) for k in step.params["key"])
        return arguments[len(step.inputs) - places + key.number]
    if isinstance(key, tuple):
        parts: Any = key
        return ", ".join(indexed(k, step, arguments) for k in parts)
    if isinstance(key, slice):
        parts = ["" if p is None else str(p) for p in (key.start, key.stop, key.step)]
        return ":".join(parts if parts[2] else parts[:2])
    return "..." if key is Ellipsis else "None" if key is None else shown(key)


def enclosed(text: str) -> str:
    """``text``, in brackets unless it is one word, one call or in brackets already."""
    text = text.strip()
    return text if re.fullmatch(WORD, text) or is_held(text) else f"({text})"


def is_held(text: str) -> bool:
    """Whether the first bracket of a text, behind a name at most, closes at its end."""
    start = re.match(r"\w*[(\[]", text)
    if start is None:
        return False
    depth = 0
    for k, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if not depth and k >= start.end() - 1:
            return k == len(text) - 1
    return False


def transposed(m: re.Match[str]) -> str:
    """``transpose(v3, (2, 0, 1))``, the way it is typed."""
    return f"transpose({m[1]}, {m[2]})"


def with_options(m: re.Match[str]) -> str:
    """``cumsum(v3, axis=0)``, the way it is typed."""
    options = re.sub(rf"\\mathrm{GROUP}", r"\1", m[2]).replace(r",\,", ", ")
    return rf"\mathrm{{{m[1]}}}({m[3]}, {options})"


OPTION = r"\\mathrm\{\w+\}=[^{},]*(?:\([^()]*\))?"
LATEX: tuple[tuple[str, Any], ...] = (
    (rf"\\mathrm{GROUP}_\{{({OPTION}(?:,\\,{OPTION})*)\}}\(([^()]*)\)", with_options),
    (r"([\w\u0304\u0307.]+|\([^()]*\))\^\{\\top_\{(\([-\d, ]*\))\}\}", transposed),
    (r"\\mathrm\{einsum\}_\{\\mathtt" + GROUP + r"\}\(", r"einsum('\1', "),
    (r"_\{([\d:., \[\]-]+)\}", r"[\1]"),  # an element, a slice
    (r"\^\{\\top\}", "^T"),
    (r"\\(?:mathrm|operatorname)" + GROUP + r"(?=\(| \()", r" \1"),  # a function
    (r"\\bar(?:\{(\w)\}|\s*(\w))", lambda m: (m[1] or m[2]) + BAR),
    (r"\\mathbf\{1\}", "ones"),
    (r"\\(prod|sum)_" + GROUP, r"\1(\2)"),
    (r"\\(?:mathrm|operatorname|mbox|mathit|mathbf)" + GROUP, r" \1 "),
    (r"\\overline" + GROUP, r"conj(\1)"),
    (r"\\sqrt" + GROUP, r"sqrt(\1)"),
    (r"\^" + GROUP, lambda m: f"^{enclosed(m[1])}"),
    (r"\\frac" + GROUP + GROUP, lambda m: f"{enclosed(m[1])}/{enclosed(m[2])}"),
    (r"_" + GROUP, r"[\1]"))
SIGNS = {r"\sigma": "\u03c3", r"\ne": "\u2260", r"\le": "\u2264", r"\ge": "\u2265",
         r"\neg": "not ", r"\in": "\u2208", r"\odot": "\u2299", r"\leftarrow": "\u2190", r"\_": "_",
         r"\#": "#", r"\top": "T", r"\cdot": "\u00b7", r"\lfloor": "\u230a",
         r"\rfloor": "\u230b", r"\left": "", r"\right": "", r"\dots": "...",
         r"\lVert": "|", r"\rVert": "|"}


@lru_cache(RECENT)
def plain(text: str) -> str:
    """LaTeX of a partial derivative as plain text."""
    before, text = "", text.replace(r"\_", "_")
    while before != text:
        before = text
        for pattern, replacement in LATEX:
            text = re.sub(pattern, replacement, text)
    text = text.replace(r"\,", " ")
    for sign, replacement in SIGNS.items():
        text = re.sub(re.escape(sign) + r"(?![a-z])", replacement, text)
    text = re.sub(r"(?<=\w)\\", " ", text)  # y\ln x: two words
    return re.sub(r"(?<=[(\[]) | (?=\])", "", " ".join(re.sub(r"[\\{}]", "", text).split()))
