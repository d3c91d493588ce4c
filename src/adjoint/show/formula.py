"""Formulas as one types them: ``ln(x1) + x1*x2 - sin(x2)``, read and never evaluated as Python.

Start at `parse`, which gives a `Formula`; `parse_values` reads the values for its variables. The
grammar is in `formula_parser`, the functions that a formula may call are in `formula_words`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.errors import ArgumentError, FormulaError
from adjoint.ops.declare import arrayed

from .formula_parser import Parser, Piece
from .formula_words import (
    CONSTANTS,
    LONGEST,
    Token,
    brief,
    error,
    functions,
    listed,
    near,
    read_token,
    split_product,
)
from .places import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

SPECIAL = {"inf": np.inf, "nan": np.nan, "∞": np.inf}
DEEPEST = 2  # a value is a number, a vector or a matrix


@dataclass(frozen=True, repr=False)
class Formula:
    """A formula that was read: its text, its variables in order of appearance, and its pieces.

    Every piece stands behind those that it is computed from; ``result`` is the index of the last
    statement's, ``definitions`` says which pieces were given a name, and ``notes`` is what a reader
    should know, such as that log is the natural logarithm.
    """

    text: str
    variables: tuple[str, ...]
    pieces: tuple[Piece, ...]
    definitions: Mapping[str, int]
    result: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Formula({brief(self.text)!r})"

    @cached_property
    def f(self) -> Callable[..., Any]:
        """The function of the variables, by position or by name, made of adjoint's operations."""
        def f(*values: Any, **named: Any) -> Any:
            return self.run(*values, **named)
        f.__doc__ = self.text
        f.__signature__ = Signature([  # type: ignore[attr-defined]
            Parameter(v, Parameter.POSITIONAL_OR_KEYWORD) for v in self.variables])
        return f

    def __call__(self, *values: Any, **named: Any) -> Any:
        """The value of the formula."""
        return self.run(*values, **named)

    def told(self, tell: Callable[[Any, str, Written], None]) -> Callable[..., Any]:
        """The function; ``tell`` hears of each piece its value, its name if any, and where it is.

        Where: the piece as it is written, and its line if the formula has several.
        """
        names = {id(self.pieces[k]): name for name, k in [*self.definitions.items()][::-1]}
        several = "\n" in self.text.strip()

        def heard(value: Any, piece: Piece) -> None:
            line = self.text.count("\n", 0, piece.start) + 1 if several else 0
            site = Written("the formula" if several else "", line, piece.brief)
            tell(value, names.get(id(piece), ""), site)

        def f(*values: Any, **named: Any) -> Any:
            return self.run(*values, on_step=heard, **named)
        return f

    def run(self, *values: Any, on_step: Callable[[Any, Piece], None] | None = None, **named: Any
            ) -> Any:
        """The value of the formula; ``on_step(value, piece)`` is called for each piece in order.

        What lies outside a function's domain is NaN or infinite, and raises nothing. Of floats the
        value is a float.
        """
        known = iter(self.arguments(values, named))
        found: list[Any] = []
        with np.errstate(all="ignore"):
            for piece in self.pieces:
                if piece.function is not None:
                    xs = [found[k] for k in piece.arguments]
                    y = piece.function(*xs)
                    if all(x.__class__ is float for x in xs):
                        y = float(y)  # a number stays weak, and takes the dtype that it meets
                else:
                    y = next(known) if piece.kind == "variable" else piece.value
                found.append(y)
                if on_step is not None:
                    on_step(y, piece)
        return found[self.result]

    def arguments(self, values: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
        """One value for each variable, in order; ArgumentError if they do not fit."""
        left = self.variables[len(values):]
        if len(values) > len(self.variables) or set(named) != set(left):
            given = listed([*self.variables[:len(values)], *named]) or "none"
            extra = len(values) - len(self.variables)
            more = f" and {extra} more" if extra > 0 else ""
            raise ArgumentError(f"the formula has the variables {listed(self.variables) or 'none'};"
                                f" values were given for {given}{more}")
        return [as_real(x) for x in (*values, *[named[v] for v in left])]

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the order of the variables, for ``formula.f(*formula.bind(values))``.

        Raises FormulaError if a variable has no value, or a value belongs to no variable.
        """
        if missing := [v for v in self.variables if v not in values]:
            raise self.without_value(missing, values)
        for name in values:
            if name not in self.variables:
                raise self.without_variable(name)
        return tuple([values[v] for v in self.variables])

    def without_value(self, missing: list[str], values: Mapping[str, Any]) -> FormulaError:
        """The error for variables that have no value; it shows what to type."""
        name = missing[0]
        at = next(p for p in self.pieces if p.kind == "variable" and p.name == name)
        others = {*values, *self.variables} - {name}
        if better := split_product(name, others):
            return error(self.text, *at.span, f"{brief(name)} has no value; did you mean {better}?")
        typed = ",".join([f"{v}={written(values[v]) if v in values else 1}"
                          for v in self.variables])
        typed = typed if len(typed) <= 100 else f"{brief(name)}=1"
        has = "has" if len(missing) == 1 else "have"
        like = near(name, set(values) - set(self.variables)) if len(missing) == 1 else ""
        hint = f"did you mean {like}?" if like else f"type --at {typed}"
        return error(self.text, *at.span, f"{listed(missing)} {has} no value; {hint}")

    def without_variable(self, name: str) -> FormulaError:
        """The error for a value whose name is not in the formula."""
        if name in self.definitions:
            end = "it is defined there by ="
        elif name in CONSTANTS:
            end = f"there {name} is {CONSTANTS[name]:.3f}...; choose another name"
        elif not self.variables:
            end = "it has no variables"
        else:
            like = near(name, self.variables)
            end = f"did you mean {like}?" if like else f"it has {listed(self.variables)}"
        return FormulaError(f"a value is given for {brief(name)}, which is no variable of the "
                            f"formula {brief(self.text)!r}; {end}", self.text, 0)


def parse(text: str, given: Container[str] = ()) -> Formula:
    """Read a formula, or several statements with names for values in between.

    ``+ - * / ^`` (or ``**``), numbers, names, constants pi and e, ``|x|``, and adjoint's
    elementwise functions and reductions, with school spellings such as ln and arcsin. ``-x^2`` is
    ``-(x^2)``, ``^`` groups from the right. A product may be written without its sign where only
    one reading exists: ``2x``, ``2 sin(x)``, ``x1 x2``. Statements, ``a = x1*x2; y = a + sin(a)``,
    end with ``;`` or the line; the last one is the result. Names in ``given`` are variables even if
    they are constants or functions otherwise. Nothing is ever evaluated as Python.

    Raises FormulaError, which points at the character.

    >>> from adjoint.show.formula import parse
    >>> formula = parse("ln(x1) + x1*x2 - sin(x2)")
    >>> formula.variables
    ('x1', 'x2')
    >>> round(formula.f(2.0, 5.0), 3)
    11.652
    >>> [round(float(d), 3) for d in ad.grad(formula.f, argnums=(0, 1))(2.0, 5.0)]
    [5.5, 1.716]
    >>> [piece.text for piece in formula.pieces if piece.function]
    ['ln(x1)', 'x1*x2', 'ln(x1) + x1*x2', 'sin(x2)', 'ln(x1) + x1*x2 - sin(x2)']
    """
    check_text(text)
    parser = Parser(text, given=given)
    result = parser.read()
    return Formula(text, tuple(parser.variables), tuple(parser.pieces), parser.definitions, result,
                   tuple(parser.notes))


def parse_values(text: str) -> dict[str, Any]:
    """Read values for variables: ``x1=2, x2=-1e-3``, ``x=pi/2``, ``x=[1, 2, 3]``.

    Raises FormulaError, which points at the character.

    >>> from adjoint.show.formula import parse_values
    >>> parse_values("x1=2, x2=sqrt(16), x=[1,2,3]")
    {'x1': 2.0, 'x2': 4.0, 'x': array([1., 2., 3.])}
    """
    check_text(text)
    values: dict[str, Any] = {}
    for start, stop in parts(text, 0, len(text), ",;\n"):
        token = read_token(text, start, stop)
        if token.kind == "end":
            if text[stop:stop + 1] == ",":
                raise error(text, stop, stop + 1, "nothing stands before this comma; write values "
                            "such as x1=2,x2=5")
            continue
        name, value = read_item(text, token, stop)
        if name in values:
            raise error(text, token.start, token.stop, f"{brief(name)} has a value already; give "
                        "one value for each name")
        values[name] = value
    return values


def check_text(text: str) -> None:
    """An error for what is no text, or far too long."""
    if not isinstance(text, str):
        raise ArgumentError(f"a formula is a text, such as 'x1*x2', not {type(text).__name__}")
    if len(text) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST:,} characters, and this one "
                           f"{len(text):,}; write it as a Python function", "", 0)


def parts(text: str, start: int, stop: int, separators: str) -> Iterator[tuple[int, int]]:
    """Where the parts between separators begin and end; those in brackets do not count."""
    depth = 0
    for at in range(start, stop):
        depth += (text[at] in "([") - (text[at] in ")]")
        if text[at] in separators and depth <= 0:
            yield start, at
            start = at + 1
    yield start, stop


def read_item(text: str, token: Token, stop: int) -> tuple[str, Any]:
    """The name and value of one item, ``x1=2``, that begins at ``token``."""
    equals = read_token(text, token.stop, stop)
    if token.kind != "name":
        word = "=" if token.word in ("=", "==") else brief(text[token.start:stop].strip())
        what = "no name stands left of =" if word == "=" else f"{word} has no name"
        raise error(text, token.start, token.stop, f"{what}; write values such as x1=2,x2=5")
    name = token.word
    if equals.word != "=":
        raise error(text, token.start, token.stop, f"{brief(name)} has no value; write "
                    f"{brief(name)}=2")
    if glued := re.compile(r"\s([^\W\d]\w*)\s*=(?!=)").search(text, equals.stop, stop):
        raise error(text, glued.start(1), glued.end(1),
                    f"a comma should stand before {brief(glued[1])}")
    if read_token(text, equals.stop, stop).kind == "end":
        raise error(text, equals.start, equals.stop, f"{brief(name)} has no value; write "
                    f"{brief(name)}=2")
    return name, read_value(text, name, equals.stop, stop)


def read_value(text: str, name: str, start: int, stop: int, depth: int = 0) -> Any:
    """The number, or the vector or matrix in brackets, at text[start:stop]."""
    token = read_token(text, start, stop)
    if token.word != "[":
        return read_number(text, name, start, stop)
    last = closing(text, token.start, stop)
    if last < 0:
        raise error(text, token.start, token.stop, "this [ is never closed; a ] is missing")
    behind = read_token(text, last + 1, stop)
    if behind.kind != "end":
        raise error(text, behind.start, behind.stop, f"found {brief(behind.word)} behind ]; a "
                    "comma or the end should stand there")
    if depth == DEEPEST:
        raise error(text, token.start, token.stop, "a value is a number, a vector [1,2,3] or a "
                    "matrix [[1,2],[3,4]]")
    inner = list(parts(text, token.stop, last, ",;"))
    for left, right in inner:
        if read_token(text, left, right).kind == "end":
            raise error(text, left, right + 1, "a number is missing here")
    rows = [read_value(text, name, left, right, depth + 1) for left, right in inner]
    if len({np.shape(row) for row in rows}) > 1:
        sizes = listed(sorted({str(np.size(row)) for row in rows}))
        raise error(text, token.start, last + 1, f"the rows of a matrix have one length, not "
                    f"{sizes}")
    return np.array(rows, float)


def closing(text: str, opening: int, stop: int) -> int:
    """Where the ] stands that closes the [ at ``opening``; -1 if there is none."""
    depth = 0
    for at in range(opening, stop):
        depth += (text[at] == "[") - (text[at] == "]")
        if depth == 0:
            return at
    return -1


def read_number(text: str, name: str, start: int, stop: int) -> float:
    """The value of an expression without variables."""
    token = read_token(text, start, stop)
    sign = -1.0 if token.word == "-" else 1.0
    word = read_token(text, token.stop, stop) if token.word == "-" else token
    if word.word in SPECIAL and read_token(text, word.stop, stop).kind == "end":
        return sign * SPECIAL[word.word]
    parser = Parser(text, start, stop)
    result = parser.expression(name).piece
    formula = Formula(text, tuple(parser.variables), tuple(parser.pieces), {}, result, ())
    if formula.variables:
        at = next(p for p in parser.pieces if p.kind == "variable")
        close = near(at.name, [n for n in functions() if n.isascii()])
        hint = f"did you mean the function {close}?" if close and len(at.name) > 2 else (
            f"write {brief(name)}=2, or with pi, e and functions, {brief(name)}=pi/2")
        raise error(text, *at.span, f"{brief(at.name)} is no number; {hint}")
    return float(formula.run())


def as_real(x: Any) -> Any:
    """Integers as floats, lists as arrays: a formula is about real numbers."""
    if isinstance(x, (Box, float)):
        return x
    if isinstance(x, (list, tuple)):
        x = arrayed(x)
    if isinstance(x, (bool, int)):
        return float(x)
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biu":
        return x.astype(float)
    return x


def written(value: Any) -> str:
    """A value as one types it after --at."""
    if np.size(value) > 6:
        return "[...]"
    numbers = str(np.asarray(value, float).tolist()).replace(" ", "")
    return re.sub(r"\.0(?=[],]|$)", "", numbers)
