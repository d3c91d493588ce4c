"""What an operation is: one frozen record with every rule, and the registry to find it by name.

Start here. An operation ("row") is one `Primitive`. Interpreters (plain evaluation, reverse mode,
forward mode, batching, tracing, lowering) are a closed set, operations are not: so the rules stand
by operation, side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Rule = Any  # a function; its signature is in the table of `Primitive`


@dataclass(frozen=True, slots=True)
class Label:
    """How a row is printed: text, LaTeX, LaTeX of each partial, the rule's name in a derivation.

    The texts are format strings over the printed arguments: ``"{0} + {1}"``; ``{y}`` is the result,
    ``{axis}`` a parameter. A name goes in braces where ``^`` or ``_`` follows it. Of a row with any
    number of arguments the last partial and pullback stand for the rest.

    ``rule`` may name several, with "; " between: one for when several arguments vary, then one for
    each argument, when it alone does (a product by a number has the rule "constant factor").

    ``pullbacks`` are LaTeX too: what goes back to each argument from the cotangent ``{dy}``, in the
    argument's own shape. A missing one is ``{dy}`` times the partial, summed over the elements of
    the result. Definitions of its letters may follow, after a comma. Of products of matrices the
    numerator layout is the transpose: the factors in reverse order, each transposed.

    ``binds`` is the operator at the top of the text and of the LaTeX, from the weakest: ``=`` (a
    comparison or logic), ``+`` (and a sign), ``*``, ``^``, ``(`` (a call, a name), or a space if
    the first argument stands there as it is. A formula that takes the place of an argument needs
    no brackets between brackets, braces and commas, or if it binds more than the label does, or as
    much in a call, or as much in a sum or product, unless ``-`` or ``/`` stands before it or it
    begins with a sign itself. Before ``^`` and ``_`` only a call needs none.

    The pullback of an elementwise row is that of complex arguments: the cotangent times
    a partial, or what is no product. ``{back}`` are the subscripts of a pullback.

    ``work`` counts the operations of a row that is written in no others, for a matrix of m by n
    (m the larger) with k columns beside it: ``n^3/3``. Half of them are multiplications.
    """

    text: str = ""
    latex: str = ""
    partials: tuple[str, ...] = ()
    rule: str = ""
    binds: str = "(("
    pullbacks: tuple[str, ...] = ()
    work: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """One row: an operation and everything that is known about it.

    ======  ============================================  =====================================
    field   signature                                     meaning
    ======  ============================================  =====================================
    impl    ``impl(*xs, **p) -> y``                       the value, on NumPy arrays
    aval    ``aval(*avals, **p) -> Aval``                 shape and dtype of the result
    jvp     ``jvp(dxs, y, *xs, **p) -> dy``               tangents forward; None means zero
    vjp     ``vjp(dy, y, *xs, needs, **p) -> tuple``      the cotangent back to each argument
    batch   ``batch(size, axes, *xs, **p) -> (y, axis)``  with one more axis (None: a loop)
    lower   ``lower(b, *refs, **p) -> ref``               the row in the loop language of ``b``
    keeps   subset of ``{"x", "y", 0, 1, ...}``           what vjp reads: all arguments, the
                                                          result, argument i
    scalar  ``scalar(*floats) -> float``                  the `math` function for plain floats
    zero_wins  ``zero_wins(downstream, *xs, **p) -> y``   the product that a zero among the
                                                          arguments downstream (booleans) cancels
    kink    ``kink(*xs, **p) -> mask``                    where the one-sided derivatives differ
    foresee  ``foresee(xs, **p) -> p``                    the parameters, for arguments whose
                                                          gradient may be asked for
    cases   ``cases(rng) -> iterator of Case``            valid arguments, for tests and docs
    ======  ============================================  =====================================

    ``needs`` is a tuple of booleans and positional; a rule returns None where it is False. An
    argument that ``keeps`` does not name reaches vjp as its `Aval`, and the result as Aval or None:
    these have no arithmetic, so a wrong ``keeps`` fails instead of using a wrong number.
    """

    name: str
    impl: Callable[..., Any]
    aval: Rule = None
    jvp: Rule = None
    vjp: Rule = None
    batch: Rule = None
    lower: Rule = None
    label: Label = field(default_factory=Label)
    keeps: frozenset[str | int] = frozenset()
    scalar: Rule = None
    zero_wins: Rule = None
    kink: Rule = None
    foresee: Rule = None
    cases: Rule = None
    alias: bool = False  # the result may share its input's memory
    effects: str = "none"  # "none", "random", "write" or "callback"
    depends: Any = "all"  # what an output element reads: "elementwise", "all", or an index map
    elementwise: bool = False  # NumPy broadcasts the arguments; the sweep undoes that
    singular: bool = False  # a partial may be infinite: zero downstream cancels it
    nondiff: bool = False  # no derivative, said aloud (comparisons, argmax)
    several: bool = False  # the value is a tuple of arrays; the `item` row picks one

    def __repr__(self) -> str:
        return self.name

    def kept(self, position: int | str) -> bool:
        """Whether vjp reads the argument at ``position`` (or the result, ``"y"``)."""
        return position in self.keeps or (position != "y" and "x" in self.keeps)


REGISTRY: dict[str, Primitive] = {}
PUBLIC: dict[str, Callable[..., Any]] = {}  # name -> the function that users call
NUMPY: dict[Any, Callable[..., Any]] = {}  # NumPy function -> ours, for the NumPy protocols


def register(row: Primitive) -> Primitive:
    """Enter ``row``; a second row of the same name is a mistake."""
    if REGISTRY.setdefault(row.name, row) is not row:
        raise ValueError(f"a row named {row.name!r} exists already; choose another name")
    return row


def _no_value(*_: Any) -> Any:
    raise AssertionError("a leaf or a constant is not computed")


LEAF, CONSTANT = Primitive("leaf", _no_value), Primitive("constant", _no_value)
