"""A user's own operation, as in PyTorch: Function with ``forward(ctx, ...)`` and ``backward``.

Each application becomes a one-off row, so it is recorded, swept, shown and differentiated as every
other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import aval_of, private
from adjoint.core.primitive import Label, Primitive
from adjoint.errors import ArgumentError, GraphError, RuleError, ShapeError
from adjoint.transforms import vjp as reverse
from adjoint.transforms.trees import zeros

from .exits import bottom, is_tracked
from .hooks import handle
from .ops.declare import shape_of
from .ops.select import stop_gradient
from .ops.several import Parts, item
from .tensors import Tensor, conjugate, untracked

if TYPE_CHECKING:
    from collections.abc import Sequence


class Context:
    """What ``forward`` leaves for ``backward``: saved tensors, attributes, ``needs_input_grad``."""

    def __init__(self, name: str = "Function") -> None:
        self._name = name
        self._saved: tuple[Any, ...] = ()
        self._kept: tuple[Any, ...] = ()  # what the saved ones held when they were saved
        self._inputs: tuple[Any, ...] = ()  # what forward was given and returned, by identity
        self._outputs: tuple[Any, ...] = ()
        self._arrays: tuple[tuple[Any, ...], tuple[Any, ...]] = ((), ())  # and their arrays
        self._boxes: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None
        self._constant: tuple[Any, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        """Keep inputs, outputs or other values; they come back as ``ctx.saved_tensors``.

        They come back as they are now: a later change in place does not reach them.
        """
        self._saved, self._kept = values, tuple(map(snapshot, values))

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Say that no gradient flows through these outputs: they come out as constants."""
        self._constant = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros (True, the default) or None for an unused output."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved; inputs and outputs come back tracked while backward is recorded."""
        if self._boxes is None:
            return tuple(map(snapshot, self._kept))
        return tuple(self._tracked(n, v) for n, v in enumerate(self._saved))

    def _tracked(self, number: int, value: Any) -> Any:
        kept, sides = self._kept[number], (self._inputs, self._outputs)
        for boxes, given, arrays in zip(self._boxes or ((), ()), sides, self._arrays, strict=True):
            for box, known, array in zip(boxes, given, arrays, strict=True):
                if value is known and holds(kept, array):
                    return handle(box) if isinstance(box, Box) else untracked(box)
        if value is None or not isinstance(value, (Tensor, np.ndarray)):
            return value
        raise GraphError(
            f"{self._name}: saved value number {number} is neither an input nor an output (or was "
            "changed in place in forward), so its dependence on the inputs is not known and a "
            "second derivative (or vmap) would be wrong. Save inputs and outputs only, and compute "
            "the rest from them in backward().")

    def _attributes(self) -> list[str]:
        return [name for name in vars(self) if not name.startswith("_") and
                name != "needs_input_grad"]


class Function:
    """An operation with its own derivative: subclass it, write ``forward`` and ``backward``.

    ``forward(ctx, *args, **params)`` gets untracked tensors and returns one or several;
    ``backward(ctx, *grads)`` returns one gradient (or None) for each argument. It can be
    differentiated again if it is written in the library's operations on those of
    ``ctx.saved_tensors`` that are inputs or outputs. Call ``apply``. ``backward`` is called once
    in a pass, and its products are its own: where a gradient of 0 may meet an infinite partial,
    ``ad.annihilate(dy, partial)`` is the product that stays 0.

    >>> class Cube(ad.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, dy):
    ...         (x,) = ctx.saved_tensors
    ...         return dy * 3.0 * x * x
    >>> ad.grad(Cube.apply)(2.0)
    12.0
    """

    @staticmethod
    def forward(ctx: Context, *args: Any, **params: Any) -> Any:
        """The value; to be written by the subclass."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> Any:
        """The gradient of each argument; to be written by the subclass."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any, **params: Any) -> Any:
        """The result for tensors, arrays and numbers; keyword arguments are not differentiated."""
        for name in ("forward", "backward"):
            if getattr(cls, name) is getattr(Function, name):
                raise ArgumentError(f"{cls.__name__} needs a static method {name}(ctx, ...)")
        call = Application(cls, args, params)
        own: dict[str, Any] = {}  # not NO_PARAMS: the sweep asks such rows once (`reverse.pull`)
        y = bind(call.row(), [private(args[n]) for n in call.at], own)
        if not call.several:
            return call.finished(0, y)
        count = len(y if isinstance(y, tuple) else y.aval)
        return tuple(call.finished(k, item(y, index=k) if isinstance(y, Box) else y[k])
                     for k in range(count))


class Application:
    """One call of ``apply``: the rules of its row share its context."""

    def __init__(self, cls: type[Function], args: Sequence[Any], params: dict[str, Any]) -> None:
        self.cls, self.params = cls, params
        self.at = [n for n, a in enumerate(args)
                   if isinstance(a, (Box, np.ndarray, np.number))]  # Python numbers stay weak
        # Arrays come with each run: holding tensors here would keep what is behind them alive.
        self.args = [None if n in self.at else a for n, a in enumerate(args)]
        self.context = Context(cls.__name__)
        self.context.needs_input_grad = tuple(isinstance(a, Box) and is_tracked(a) for a in args)
        self.several = False
        self.seen: tuple[Any, ...] = ()  # the arrays that the context is of

    def row(self) -> Primitive:
        """The one-off row."""
        name = self.cls.__name__
        return Primitive(
            name, self.run, aval=self.known, vjp=self.vjp, jvp=self.jvp,
            keeps=frozenset({"x", "y"}), effects="callback", several=self,  # pyright: ignore[reportArgumentType] - a truth known later
            label=Label(name + "({0}, ...)", rf"\mathrm{{{{{name}}}}}({{0}}, \dots)"))

    def __bool__(self) -> bool:
        """Whether there are several results: known after ``forward`` ran."""
        return self.several

    def run(self, *xs: Any) -> Any:
        """The value: ``forward`` on untracked tensors."""
        ctx, full, self.seen = self.context, list(self.args), xs
        values = tuple(x if hasattr(x, "dtype") else np.asarray(x)[()] for x in xs)
        ctx._inputs = tuple(map(untracked, values))
        for n, x in zip(self.at, ctx._inputs, strict=True):
            full[n] = x
        y = self.cls.forward(ctx, *full, **self.params)
        self.several = isinstance(y, tuple)
        ctx._outputs = y if self.several else (y,)
        arrays = tuple(map(array_of, ctx._outputs))
        ctx._arrays = (values, arrays)
        return arrays if self.several else arrays[0]

    def known(self, *avals: Any) -> Any:
        """The shape of the result, found by running ``forward`` on zeros."""
        return aval_of(self.run(*[np.zeros(a.shape, a.dtype)[()] for a in avals]))

    def finished(self, k: int, y: Any) -> Any:
        """Result ``k``; a constant if ``forward`` marked it so."""
        marked = any(self.context._outputs[k] is c for c in self.context._constant)
        return stop_gradient(y) if marked else y

    def vjp(self, dy: Any, y: Any, *xs_needs: Any) -> tuple[Any, ...]:
        """The pullback: ``backward``, with saved tensors as Boxes while the sweep is recorded."""
        *xs, needs = xs_needs
        ctx, ys = self.context, outputs_of(y)
        dys: Any = dy if isinstance(dy, Parts) else (dy,)
        if ctx._materialize:
            dys = [zeros(v) if d is None else d for d, v in zip(dys, ys, strict=True)]
        recorded = any(isinstance(v, Box) for v in (*dys, *ys, *xs))
        if recorded:
            self.check_attributes(needs)
        fresh = all(map(same, map(bottom, xs), self.seen))
        if not fresh and ctx._attributes():
            raise GraphError(
                f"{self.cls.__name__}: ctx.{ctx._attributes()[0]} was computed from other values "
                "than this backward pass is for (vmap runs forward once for each element). Save "
                "tensors with ctx.save_for_backward, and compute the rest from them in backward().")
        ctx._boxes = (tuple(xs), ys) if recorded or not fresh else None
        try:
            dys = [None if d is None else conjugate(d) for d in dys]
            parts = self.cls.backward(ctx, *[
                d if d is None else handle(d) if isinstance(d, Box) else untracked(d)
                for d in dys])  # handles of its own: a change in place reaches no other cotangent
        finally:
            ctx._boxes = None
        return self.checked(parts, xs, needs)

    def checked(self, parts: Any, xs: Sequence[Any], needs: Sequence[bool]) -> tuple[Any, ...]:
        """One gradient for each array argument; a wrong number or shape is an error."""
        parts = tuple(parts) if isinstance(parts, (tuple, list)) else (parts,)
        if len(parts) == len(self.args):
            parts = tuple(parts[n] for n in self.at)
        if len(parts) != len(self.at):
            raise RuleError(
                f"{self.cls.__name__}.backward returned {len(parts)} gradients; forward took "
                f"{len(self.args)} arguments. Return one for each, None where there is none.")
        return tuple(self.fitting(k, dx, x) if need and dx is not None else None
                     for k, (dx, x, need) in enumerate(zip(parts, xs, needs, strict=True)))

    def fitting(self, k: int, dx: Any, x: Any) -> Any:
        """The gradient of array argument ``k`` as the sweep carries it."""
        dx = dx if is_tracked(dx) else bottom(private(dx))
        dx = dx if hasattr(dx, "shape") else np.asarray(dx)[()]
        ctx = self.context
        if any(dx is bottom(v) for v in (*ctx._kept, *ctx._inputs, *ctx._outputs)):
            dx = +dx  # a gradient shares no memory with what was saved
        if shape_of(dx) != shape_of(x):
            raise ShapeError(
                f"{self.cls.__name__}.backward: gradient {k} has shape {shape_of(dx)}, its "
                f"argument {shape_of(x)}; undo broadcasting with ad.unbroadcast(grad, shape)")
        return conjugate(dx)

    def check_attributes(self, needs: Sequence[bool]) -> None:
        """An error for arrays left on ctx, once the backward pass is itself differentiated."""
        ctx = self.context
        fixed = [v for v, need in zip(ctx._inputs, needs, strict=True) if not need]
        for name in ctx._attributes():
            value = getattr(ctx, name)
            array = isinstance(value, (np.ndarray, np.generic, Box)) and aval_of(value).inexact
            if array and not any(value is v for v in fixed):
                raise GraphError(
                    f"{self.cls.__name__}: backward() would read ctx.{name}, whose dependence on "
                    "the inputs is not known, and a second derivative would be wrong. Save inputs "
                    "and outputs with ctx.save_for_backward, and compute the rest from them.")

    def jvp(self, dxs: Any, y: Any, *xs: Any) -> Any:
        """Forward mode of what only knows its pullback: the transpose of the (linear) pullback."""
        moving = [n for n, dx in enumerate(dxs) if dx is not None]
        needs = tuple(n in moving for n in range(len(xs)))

        def pullback(dy: Any) -> Any:
            parts = self.vjp(Parts(dy) if isinstance(dy, tuple) else dy, y, *xs, needs)
            return tuple(dxs[n] * 0.0 if parts[n] is None else parts[n] * 1.0 for n in moving)
        at = tuple(map(zeros, outputs_of(y))) if self.several else zeros(y)
        _, transposed = reverse(pullback, at)
        (dy,) = transposed(tuple(conjugate(dxs[n]) for n in moving))
        return Parts(map(conjugate, dy)) if self.several else conjugate(dy)


def snapshot(x: Any) -> Any:
    """A value that later changes in place of ``x`` do not reach."""
    return handle(x) if isinstance(x, Box) else private(x)


def holds(kept: Any, array: Any) -> bool:
    """Whether a snapshot was made of this array, unchanged."""
    return same(bottom(kept), array) if isinstance(kept, np.ndarray) else bottom(kept) is array


def same(x: Any, z: Any) -> bool:
    """Whether two arrays hold the same values (a graph may have its own copy of one)."""
    return x is z or (not isinstance(x, Box) and aval_of(x) is aval_of(z)
                      and np.array_equal(x, z, equal_nan=aval_of(x).inexact))


def outputs_of(y: Any) -> tuple[Any, ...]:
    """The outputs as a tuple of arrays or Boxes."""
    if isinstance(y, Box) and isinstance(y.aval, tuple):
        return tuple(item(y, index=k) for k in range(len(y.aval)))
    return y if isinstance(y, tuple) else (y,)


def array_of(y: Any) -> Any:
    """What forward returned, as an array."""
    value = bottom(y)
    return value if isinstance(value, (np.ndarray, np.generic, Box)) else np.asarray(value)[()]
