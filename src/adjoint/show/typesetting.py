"""Formulas in plain Unicode, such as ``v̄3 · cos(v2)``, read into tokens for HTML and for LaTeX.

`tokens` finds names, indices, powers and numbers like ``1.000e-09``; `latex_formula` and
`latex_text` write LaTeX that needs no package and no character outside ASCII, whatever the text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .numbers import SCIENTIFIC

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "\u0300-\u036f"  # combining: the bar of an adjoint, the dot of a tangent
ACCENTS = {"\u0304": r"\bar", "\u0307": r"\dot", "\u0302": r"\hat", "\u0303": r"\tilde",
           "\u0308": r"\ddot", "\u0301": r"\acute", "\u0300": r"\grave", "\u030c": r"\check",
           "\u0306": r"\breve", "\u0305": r"\bar", "\u030a": r"\mathring"}
TEXT_ACCENTS = {"\u0304": "=", "\u0307": ".", "\u0302": "^", "\u0303": "~", "\u0308": '"',
                "\u0301": "'", "\u0300": "`", "\u030c": "v", "\u0306": "u", "\u0305": "=",
                "\u0327": "c", "\u030a": "r", "\u030b": "H", "\u0323": "d", "\u0331": "b"}
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu",
    "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi",
    "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta",
    "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi",
    "Ω": "Omega"}
SIGNS = {c: "\\" + name for c, name in GREEK.items()} | {
    "ϵ": r"\epsilon", "ϕ": r"\phi", "ϑ": r"\vartheta", "µ": r"\mu", "·": r"\cdot", "×": r"\times",
    "÷": r"\div", "−": "-", "±": r"\pm", "∂": r"\partial", "∇": r"\nabla", "∑": r"\sum",
    "∏": r"\prod", "∫": r"\int", "√": r"\surd", "∞": r"\infty", "≤": r"\le", "≥": r"\ge",
    "≠": r"\ne", "≈": r"\approx", "≡": r"\equiv", "→": r"\to", "←": r"\leftarrow",
    "↦": r"\mapsto", "⇒": r"\Rightarrow", "∈": r"\in", "⊙": r"\odot", "∘": r"\circ",
    "⊤": r"\top", "ᵀ": r"{}^{\top}", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil",
    "⌉": r"\rceil", "∧": r"\wedge", "∨": r"\vee", "¬": r"\neg", "′": "'", "ℓ": r"\ell",
    "…": r"\ldots", "⋯": r"\cdots", "∥": r"\|", "⟨": r"\langle", "⟩": r"\rangle",
    "°": r"{}^{\circ}"}
ESCAPED = {"\\": r"\backslash", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "&": r"\&",
           "#": r"\#", "_": r"\_", "~": r"\sim", "^": r"\wedge", '"': r"\mbox{\char34}",
           "`": r"\mbox{\char96}", "'": r"\mbox{\char39}"}
TEXT_ESCAPED = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\ensuremath{\$}",
                "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}",
                "^": r"\textasciicircum{}", '"': r"{\char34}", "`": r"{\char96}", "'": r"{\char39}",
                "<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "|": r"\ensuremath{|}",
                "-": "-{}", "[": "{[}", "*": "{*}", "“": "``", "”": "''", "‘": "`", "’": "'",
                "–": "--", "—": "---", "«": r"\ensuremath{\ll}", "»": r"\ensuremath{\gg}",
                "ß": r"{\ss}", "æ": r"{\ae}", "Æ": r"{\AE}", "ø": r"{\o}", "Ø": r"{\O}",
                "œ": r"{\oe}", "ł": r"{\l}", "ı": r"{\i}", "\xa0": "~"}
FUNCTIONS = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "ln", "log", "max", "min", "arg",
             "det", "arcsin", "arccos", "arctan"}
TOKEN = re.compile(rf"""
    (?P<number>{SCIENTIFIC.pattern})
  | (?P<whole>d(?P<top>[^\W\d_][\w.{MARK}]*)/d(?P<bottom>[^\W\d_][\w{MARK}]*))
  | (?P<name>[^\W\d_][\w{MARK}]*)(?P<call>(?=\())?
  | \^(?P<power>\([^()]*\)|-?[\w.{MARK}]+)
  | (?P<space>\s+)
  | (?P<digits>[0-9]+(?:\.[0-9]*)?)
  | (?P<other>.[{MARK}]*)""", re.VERBOSE | re.DOTALL)
INDEXED = re.compile(rf"([^\W\d_][{MARK}]*)([0-9]+)")
ELEMENT = re.compile(r"([^\W\d]\w*)((?:\[[0-9]+\])+)")  # of a list among the inputs


WORDS = {"name", "function", "number", "digits", "power"}  # a space between two of them is seen


RECENT = 2_000  # formulas of which the LaTeX is remembered: neighbouring steps share names


class Token(NamedTuple):
    """A part of a formula: its kind, its text, and the index or exponent that belongs to it."""

    kind: str  # name, function, number, digits, power, space, other
    text: str
    extra: str = ""


def tokens(text: str) -> Iterator[Token]:
    """The parts of a formula; their texts together are the formula.

    >>> from adjoint.show.typesetting import tokens
    >>> [(t.kind, t.text, t.extra) for t in tokens("cos(v2)")][::2]
    [('function', 'cos', ''), ('name', 'v', '2')]
    """
    for m in TOKEN.finditer(unicodedata.normalize("NFD", text)):
        kind = m.lastgroup or ""
        if m["number"]:
            mantissa, sign, exponent = m[2], m[3], m[4]
            yield Token("number", mantissa, sign.replace("+", "") + exponent)
        elif m["whole"]:  # dL/dx1: d belongs to no name
            yield from (Token("name", "d"), *tokens(m["top"]), Token("other", "/"))
            yield from (Token("name", "d"), *tokens(m["bottom"]))
        elif m["name"]:
            index = INDEXED.fullmatch(m["name"])
            if m["call"] is not None or m["name"] in {"min", "max"}:  # (4, 3) min 0 max 1
                yield Token("function", m["name"])
            elif index:
                yield Token("name", index[1], index[2])
            else:
                yield Token("name", m["name"])
        elif m["power"]:
            bare = m["power"].startswith("(")
            yield Token("power", "", m["power"][1:-1] if bare else m["power"])
        else:
            yield Token(kind, m[0])


def strange(c: str) -> str:
    """A character that plain LaTeX has no sign for, by its number."""
    return rf"\mbox{{\scriptsize U+{ord(c):04X}}}"


def accented(cluster: str) -> str:
    """A letter and its combining marks in math mode."""
    base, marks = cluster[0], cluster[1:]
    text = SIGNS.get(base) or ESCAPED.get(base) or (base if base.isascii() else strange(base))
    for mark in marks:
        text = f"{ACCENTS[mark]}{{{text}}}" if mark in ACCENTS else text + strange(mark)
    return text + (" " if text[-1].isalpha() and "\\" in text else "")


def latex_name(name: str) -> str:
    r"""A name in math mode: one letter and digits get an index, longer names stand upright.

    >>> from adjoint.show.typesetting import latex_name
    >>> latex_name("x1"), latex_name("w_ih"), latex_name("v̄3"), latex_name("w2[0]")
    ('x_{1}', '\\mathit{w\\_ih}', '\\bar{v}_{3}', 'w_{2}[0]')
    """
    if element := ELEMENT.fullmatch(name):
        return latex_name(element[1]) + element[2]
    return latex_formula(name) if name.isidentifier() or INDEXED.fullmatch(
        unicodedata.normalize("NFD", name)) else rf"\mbox{{{latex_text(name)}}}"


def clusters(text: str) -> list[str]:
    """The characters of a text, each with its combining marks."""
    return re.findall(rf".[{MARK}]*", unicodedata.normalize("NFD", text), re.DOTALL)


def word(text: str) -> str:
    """A name in math mode, without its index."""
    parts = clusters(text)
    if len(parts) == 1:
        return accented(text).strip()
    barred = [m for p in parts for m in p[1:] if m in ACCENTS]
    plain = "".join(p[0] for p in parts)
    inner = rf"\mathit{{{''.join(accented(c) for c in plain)}}}"
    if barred in (["\u0304"], ["\u0305"]):  # a bar over the whole name
        return rf"\overline{{{inner}}}"
    return rf"\mathit{{{''.join(accented(p) for p in parts)}}}"


@lru_cache(RECENT)
def latex_formula(text: str) -> str:
    r"""A formula in plain Unicode as LaTeX for math mode, every hostile character escaped.

    >>> from adjoint.show.typesetting import latex_formula
    >>> latex_formula("v̄5 · cos(v2)")
    '\\bar{v}_{5} \\cdot \\cos (v_{2})'
    """
    parts = list(tokens(text))
    kinds = ["", *(t.kind for t in parts), ""]
    said = ""
    for k, t in enumerate(parts):
        if t.kind == "space" and WORDS.issuperset((kinds[k], kinds[k + 2])):
            said += "\\ "
        elif t.kind == "power" and (kinds[k] == "power" or said.endswith("'")):
            said += "{}" + math_token(t)  # TeX takes no second exponent
        else:
            said += math_token(t)
    return re.sub(" +", " ", said).strip()


def math_token(t: Token) -> str:
    """A token in math mode."""
    if t.kind == "number":
        return rf"{t.text} \times 10^{{{t.extra}}}"
    if t.kind == "name":
        return word(t.text) + (f"_{{{t.extra}}}" if t.extra else "")
    if t.kind == "function":
        return rf"\{t.text} " if t.text in FUNCTIONS else word(t.text).replace("mathit", "mathrm")
    if t.kind == "power":
        return f"^{{{latex_formula(t.extra)}}}"
    if t.text == "@":
        return r"\mathbin{@}"
    return " " if t.kind == "space" else t.text if t.kind == "digits" else accented(t.text)


def latex_text(text: str) -> str:
    r"""Any text as LaTeX for text mode: ASCII that prints what was written and runs nothing.

    >>> from adjoint.show.typesetting import latex_text
    >>> latex_text(r"100 % of a_b, \input{x}")
    '100 \\% of a\\_b, \\textbackslash{}input\\{x\\}'
    """
    return "".join(map(text_cluster, clusters(text)))


def text_cluster(cluster: str) -> str:
    """A character and its combining marks in text mode."""
    base, marks = cluster[0], cluster[1:]
    if base in TEXT_ESCAPED:
        text = TEXT_ESCAPED[base]
    elif base in SIGNS:
        text = rf"\ensuremath{{{SIGNS[base]}}}"
    elif base.isascii() and base.isprintable():
        text = base
    else:
        text = strange(base)
    for mark in marks:
        text = f"\\{TEXT_ACCENTS[mark]}{{{text}}}" if mark in TEXT_ACCENTS else text + strange(mark)
    return text
