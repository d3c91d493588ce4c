"""Values without axes: who sees a change in place.

NumPy has a scalar, which nobody can change: `y += 1` makes another, and other names keep the old
one. Or it has an array without axes, which everyone who holds it sees change; so is PyTorch's
tensor. A function under a transformation does what it would do there: start at `is_scalar`.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import MODES, aval_of, constant, ndarray
from adjoint.core.symbol import Graph, Symbol, symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.node import Node
    from adjoint.core.primitive import Primitive

COPIES: dict[int, tuple[Any, Any]] = {}  # by its id: an array that is a view in NumPy, and its base
TENSORS: set[int] = set()  # levels of functions of tensors
# In loops run by Python for a doctor, whether tensors stand for what the function was given.
stand_ins: ContextVar[bool] = ContextVar("stand_ins", default=False)


def is_scalar(x: Any) -> bool:
    """Whether NumPy would have a scalar here, which nobody can change, and no array.

    A tensor of no axes can be changed, as PyTorch's. Under no_grad a write moves the value of what
    is there, and leaves its derivative.
    """
    if x.shape or of_tensors(x) or (x.level < MODES.get().paused and not isinstance(x, Symbol)):
        return False
    return not is_changeable(x)


def of_tensors(x: Box) -> bool:
    """Whether ``x`` is a tensor outside of transformations, or one of a function of tensors."""
    if x.level:
        return x.level in TENSORS or (isinstance(x, ScalarSymbol) and x.stands_for_tensor)
    inner = x.value
    return inner.of_tensors if isinstance(inner, ScalarSymbol) else (
        inner.__class__ is not Symbol and not stand_ins.get())


def is_changeable(x: Any) -> bool:
    """Whether NumPy would have an array without axes here."""
    while isinstance(x, Box):
        known = getattr(x, "changeable", None)  # of what has no value, or one for a whole batch
        if known is not None:
            return known
        x = x.value
    return x.__class__ is ndarray and not x.shape


def as_array(y: Any) -> Any:
    """``y``, which an operation has just made, as an array if it has no axes; NumPy's are scalars.

    For functions that give arrays in NumPy, such as `np.where`.
    """
    if isinstance(y, tuple) or y.shape:  # a tuple: of where(condition)
        return y
    if not isinstance(y, Box):
        return np.asarray(y)
    note = getattr(y, "noted_as_array", None)
    if note is not None:
        return note()
    if not isinstance(y, Symbol):
        holder: Any = y
        holder.value = as_array(holder.value)
    return y


def kind_given(x: Any) -> str:
    """What a function is given, by PyTorch's rule and NumPy's: "tensor", "array" or "number"."""
    if isinstance(x, Box) and of_tensors(x):
        return "tensor"
    return "array" if is_changeable(x) and not aval_of(x).shape else "number"


def as_changeable(x: Any, y: Any) -> Any:
    """``y`` as an array without axes where ``x``, which it overwrites or copies, is one."""
    return as_array(y) if is_changeable(x) else y


def note_view(y: Any, x: Any) -> Any:
    """``y``, noted as what NumPy has as a view of ``x`` where it is a copy: no write is lost in it.

    For functions that are no rows with ``alias`` and give views in NumPy, such as `np.einsum`.
    """
    inner, base = y, x
    while isinstance(inner, Box):
        note = getattr(inner, "copied_from", None)
        if note is not None:
            note(base)
            return y
        base = base.value if isinstance(base, Box) and base.level == inner.level else base
        inner = inner.value
    while isinstance(base, Box):
        base = base.value
    if y is not inner and inner.__class__ is base.__class__ is ndarray and inner.shape:
        key = id(inner)
        COPIES[key] = weakref.ref(inner, lambda _: COPIES.pop(key, None)), weakref.ref(base)
    return y


def viewed(x: Any) -> Any:
    """The array, if it is still there, of which NumPy would have the array ``x`` as a view."""
    known = COPIES.get(id(x))
    return None if known is None else known[1]()


def written_beside(x: Any, number: Any) -> Any:
    """``number``, written down where ``x`` is, if that is a Symbol at its bottom.

    A trace that has the number itself computes with it, and keeps an array of whatever size.
    """
    while isinstance(x, Box):
        if isinstance(x, Symbol):
            return symbol(x.graph, constant(number), x.__class__)
        x = x.value
    return number


def gives_array(row: Primitive, known: Sequence[Any], params: dict[str, Any],
                held: Callable[[int], bool]) -> bool:
    """Whether NumPy's function gives an array without axes for arguments of these Avals.

    Some views do, and the row's implementation knows: it is run on zeros, with arrays and scalars
    as ``held`` says. All other rows give scalars; functions that do not (`np.where`) call
    `as_array`.
    """
    if not row.alias or any(isinstance(a, tuple) for a in known):
        return False
    examples = [np.zeros(a.shape, a.dtype) for a in known]
    return isinstance(row.impl(*[x if x.shape or held(k) else x[()]
                                 for k, x in enumerate(examples)], **params), ndarray)


class ScalarGraph(Graph):
    """A Graph that is written while a function runs, whose values without axes can be changed."""

    __slots__ = ("arrays", "inner", "tensors", "views")

    def __init__(self) -> None:
        super().__init__()
        self.arrays: set[Node] = set()  # without axes, beside those that rows give
        self.views: set[Node] = set()  # beside those that rows with `alias` give
        self.inner = False  # it was given values of a function of tensors, which are no Tensors
        self.tensors = False  # the function was given some: PyTorch's rule is its

    def holds_array(self, n: Node) -> bool:
        """Whether NumPy has an array without axes here: one that was given, or made."""
        if n in self.arrays:
            return True
        return bool(n.inputs) and gives_array(n.prim, [i.aval for i in n.inputs], n.params,
                                              lambda k: self.holds_array(n.inputs[k]))


class ScalarSymbol(Symbol):
    """A Symbol that knows whether it is an array, so that a change in place does what it should."""

    __slots__ = ()
    graph: ScalarGraph  # pyright: ignore[reportIncompatibleVariableOverride] - a narrower class

    @property
    def changeable(self) -> bool:
        """Whether a change in place is seen by everyone who holds this."""
        return not self.aval.shape and self.graph.holds_array(self.node)

    @property
    def stands_for_tensor(self) -> bool:
        """Whether this Symbol by itself, in no Tensor, is what a function of tensors made."""
        return False

    @property
    def of_tensors(self) -> bool:
        """Whether the function that is being written down was given tensors."""
        return self.graph.tensors

    def number(self) -> Any:
        """``x.item()``: a Python number, or what will be one."""
        return np.asarray(self.concrete()).item()

    def copied_from(self, base: Any) -> None:
        """Note that NumPy has a view of ``base`` here."""
        if self.aval.shape and base is not self:
            self.graph.views.add(self.node)

    def noted_as_number(self) -> Symbol:
        """This Symbol, as one that stands for a number of Python's; in a body there is none."""
        return self

    def noted_as_array(self) -> Symbol:
        """This Symbol, noted as an array without axes."""
        self.graph.arrays.add(self.node)
        return self
