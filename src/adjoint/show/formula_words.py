"""The words of a formula: its tokens, the functions it may name, and how an error points into it.

Start at `read_token`, which splits a text, and `lookup`, which knows what may be called: the
library's own elementwise operations and reductions, by their public names. Nothing else is
reachable from a formula.
"""

from __future__ import annotations

import builtins
import difflib
import inspect
import keyword
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.primitive import PUBLIC, REGISTRY
from adjoint.errors import DTypeError, FormulaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# School spellings of what the library has under another name.
SPELLINGS = {
    "ln": "log", "lg": "log10", "lb": "log2", "ld": "log2", "tg": "tan", "arctg": "arctan",
    "sgn": "sign", "σ": "sigmoid", "√": "sqrt", "pow": "power", "max": "maximum",
    "min": "minimum"}
INVERSE = re.compile(r"ar?((?:sin|cos|tan)(?:h|2)?)")  # asin, arsinh, atan2 for arcsin and so on
CONSTANTS = {"pi": 3.141592653589793, "π": 3.141592653589793, "e": 2.718281828459045}
NOTES = {"log": "log is the natural logarithm here, as in NumPy; log10 is the one to base 10."}
SIGNS = {"**": "^", "·": "*", "×": "*", "⋅": "*", "∗": "*", "−": "-", "–": "-", "÷": "/",
         "∕": "/", "⁄": "/"}
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
LONGEST = 2_000_000  # characters; a chain of 100,000 terms has about half of it
WIDTH, SHORT = 72, 40  # columns of a formula's line in an error, characters of a word in one

TOKEN = re.compile(r"""
    (?P<number> (?:[0-9]+\.?[0-9]*|\.[0-9]+) (?:[eE][+-]?[0-9]+)?)
  | (?P<raised> [⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)
  | (?P<name> √ | [^\W\d⁰¹²³⁴⁵⁶⁷⁸⁹] [^\W⁰¹²³⁴⁵⁶⁷⁸⁹\u0300-\u036f]*
      (?:[\u0300-\u036f]+[^\W⁰¹²³⁴⁵⁶⁷⁸⁹\u0300-\u036f]*)*)
  | (?P<break> [;\n])
  | (?P<sign> \*\* | == | != | <= | >= | // | := | && | .)""", re.VERBOSE | re.DOTALL)
BLANK = re.compile(r"[^\S\n]*")
CALLED = re.compile(r"\s*\([^()=]{0,200}\)\s*=(?!=)")  # the rest of f(x) =

# What a sign that no formula has may have been meant to be.
FOREIGN = {
    ".": "a formula has no attributes and no modules: write sin(x), not np.sin(x)",
    "'": "a formula has no strings and no primes; call the variable x_prime",
    '"': "a formula has no strings",
    "==": "a formula has no comparisons; one = gives a name to a value, as in a = x1*x2",
    ":=": "a name is given by one =, as in a = x1*x2",
    "[": "a formula has no brackets; write ( and ), and give vectors as values: x=[1,2,3]",
    "]": "a formula has no brackets; write ( and )",
    "{": "a formula has no braces; write ( and )", "}": "a formula has no braces; write ( and )",
    "\\": "a formula is not LaTeX; write sin(x), a/b and sqrt(x)",
    "!": "a formula has no factorial", "%": "the remainder of a/b is remainder(a, b)",
    "//": "write floor(a/b)", "@": "write sum(a*b) for the product of two vectors",
    "#": "a formula has no comments", ":": "a name is given by =, as in a = x1*x2",
    **dict.fromkeys(("<", ">", "<=", ">=", "!="), "a formula has no comparisons; max(a, b), "
                    "min(a, b) and abs(a) choose between values"),
    **dict.fromkeys(("&", "&&", "~", "?", "$", "`"), "it means nothing in a formula")}


# ---- tokens

class Token(NamedTuple):
    """A piece of the text: what kind it is, how it reads, and where it stands.

    ``kind`` is number, raised (an exponent such as ²), name, sign, break (a new line or ;) or end.
    """

    kind: str
    word: str
    start: int
    stop: int


def read_token(text: str, position: int, end: int) -> Token:
    """The token at ``position`` or behind the blanks there."""
    start = BLANK.match(text, position, end).end()  # pyright: ignore[reportOptionalMemberAccess] - the pattern fits everywhere
    found = TOKEN.match(text, start, end)
    if found is None:
        return Token("end", "", start, start)
    kind, word = str(found.lastgroup), found[0]
    if kind == "name":
        word = checked_name(text, found)
    elif kind == "raised":
        word = word.translate(RAISED)
    elif kind == "sign":
        word = SIGNS.get(word, word)
    elif kind == "number":
        check_number(text, found)
    return Token(kind, word, start, found.end())


def checked_name(text: str, found: re.Match[str]) -> str:
    """A name in one spelling: x₁ is x1. Words of Python's are none."""
    word = found[0]
    name = word if word.isascii() or word == "σ" else unicodedata.normalize("NFKC", word)
    if keyword.iskeyword(name):
        raise error(text, found.start(), found.end(), f"{name} is a word of Python, and a formula "
                    "is not run as Python: it holds numbers, names, + - * / ^ and functions")
    if name != "√" and not name.isidentifier():
        raise error(text, found.start(), found.end(),
                    f"{brief(word)} is no name: write letters, digits and _, as in x_1")
    return name


def check_number(text: str, found: re.Match[str]) -> None:
    """An error for what begins as a number and is none: 2..3, 0x1f, 1_000, 1e999."""
    word, start, stop = found[0], found.start(), found.end()
    rest = re.compile(r"[0-9.]*").match(text, stop)
    if text[stop:stop + 1] == "." and rest:
        whole = word + rest[0]
        parts = [p for p in whole.split(".") if p]
        better = f", as in {'.'.join(parts[:2])}" if len(parts) > 1 else ""
        raise error(text, start, rest.end(),
                    f"{brief(whole)} is no number: a number has one point{better}")
    if text[stop:stop + 1] == "_":
        raise error(text, start, stop + 1, "a number has digits, one point and an exponent, as in "
                    "1000, 0.5 or 1e-3, and no _")
    if word == "0" and re.compile(r"[xob]\d").match(text, stop):
        raise error(text, start, stop + 2, "a formula's numbers are decimal; for a product write "
                    f"0*{text[stop:stop + 2]}")
    if float(word) == np.inf:
        raise error(text, start, stop, f"{brief(word)} is larger than every float, whose largest "
                    "is 1.8e308")


# ---- functions

@lru_cache(maxsize=4096)
def lookup(name: str) -> dict[int, Callable[..., Any]]:
    """What a formula calls by this name: {number of arguments: function}; empty if nothing.

    That is a documented elementwise operation that makes real numbers of real numbers, a reduction
    of an array to a number, or the school spelling of one. Each is tried when it is first asked
    for, because some of them import SciPy.
    """
    inverse = INVERSE.fullmatch(name)
    other = SPELLINGS.get(name, f"arc{inverse[1]}" if inverse else name)
    return documented(name) | (documented(other) if other != name else {})


@lru_cache(maxsize=1)
def functions() -> dict[str, dict[int, Callable[..., Any]]]:
    """All that a formula may call, {name: {number of arguments: function}}: for suggestions."""
    inverses = [n for n in PUBLIC if n.startswith("arc")]
    names = [*PUBLIC, *SPELLINGS, *[f"a{n[3:]}" for n in inverses],
             *[f"ar{n[3:]}" for n in inverses if n.endswith("h")]]
    return {name: found for name in names if (found := lookup(name))}


def documented(name: str) -> dict[int, Callable[..., Any]]:
    """The public function of this name, if it is for numbers and documented."""
    f = PUBLIC.get(name)
    if f is None or not name.isidentifier() or ">>>" not in (f.__doc__ or ""):
        return {}
    count = elementwise_arguments(name, f) or (1 if reduces(f) else 0)
    return {count: f} if count else {}


def elementwise_arguments(name: str, f: Callable[..., Any]) -> int:
    """How many real numbers ``f`` takes, element by element, to make one; 0 if it does not."""
    row = getattr(f, "row", None) or REGISTRY.get(name)
    if row is None or not row.elementwise:
        return 0
    count = len(next(iter(row.cases(np.random.default_rng(0)))).args)
    if getattr(f, "row", None) is None and len(required(f)) != count:
        return 0  # it takes more than numbers
    return count if is_real(f, [np.ones(1)] * count) else 0


def required(f: Callable[..., Any]) -> list[str]:
    """The names of the arguments that ``f`` cannot do without."""
    parameters = inspect.signature(f).parameters.values()
    return [p.name for p in parameters if p.default is p.empty]


def reduces(f: Callable[..., Any]) -> bool:
    """Whether ``f`` makes one real number of an array of them, as the sum does."""
    names = inspect.signature(f).parameters
    return ("axis" in names and "keepdims" in names and required(f) == ["x"]
            and names["axis"].default is None and is_real(f, [np.ones(2)], ()))


def is_real(f: Callable[..., Any], xs: list[Any], shape: tuple[int, ...] = (1,)) -> bool:
    """Whether ``f`` makes floats of this shape of ``xs``."""
    with np.errstate(all="ignore"):
        try:
            y = np.asarray(f(*xs))
        except (TypeError, DTypeError):  # it wants integers or booleans
            return False
    return y.dtype.kind == "f" and y.shape == shape


def near(word: str, known: Iterable[str]) -> str:
    """The likeliest word that was meant, or nothing."""
    known = list(known)
    if len(word) > SHORT:
        return ""
    lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), list(lower), 1, 0.6)
    return lower[found[0]] if found else ""


def split_product(word: str, known: Iterable[str]) -> str:
    """``x1*x2`` for ``x1x2``, ``sin(x)`` for ``sinx``, if these words are known; or nothing."""
    known = set(known)
    if len(word) > SHORT:
        return ""
    for cut in range(len(word) - 1, 0, -1):
        head, tail = word[:cut], word[cut:]
        if tail in known and lookup(head):
            return f"{head}({tail})"
    way: dict[int, list[str]] = {0: []}
    for stop in range(1, len(word) + 1):
        for start in range(stop):
            if start in way and stop not in way and word[start:stop] in known:
                way[stop] = [*way[start], word[start:stop]]
    return "*".join(way.get(len(word), []))


def without_function(text: str, token: Token, names: Iterable[str]) -> FormulaError:
    """The error for a name before ( that is no function."""
    word, known = token.word, [n for n in functions() if n.isascii()]
    if CALLED.match(text, token.stop):
        end = f"left of = stands a name alone; write {brief(word)} = ..."
    elif word in names or word in CONSTANTS:
        end = f"{brief(word)} is no function; write {brief(word)}*(...) for a product"
    elif word.startswith("__") or hasattr(builtins, word):
        end = f"there is no function {brief(word)}: a formula is not run as Python"
    elif close := near(word, known):
        end = f"there is no function {brief(word)}; did you mean {close}?"
    else:
        end = (f"there is no function {brief(word)}; write {brief(word)}*(...) for a product, or a "
               "function such as sin, exp, ln, sqrt, max")
    return error(text, token.start, token.stop, end)


# ---- errors

def error(text: str, start: int, stop: int, message: str) -> FormulaError:
    """The error at text[start:stop]: the message, the line of the formula, and a caret below."""
    return FormulaError(f"{message}\n{pointed(text, start, stop)}", text, start)


def pointed(text: str, start: int, stop: int) -> str:
    """The line that holds text[start:stop], or the part of it around that, and carets below."""
    left = text.rfind("\n", 0, start) + 1
    right = text.find("\n", start)
    right = len(text) if right < 0 else right
    stop = max(min(stop, right), start + 1)
    first = left if right - left <= WIDTH else max(left, min(start - WIDTH // 2, right - WIDTH))
    last = min(first + WIDTH, right)
    before, after = "…" if first > left else "", "…" if last < right else ""
    line = f"{before}{shown(text[first:last])}{after}"
    under = columns(shown(text[start:min(stop, last)])) or 1
    return f"  {line}\n  {' ' * columns(before + shown(text[first:start]))}{'^' * under}"


def shown(text: str) -> str:
    """Text that a terminal prints as it stands: blanks for white space, ? for control codes."""
    return "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(0 if unicodedata.combining(c) else
               1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def brief(word: str) -> str:
    """A word in a message, cut in the middle if it is long."""
    word = shown(word)
    return word if len(word) <= SHORT else f"{word[:SHORT // 2]}…{word[-SHORT // 2 + 1:]}"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``; of many words the first ones."""
    words = [brief(w) for w in words]
    if len(words) > 8:
        words = [*words[:7], f"{len(words) - 7} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def decimal(text: str, comma: int) -> str:
    """``1.5`` if the comma stands in 1,5; or nothing."""
    before, after = re.search(r"\d+$", text[max(comma - SHORT, 0):comma]), re.compile(
        r"\d+").match(text, comma + 1)
    return f"{before[0]}.{after[0]}" if before and after else ""
