"""Whole Jacobians and Hessians, as one batched pass of reverse or forward mode."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval_of
from adjoint.errors import ArgumentError, DTypeError, ShapeError
from adjoint.ops.shape import moveaxis, reshape, swapaxes
from adjoint.tensors import Tensor, conjugate

from .batching import vmap
from .gradients import Recorded, grad, jvp
from .trees import (
    check_function,
    differentiable,
    distinct,
    flatten,
    kind_like,
    selected,
    trees_of,
    unflatten,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYOUTS = ("array", "numerator", "denominator")


def basis(x: Any) -> Any:
    """All directions of ``x``: shape (size, *shape)."""
    known = aval_of(x)
    return np.eye(known.size, dtype=known.dtype).reshape(known.size, *known.shape)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, layout: str = "array",
             mode: str = "auto", has_aux: bool = False) -> Callable[..., Any]:
    """All partial derivatives of all results, by one batched pass.

        J[k, i] = df_k/dx_i

    ``layout="array"`` has shape(result) + shape(argument). ``"numerator"`` is two-dimensional as on
    slides, a vector being a column: (1, D) for a scalar by a vector, (K, D) for a vector by a
    vector, (C, B) for a scalar by a (B, C) matrix; ``"denominator"`` is its transpose. ``mode`` is
    "reverse" (a pass per result), "forward" (a pass per variable), or "auto", the shorter: f runs
    once to count its results, and once more if that is forward. Trees of results hold trees of
    arguments. For complex arguments f is taken to be holomorphic, J = df/dz;
    a real result of them has the row df/dRe z - i df/dIm z, the conjugate of its gradient. Raises
    ShapeError where a layout has no place for the axes.

    >>> ad.jacobian(lambda x: x ** 2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_function(f, "ad.jacobian(f)")
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
    if mode not in ("auto", "reverse", "forward"):
        raise ArgumentError(f'mode is "auto", "reverse" or "forward", not {mode!r}')

    @functools.wraps(f)
    def whole(*args: Any, **kwargs: Any) -> Any:
        numbers = selected(argnums, len(args))
        run: Any = None
        if mode != "forward":
            run = Recorded(f, args, numbers, "ad.jacobian(f)", has_aux, kwargs)
        if run is not None and (mode == "reverse" or is_wide(run)):
            out = by_rows(run, layout)
        else:
            run = Columns(f, args, numbers, has_aux, kwargs)
            out = by_columns(run, layout)
        out = picked(out, not isinstance(argnums, (tuple, list)))
        return (out, run.aux) if has_aux else out
    return whole


def is_wide(run: Recorded) -> bool:
    """Whether there are no more results than variables."""
    return sum(aval_of(r).size for r in run.results) <= sum(aval_of(v).size for v in run.values)


def picked(out: Any, single: bool) -> Any:
    """The result tree with one entry per argument, or the only one itself."""
    structure, rows = out
    return unflatten(structure, [row[0] if single else tuple(row) for row in rows])


def by_rows(run: Recorded, layout: str) -> Any:
    """Reverse mode: the pullback of every unit cotangent, batched."""
    rows: list[list[Any]] = []
    for k, y in enumerate(run.results):
        out, blocks = aval_of(y).shape, []
        for dx, v, x in zip(pulled(run, k), run.values, run.given, strict=True):
            into = aval_of(v).shape
            blocks.append(shaped(reshape(dx, out + into), out, into, layout, x))
        rows.append(trees_of(run.structures, distinct(blocks)))
    return run.structure, rows


def pulled(run: Recorded, k: int) -> list[Any]:
    """For each leaf argument the gradients of all elements of result ``k``, stacked."""
    size = aval_of(run.results[k]).size

    def pull(dy: Any) -> list[Any]:
        found = run.pull([dy if j == k else None for j in range(len(run.results))])
        return [zeros(v) if dx is None else conjugate(dx)  # df/dz, as forward mode gives it
                for v, dx in zip(run.values, found, strict=True)]
    if run.nodes[k] is None or not size:
        return [np.zeros((size, *aval_of(v).shape), aval_of(v).dtype) for v in run.values]
    rows = basis(run.results[k])
    parts = vmap(pull)(rows)
    if is_complex(run.results[k]) and not all(map(is_complex, run.values)):
        # What reaches a real argument is the real part of dy J, so the imaginary one is asked for.
        parts = [dx if is_complex(v) else dx + 1j * dz
                 for v, dx, dz in zip(run.values, parts, vmap(pull)(1j * rows), strict=True)]
    return parts


def is_complex(x: Any) -> bool:
    """Whether a value is complex."""
    return aval_of(x).dtype.kind == "c"


class Columns:
    """Forward mode: the tangent of every unit direction of each argument, batched."""

    def __init__(self, f: Any, args: Any, numbers: Any, has_aux: bool, kwargs: Any) -> None:
        self.f, self.args, self.numbers, self.kwargs = f, args, numbers, kwargs
        self.has_aux, self.aux = has_aux, None
        flat = [flatten(args[n]) for n in numbers]
        self.structures = [s for _, s in flat]
        self.given = [x for leaves, _ in flat for x in leaves]
        self.values = [differentiable(x, "ad.jacobian(f)", "ad.jacobian(f)({0})")
                       for x in self.given]
        self.primals = tuple([x if isinstance(x, Tensor) else v  # which is changed as a tensor is
                              for x, v in zip(self.given, self.values, strict=True)])
        self.value: Any = None

    def call(self, *leaves: Any) -> Any:
        """``f`` as a function of the leaves of the arguments that are differentiated."""
        inner = list(self.args)
        for n, tree in zip(self.numbers, trees_of(self.structures, leaves), strict=True):
            inner[n] = tree
        return self.f(*inner, **self.kwargs)

    def push(self, k: int, dx: Any) -> Any:
        """The tangent of all results as leaf argument ``k`` moves by ``dx``."""
        moves = tuple(dx if j == k else zeros(v) for j, v in enumerate(self.values))
        self.value, tangent, *aux = jvp(self.call, self.primals, moves, self.has_aux)
        self.aux = aux[0] if aux else None
        return tangent

    def pushed(self, k: int) -> list[Any]:
        """For each result its derivatives by all elements of leaf argument ``k``, stacked."""
        v = self.values[k]
        if aval_of(v).size:
            columns = flatten(vmap(lambda dx: self.push(k, dx))(basis(v)))[0]
            if is_complex(v) and not all(map(is_complex, columns)):
                # A real result is not holomorphic: its row has both directions, as `grad` has.
                turned = flatten(vmap(lambda dx: self.push(k, dx))(1j * basis(v)))[0]
                columns = [dy if is_complex(dy) else dy - 1j * dz
                           for dy, dz in zip(columns, turned, strict=True)]
            return columns
        ys = flatten(self.push(k, zeros(v)))[0]
        return [np.zeros((0, *aval_of(y).shape), aval_of(y).dtype) for y in ys]


def by_columns(columns: Columns, layout: str) -> Any:
    """The blocks of forward mode, as `by_rows` gives them."""
    stacks = [columns.pushed(k) for k in range(len(columns.values))]
    results, structure = flatten(columns.value)
    rows: list[list[Any]] = []
    for j, y in enumerate(results):
        out, blocks = aval_of(y).shape, []
        for stack, v, x in zip(stacks, columns.values, columns.given, strict=True):
            into = aval_of(v).shape
            block, n, m = reshape(stack[j], into + out), len(into), len(out)
            block = moveaxis(block, tuple(range(n)), tuple(range(m, m + n)))
            blocks.append(shaped(block, out, into, layout, x))
        rows.append(trees_of(columns.structures, distinct(blocks)))
    return structure, rows


def shaped(block: Any, out: tuple[int, ...], into: tuple[int, ...], layout: str, x: Any) -> Any:
    """One block of a Jacobian in the layout that was asked for, in the kind of its argument."""
    if layout == "array":
        return kind_like(x)(block)
    if len(out) > 1 or len(into) > 2 or (len(into) == 2 and out):
        raise ShapeError(f"layout={layout!r} is two-dimensional: a result of shape {out} by an "
                         f'argument of shape {into} does not fit; use layout="array"')
    matrix = len(into) == 2
    shape = into if matrix else (out[0] if out else 1, into[0] if into else 1)
    block = reshape(block, shape)
    return kind_like(x)(swapaxes(block, 0, 1) if (layout == "numerator") == matrix else block)


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0,
            has_aux: bool = False) -> Callable[..., Any]:
    """All second derivatives of a function with a scalar result, in one batched pass.

        H[i, j] = d^2 f / dx_i dx_j

    Forward over reverse mode. Shape: shape(argument) + shape(argument). Raises ShapeError if the
    result is not a scalar, and DTypeError for complex arguments, of which it is no single array.

    >>> ad.hessian(lambda x: (x ** 3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    whole = jacobian(grad(f, argnums, has_aux), argnums, mode="forward", has_aux=has_aux)

    @functools.wraps(f)
    def second(*args: Any, **kwargs: Any) -> Any:
        for n in selected(argnums, len(args)):
            if any(is_complex(x) for x in flatten(args[n])[0]
                   if isinstance(x, complex) or hasattr(x, "dtype")):
                raise DTypeError("ad.hessian(f) of a complex argument: its second derivatives are "
                                 "those by real and imaginary part. Write f as a function of both, "
                                 "f(x, y) with z = x + 1j * y, and take ad.hessian(f, (0, 1))")
        return whole(*args, **kwargs)
    return second
