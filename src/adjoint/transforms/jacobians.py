"""Whole Jacobians and Hessians, as one batched pass of reverse or forward mode."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval_of
from adjoint.errors import ArgumentError, ShapeError
from adjoint.ops.shape import moveaxis, reshape, swapaxes

from .batching import vmap
from .gradients import Recorded, grad, jvp
from .trees import differentiable, flatten, kind_like, selected, unflatten, zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYOUTS = ("array", "numerator", "denominator")


def basis(x: Any) -> Any:
    """All directions of ``x``: shape (size, *shape)."""
    known = aval_of(x)
    return np.eye(known.size, dtype=known.dtype).reshape(known.size, *known.shape)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, layout: str = "array", mode: str = "auto",
             has_aux: bool = False) -> Callable[..., Any]:
    """All partial derivatives of all results, by one batched pass.

        J[k, i] = df_k/dx_i

    ``layout="array"`` has shape(result) + shape(argument). ``"numerator"`` is two-dimensional as on slides, a vector
    being a column: (1, D) for a scalar by a vector, (K, D) for a vector by a vector, (C, B) for a scalar by a (B, C)
    matrix; ``"denominator"`` is its transpose. ``mode`` is "reverse" (a pass per result), "forward" (a pass per
    variable), or "auto", the shorter. Trees of results hold trees of arguments.

    >>> ad.jacobian(lambda x: x ** 2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
    if mode not in ("auto", "reverse", "forward"):
        raise ArgumentError(f'mode is "auto", "reverse" or "forward", not {mode!r}')

    @functools.wraps(f)
    def whole(*args: Any, **kwargs: Any) -> Any:
        numbers = selected(argnums, len(args))
        run = None
        if mode != "forward":
            run = Recorded(f, args, numbers, "ad.jacobian(f)", has_aux, kwargs)
            outputs = sum(aval_of(r).size for r in run.results)
            inputs = sum(aval_of(v).size for v in run.values)
        if run is not None and (mode == "reverse" or outputs <= inputs):
            out = by_rows(run, layout)
            aux = run.aux
        else:
            out, aux = by_columns(f, args, numbers, layout, has_aux, kwargs)
        out = picked(out, isinstance(argnums, int))
        return (out, aux) if has_aux else out
    return whole


def picked(out: Any, single: bool) -> Any:
    """The result tree with one entry per argument, or the only one itself."""
    structure, rows = out
    return unflatten(structure, [row[0] if single else tuple(row) for row in rows])


def by_rows(run: Recorded, layout: str) -> Any:
    """Reverse mode: the pullback of every unit cotangent, batched."""
    rows: list[list[Any]] = []
    for k, (r, n) in enumerate(zip(run.results, run.nodes, strict=True)):
        known = aval_of(r)

        def pull(dy: Any, k: int = k) -> list[Any]:
            seeds = [dy if j == k else None for j in range(len(run.results))]
            found = run.pull([np.zeros(()) if s is None else s for s in seeds]) if len(seeds) == 1 else pull_one(
                run, k, dy)
            return [zeros(v) if dx is None else dx for v, dx in zip(run.values, found, strict=True)]
        leaves = vmap(pull)(basis(r)) if n is not None and known.size else [
            np.zeros((known.size, *aval_of(v).shape), aval_of(v).dtype) for v in run.values]
        parts = [shaped(reshape(dx, (*known.shape, *aval_of(v).shape)), known.shape, aval_of(v).shape, layout, x)
                 for dx, v, x in zip(leaves, run.values, run.given, strict=True)]
        rest = iter(parts)
        rows.append([unflatten(s, [next(rest) for _ in range(s.num_leaves)]) for s in run.structures])
    return run.structure, rows


def pull_one(run: Recorded, k: int, dy: Any) -> list[Any]:
    """The pullback of result ``k`` alone."""
    nodes = run.nodes
    run.nodes = [n if j == k else None for j, n in enumerate(nodes)]
    try:
        return run.pull([dy] * len(nodes))
    finally:
        run.nodes = nodes


def by_columns(f: Any, args: Any, numbers: Any, layout: str, has_aux: bool, kwargs: Any) -> Any:
    """Forward mode: the tangent of every unit direction, batched."""
    flat = [flatten(args[n]) for n in numbers]
    given = [x for leaves, _ in flat for x in leaves]
    values = [differentiable(x, "ad.jacobian(f)", "ad.jacobian(f)({0})") for x in given]
    held: dict[str, Any] = {}

    def call(*leaves: Any) -> Any:
        rest, inner = iter(leaves), list(args)
        for n, (_, s) in zip(numbers, flat, strict=True):
            inner[n] = unflatten(s, [next(rest) for _ in range(s.num_leaves)])
        return f(*inner, **kwargs)
    columns = []
    for k, v in enumerate(values):
        def push(dx: Any, k: int = k) -> Any:
            moves = tuple(dx if j == k else zeros(w) for j, w in enumerate(values))
            out = jvp(call, tuple(values), moves, has_aux)
            if has_aux:
                held["aux"] = out[2]
            held["value"] = out[0]
            return out[1]
        columns.append(flatten(vmap(push)(basis(v)))[0])
    value = held["value"]
    results, structure = flatten(value)
    rows = []
    for j, r in enumerate(results):
        known = aval_of(r)
        parts = []
        for column, v, x in zip(columns, values, given, strict=True):
            shape = aval_of(v).shape
            block = reshape(column[j], (*shape, *known.shape))
            n = len(shape)
            block = moveaxis(block, tuple(range(n)), tuple(range(len(known.shape), len(known.shape) + n)))
            parts.append(shaped(block, known.shape, shape, layout, x))
        rest = iter(parts)
        rows.append([unflatten(s, [next(rest) for _ in range(s.num_leaves)]) for _, s in flat])
    return (structure, rows), held.get("aux")


def shaped(block: Any, out: tuple[int, ...], into: tuple[int, ...], layout: str, x: Any) -> Any:
    """One block of a Jacobian in the layout that was asked for, in the kind of its argument."""
    if layout != "array":
        if len(out) > 1 or len(into) > 2 or (len(into) == 2 and out):
            raise ShapeError(f'layout={layout!r} is two-dimensional: a result of shape {out} by an argument of shape '
                             f'{into} does not fit; use layout="array"')
        rows = out[0] if out else 1
        block = reshape(block, into) if len(into) == 2 else reshape(block, (rows, into[0] if into else 1))
        if (layout == "numerator") == (len(into) == 2):
            block = swapaxes(block, 0, 1)
    return kind_like(x)(block)


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """All second derivatives of a function with a scalar result: forward over reverse mode, in one batched pass.

        H[i, j] = d^2 f / dx_i dx_j

    Shape: shape(argument) + shape(argument). Raises ShapeError if the result is not a scalar.

    >>> ad.hessian(lambda x: (x ** 3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(f, argnums, has_aux), argnums, mode="forward", has_aux=has_aux)


