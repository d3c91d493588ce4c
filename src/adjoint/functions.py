"""A user's own operation, as in PyTorch: a Function with ``forward(ctx, ...)`` and ``backward(ctx, ...)``.

Each application becomes a one-off row, so it is recorded, swept, shown and differentiated as every other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import Label, Primitive
from adjoint.errors import ArgumentError, GraphError, RuleError, ShapeError

from .ops.declare import shape_of
from .ops.several import Parts, item
from .tensors import Tensor, bottom, is_tracked, untracked

if TYPE_CHECKING:
    from collections.abc import Sequence


class Context:
    """What ``forward`` leaves for ``backward``: ``save_for_backward``, attributes, and ``needs_input_grad``."""

    def __init__(self, name: str = "Function") -> None:
        self._name = name
        self._saved: tuple[Any, ...] = ()
        self._inputs: tuple[Any, ...] = ()  # what forward was given and what it returned, by identity
        self._outputs: tuple[Any, ...] = ()
        self._boxes: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        """Keep inputs, outputs, or other values for ``backward``; they come back as ``ctx.saved_tensors``."""
        self._saved = values

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved. While the backward pass is itself recorded, inputs and outputs come back tracked."""
        if self._boxes is None:
            return self._saved
        return tuple(self._tracked(n, v) for n, v in enumerate(self._saved))

    def _tracked(self, number: int, value: Any) -> Any:
        assert self._boxes is not None
        for boxes, given in zip(self._boxes, (self._inputs, self._outputs), strict=True):
            for box, known in zip(boxes, given, strict=True):
                if value is known:
                    return box
        if value is None or not isinstance(value, (Tensor, np.ndarray)):
            return value
        raise GraphError(
            f"{self._name}: saved value number {number} is neither an input nor an output, so its dependence on the "
            "inputs is not known and a second derivative would be wrong. Save inputs and outputs only, and compute "
            "the rest from them in backward().")


class Function:
    """An operation with its own derivative: subclass it, write ``forward`` and ``backward``, call ``apply``.

    ``forward(ctx, *args, **params)`` gets untracked tensors and returns one or several; ``backward(ctx, *grads)``
    returns one gradient (or None) for each argument. It can be differentiated again if it is written in the library's
    operations on ``ctx.saved_tensors`` that are inputs or outputs.

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
        """Apply the operation to tensors, arrays and numbers; keyword arguments are not differentiated."""
        for name in ("forward", "backward"):
            if getattr(cls, name) is getattr(Function, name):
                raise ArgumentError(f"{cls.__name__} needs a static method {name}(ctx, ...)")
        at = [n for n, a in enumerate(args) if isinstance(a, (Box, np.ndarray, float, np.number))]
        values = [args[n] for n in at]
        row = make_row(cls, args, at, params)
        y = bind(row, values, {})
        if not row.several:
            return y
        count = len(y if isinstance(y, tuple) else y.aval)
        return tuple(item(y, index=k) if isinstance(y, Box) else y[k] for k in range(count))


def make_row(cls: type[Function], args: Sequence[Any], at: Sequence[int], params: dict[str, Any]) -> Primitive:
    """The row of one application: its own context, shared by forward and backward."""
    ctx = Context(cls.__name__)
    ctx.needs_input_grad = tuple(isinstance(a, Box) and is_tracked(a) for a in args)
    several = [False]

    def impl(*xs: Any) -> Any:
        full = list(args)
        ctx._inputs = tuple(untracked(x if hasattr(x, "dtype") else np.asarray(x)[()]) for x in xs)
        for n, x in zip(at, ctx._inputs, strict=True):
            full[n] = x
        y = cls.forward(ctx, *full, **params)
        several[0] = isinstance(y, tuple)
        ctx._outputs = y if several[0] else (y,)
        return tuple(map(bottom_of, y)) if several[0] else bottom_of(y)

    def vjp(dy: Any, y: Any, *xs_needs: Any) -> tuple[Any, ...]:
        *xs, needs = xs_needs
        recorded = any(isinstance(v, Box) for v in (dy, y, *xs))
        ys = outputs_of(y)
        dys = dy if isinstance(dy, Parts) else (dy,)
        dys = tuple(np.zeros(shape_of(v)) if d is None else d for d, v in zip(dys, ys, strict=True))
        ctx._boxes = (tuple(xs), ys) if recorded else None
        try:
            parts = cls.backward(ctx, *[d if recorded or isinstance(d, Box) else untracked(d) for d in dys])
        finally:
            ctx._boxes = None
        return checked(cls, parts, args, at, xs, needs)
    return Primitive(cls.__name__, impl, vjp=vjp, jvp=forward_by_transpose(vjp), aval=traced(impl),
                     keeps=frozenset({"x", "y"}), several=Several(several),
                     label=Label(cls.__name__ + "({0}, ...)", rf"\mathrm{{{{{cls.__name__}}}}}({{0}}, \dots)"))


class Several:
    """Whether the row has several results: known after ``forward`` ran."""

    def __init__(self, seen: list[bool]) -> None:
        self.seen = seen

    def __bool__(self) -> bool:
        return self.seen[0]


def outputs_of(y: Any) -> tuple[Any, ...]:
    """The outputs as a tuple of arrays or Boxes."""
    if isinstance(y, Box) and isinstance(y.aval, tuple):
        return tuple(item(y, index=k) for k in range(len(y.aval)))
    return y if isinstance(y, tuple) else (y,)


def bottom_of(y: Any) -> Any:
    """What forward returned, as an array."""
    value = bottom(y)
    return value if isinstance(value, (np.ndarray, np.generic, Box)) else np.asarray(value)[()]


def checked(cls: type[Function], parts: Any, args: Sequence[Any], at: Sequence[int], xs: Sequence[Any],
            needs: Sequence[bool]) -> tuple[Any, ...]:
    """The gradients that backward returned, one for each array argument; a wrong number or shape is an error."""
    parts = parts if isinstance(parts, tuple) else (parts,)
    if len(parts) not in (len(args), len(at)):
        raise RuleError(f"{cls.__name__}.backward returned {len(parts)} gradients; forward took {len(args)} arguments. "
                        "Return one for each, None where there is none.")
    if len(parts) == len(args):
        parts = tuple(parts[n] for n in at)
    out = []
    for k, (dx, x, need) in enumerate(zip(parts, xs, needs, strict=True)):
        if dx is None or not need:
            out.append(None)
            continue
        dx = dx.value if isinstance(dx, Tensor) and dx.level == 0 and dx.node is None else dx
        dx = dx if hasattr(dx, "shape") else np.asarray(dx)[()]
        if shape_of(dx) != shape_of(x):
            raise ShapeError(f"{cls.__name__}.backward: gradient {k} has shape {shape_of(dx)}, its argument "
                             f"{shape_of(x)}; undo broadcasting with ad.unbroadcast(grad, shape)")
        out.append(dx)
    return tuple(out)


def forward_by_transpose(vjp: Any) -> Any:
    """Forward mode of an operation that only knows its pullback: the transpose of the (linear) pullback."""
    def jvp(dxs: Any, y: Any, *xs: Any) -> Any:
        from adjoint.transforms import vjp as reverse
        if isinstance(y, tuple):
            raise RuleError("forward mode of a Function with several results is not there; use reverse mode (ad.vjp)")
        moving = [n for n, dx in enumerate(dxs) if dx is not None]
        needs = tuple(n in moving for n in range(len(xs)))

        def pullback(dy: Any) -> Any:
            parts = vjp(dy, y, *xs, needs)
            return tuple(parts[n] * 1.0 if parts[n] is not None else dxs[n] * 0.0 for n in moving)
        known = aval_of(y)
        _, transposed = reverse(pullback, np.zeros(known.shape, known.dtype))
        return transposed(tuple(dxs[n] for n in moving))[0]
    return jvp


def traced(impl: Any) -> Any:
    """The shape of the result, found by running forward on zeros."""
    def known(*avals: Any) -> Any:
        return aval_of(impl(*[np.zeros(a.shape, a.dtype) for a in avals]))
    return known
