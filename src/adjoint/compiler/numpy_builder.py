"""The loop language on NumPy arrays: each statement runs as it is written.

This is the meaning of the statements, and it checks what `Builder` promises: operands of one
statement have one shape and one dtype, no index leaves its operand, and only ``copy`` merges axes
(an affine index cannot). Machine code is held against it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.stride_tricks import as_strided

from adjoint.core.node import Aval, aval_of
from adjoint.errors import RuleError

from .maths import MATHS
from .views import outside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.symbol import Graph
    from adjoint.ops.loops import Index, Shape

    from .program import Program

REDUCTIONS: dict[str, Any] = {
    "add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum,
    "logical_and": np.logical_and, "logical_or": np.logical_or}
SEARCHES: dict[str, Any] = {"argmax": np.argmax, "argmin": np.argmin}


class Ref:
    """A value of the program. ``weak`` marks a Python number, which adopts the dtype it meets."""

    __slots__ = ("value", "weak")
    value: Any

    def __init__(self, value: Any, weak: bool = False) -> None:
        self.value, self.weak = value if isinstance(value, tuple) else np.asarray(value), weak

    @property
    def shape(self) -> Shape:
        """Size along each axis."""
        return self.value.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self.value.dtype

    def __repr__(self) -> str:
        return f"Ref({self.value!r})"


def refuse(statement: str, why: str) -> NoReturn:
    """Raise the error for a statement that breaks a promise of the language."""
    raise RuleError(f"the statement {statement} {why}; correct the lower rule that wrote it")


def agree(statement: str, xs: Sequence[Ref], dtypes: bool = True) -> None:
    """Operands of one statement have equal shapes, and equal dtypes where they are combined."""
    if len({x.shape for x in xs}) > 1:
        refuse(statement, f"has operands of shapes {', '.join(str(x.shape) for x in xs)}")
    if dtypes and len({x.dtype for x in xs}) > 1:
        refuse(statement, f"has operands of dtypes {', '.join(str(x.dtype) for x in xs)}")


def strided(statement: str, x: Any, index: Index, shape: Shape, writeable: bool = False) -> Any:
    """The elements ``x[index(i)]`` for all i of ``shape``, without a copy; none may leave ``x``."""
    if wrong := outside(index, x.shape, shape):
        refuse(statement, wrong)
    strides, start = [0] * len(shape), []
    for stride, (offset, terms) in zip(x.strides, index, strict=True):
        start.append(slice(offset, None))
        for d, step in terms:
            strides[d] += step * stride
    if not prod(shape):
        return np.empty(shape, x.dtype)
    return as_strided(x[(*start, ...)], shape, strides, writeable=writeable)


def checked_indices(statement: str, indices: Sequence[Ref], shape: Shape) -> tuple[Any, ...]:
    """The index arrays, one for each axis of ``shape``, in range and of one shape."""
    if len(indices) != len(shape):
        refuse(statement, f"has {len(indices)} index arrays for shape {shape}")
    agree(statement, indices)
    for i, n in zip(indices, shape, strict=True):
        if i.dtype.kind not in "iu":
            refuse(statement, f"has an index array of {i.dtype}")
        if i.value.size and (i.value.min() < 0 or i.value.max() >= n):
            refuse(statement, f"has an index outside 0 to {n - 1}")
    return tuple(i.value for i in indices)


class NumpyBuilder:
    """Runs statements on ``arguments``, which the statement ``input`` hands out in order."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = iter(arguments)

    # ---- sources

    def input(self, known: Any) -> Ref:
        """The next argument, which must have the Aval ``known``.

        A Python number may be held in an array, as between the turns of a loop.
        """
        value = next(self.arguments)
        got = aval_of(value)
        if got != known and got != Aval(known.shape, known.dtype):
            refuse("input", f"got {got} where {known} is expected")
        return Ref(value, getattr(known, "weak", False))

    def const(self, value: Any) -> Ref:
        """A number or an array known when the program is built."""
        return Ref(value, type(value) in (int, float, complex))

    def iota(self, shape: Shape, axis: int, dtype: Any) -> Ref:
        """The index along ``axis``."""
        line = np.arange(shape[axis], dtype=dtype)
        return Ref(np.broadcast_to(line.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape))

    # ---- element by element

    def elementwise(self, function: str, *xs: Ref) -> Ref:
        """A scalar function of the table, on operands of one shape and dtype."""
        scalar = MATHS[function]
        if len(xs) != scalar.arity:
            refuse(function, f"has {len(xs)} operands, not {scalar.arity}")
        agree(function, xs)
        with np.errstate(all="ignore"):
            return Ref(scalar.numpy(*[x.value for x in xs]))

    def cast(self, x: Ref, dtype: Any) -> Ref:
        """The same numbers in another dtype; a complex one loses its imaginary part."""
        dtype = np.dtype(dtype)
        value = x.value.real if x.dtype.kind == "c" and dtype.kind != "c" else x.value
        with np.errstate(all="ignore"):
            return Ref(value.astype(dtype))

    def select(self, condition: Ref, x: Ref, z: Ref) -> Ref:
        """``x`` where the condition holds, else ``z``."""
        if condition.dtype != np.bool_:
            refuse("select", f"has a condition of {condition.dtype}")
        agree("select", (condition, x, z), dtypes=False)
        agree("select", (x, z))
        return Ref(np.where(condition.value, x.value, z.value))

    # ---- where elements come from and go to

    def view(self, x: Ref, index: Index, shape: Shape) -> Ref:
        """``out[i] = x[index(i)]``, without a copy."""
        return Ref(strided("view", x.value, index, shape))

    def pad(self, x: Ref, index: Index, shape: Shape, fill: Any) -> Ref:
        """``out[index(i)] = x[i]``, and ``fill`` where nothing is written."""
        out = np.full(shape, fill, x.dtype)
        places = strided("pad", np.arange(prod(shape)).reshape(shape), index, x.shape)
        if len(np.unique(places)) != prod(x.shape):
            refuse("pad", "writes an element twice")
        strided("pad", out, index, x.shape, writeable=True)[...] = x.value
        return Ref(out)

    def pick(self, x: Ref, indices: Sequence[Ref]) -> Ref:
        """``out[i] = x[indices[0][i], indices[1][i], ...]``."""
        return Ref(x.value[checked_indices("pick", indices, x.shape)])

    def scatter_add(self, x: Ref, indices: Sequence[Ref], shape: Shape) -> Ref:
        """``out[indices[i]] += x[i]``, from zeros."""
        agree("scatter_add", (x, *indices), dtypes=False)
        out = np.zeros(shape, x.dtype)
        np.add.at(out, checked_indices("scatter_add", indices, shape), x.value)
        return Ref(out)

    def copy(self, x: Ref, shape: Shape) -> Ref:
        """The elements in C order under another shape, in memory of their own."""
        if prod(shape) != prod(x.shape):
            refuse("copy", f"makes shape {shape} of shape {x.shape}")
        return Ref(np.array(x.value, order="C").reshape(shape))

    # ---- along axes

    def reduce(self, op: str, x: Ref, axes: Shape) -> Ref:
        """``op`` over the axes, which disappear; the dtype stays, positions are intp."""
        if op in SEARCHES:
            (axis,) = axes
            return Ref(SEARCHES[op](x.value, axis=axis))
        if op.startswith("logical") and x.dtype != np.bool_:
            refuse(op, f"is over booleans, not {x.dtype}")
        return Ref(REDUCTIONS[op].reduce(x.value, axis=axes, dtype=x.dtype))

    def scan(self, op: str, x: Ref, axis: int) -> Ref:
        """The cumulative ``op`` along one axis; the dtype stays."""
        return Ref(REDUCTIONS[op].accumulate(x.value, axis=axis, dtype=x.dtype))

    def dot(self, pairs: Sequence[tuple[Ref, Ref]]) -> Ref:
        """The sum over the pairs of (..., m, k) by (..., k, n)."""
        out: Any = None
        for x, z in pairs:
            if len(x.shape) < 2 or x.shape[:-2] != z.shape[:-2] or x.shape[-1] != z.shape[-2]:
                refuse("dot", f"has operands of shapes {x.shape} and {z.shape}")
            if x.dtype != z.dtype:
                refuse("dot", f"has operands of dtypes {x.dtype} and {z.dtype}")
            y = np.matmul(x.value, z.value)
            out = y if out is None else out + y
        return Ref(out)

    # ---- control

    def loop(self, body: Graph | Program, count: int, carries: Sequence[Ref],
             inputs: Sequence[Ref], shared: int = 0) -> Ref:
        """``count`` runs of ``body(*carries, *inputs[i])``, whose results are the next carries.

        The last ``shared`` of the inputs are given whole to every run. Further results are stacked.
        The value is a tuple: final carries, then the stacks.
        """
        state, rows = [c.value for c in carries], []
        moving = inputs[:len(inputs) - shared]
        whole = [x.value for x in inputs[len(moving):]]
        for i in range(count):
            out = body(*state, *[x.value[i] for x in moving], *whole)
            state, rest = out[:len(carries)], out[len(carries):]
            rows.append(rest)
        stacks = [np.stack(column) for column in zip(*rows, strict=True)]
        return Ref((*map(np.asarray, state), *stacks))

    def branch(self, condition: Ref, bodies: Sequence[Graph | Program], inputs: Sequence[Ref]
               ) -> Ref:
        """The results of ``bodies[condition](*inputs)``: a tuple."""
        body = bodies[bool(condition.value)]
        return Ref(tuple(map(np.asarray, body(*[x.value for x in inputs]))))

    def repeat(self, condition: Graph | Program, body: Graph | Program, carries: Sequence[Ref],
               inputs: Sequence[Ref]) -> Ref:
        """``carries = body(*carries, *inputs)`` while ``condition`` of them holds.

        The value is a tuple: the last carries, and how often the body ran.
        """
        state, rest, count = [x.value for x in carries], [x.value for x in inputs], 0
        while condition(*state, *rest)[0]:
            state, count = body(*state, *rest), count + 1
        return Ref((*map(np.asarray, state), np.asarray(count, np.int64)))

    def item(self, x: Ref | tuple[Ref, ...], index: int) -> Ref:
        """One result of a statement with several; a row may give them apart, as a tuple."""
        return x[index] if isinstance(x, tuple) else Ref(x.value[index])

    def call(self, function: Callable[..., Any], xs: Sequence[Ref], known: Any) -> Ref:
        """A function outside the language; its result has the Aval (or Avals) announced."""
        y = Ref(function(*[x.value for x in xs]))
        if (got := aval_of(y.value)) != known:
            refuse("call", f"gave {got} where {known} was announced")
        return y


def lowered(row: Any, args: Sequence[Any], params: dict[str, Any], builder: Any = None) -> Any:
    """One row, lowered and run on ``args``."""
    b = NumpyBuilder(*args) if builder is None else builder
    return row.lower(b, *[b.input(aval_of(a)) for a in args], **params).value


def run(graph: Graph, *values: Any) -> list[Any]:
    """A traced program, each of its rows lowered, on ``values``."""
    b = NumpyBuilder(*values)
    env: dict[Any, Any] = {n: b.input(n.aval) for n in graph.inputs}

    def read(n: Any) -> Ref:
        return env[n] if n in env else b.const(n.value)
    for n in graph.nodes:
        env[n] = n.prim.lower(b, *map(read, n.inputs), **n.params)
    return [read(o).value for o in graph.outputs]
