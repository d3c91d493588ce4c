"""Reverse and forward mode as functions of functions: vjp, grad, value_and_grad, jvp, linearize, hvp."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Level
from adjoint.core.forward import Dual, dual, spread
from adjoint.core.node import Leaf, aval_of, leaf
from adjoint.core.reverse import order, sweep, tracked
from adjoint.errors import ArgumentError, DTypeError, ShapeError, UnusedInputError
from adjoint.modes import tape
from adjoint.tensors import Tensor, conjugate

from .trees import (
    check_match, differentiable, flatten, kind_like, kind_of_all, lift, selected, unflatten, zeros)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Function = Any


class Recorded:
    """One run of a function with its arguments tracked at a level of their own."""

    def __init__(self, f: Function, args: Sequence[Any], numbers: Sequence[int], where: str, has_aux: bool,
                 kwargs: dict[str, Any]) -> None:
        self.args = args
        flat = {n: flatten(args[n]) for n in numbers}
        self.given = [x for n in numbers for x in flat[n][0]]
        example = f"{where}({{0}})" if len(args) == 1 else f"{where}(..., {{0}}, ...)"
        self.values = [differentiable(x, where, example) for x in self.given]
        self.structures = [flat[n][1] for n in numbers]
        with Level() as level:
            self.leaves: list[Leaf] = [leaf(v) for v in self.values]
            boxes = iter([tracked(Tensor, v, level, n) for v, n in zip(self.values, self.leaves, strict=True)])
            inner = [unflatten(flat[n][1], [next(boxes) for _ in flat[n][0]]) if n in flat else a
                     for n, a in enumerate(args)]
            out = f(*inner, **kwargs)
            self.aux = None
            if has_aux:
                if not isinstance(out, tuple) or len(out) != 2:
                    raise ArgumentError("has_aux=True: the function returns a pair (result, aux)")
                out, self.aux = out[0], self.stripped(out[1], level)
            self.outputs, self.structure = flatten(out)
            self.nodes = [o.node if isinstance(o, Tensor) and o.level == level else None for o in self.outputs]
            self.results = [o.value if isinstance(o, Tensor) and o.level == level else o for o in self.outputs]

    @staticmethod
    def stripped(tree: Any, level: int) -> Any:
        """A tree without the boxes of this level."""
        leaves, structure = flatten(tree)
        return unflatten(structure, [x.value if isinstance(x, Tensor) and x.level == level else x for x in leaves])

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """The cotangent of each leaf argument; None where the results do not depend on it."""
        seeds: dict[Any, Any] = {}
        for n, dy in zip(self.nodes, cotangents, strict=True):
            if n is not None:
                dy = conjugate(dy)
                seeds[n] = seeds[n] + dy if n in seeds else dy
        with np.errstate(all="ignore"):
            found = sweep(seeds, retain=True)
        return [conjugate(found[n]) if n in found else None for n in self.leaves]

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """One tree of gradients for each differentiated argument, in the kind of its values."""
        filled = [kind_like(x)(zeros(v) if dx is None else own(dx))
                  for x, v, dx in zip(self.given, self.values, leaves, strict=True)]
        rest = iter(filled)
        return [unflatten(s, [next(rest) for _ in range(s.num_leaves)]) for s in self.structures]


def own(dx: Any) -> Any:
    """A gradient that shares no memory with another."""
    return dx.copy() if isinstance(dx, np.ndarray) and dx.base is not None else dx


def as_cotangent(dy: Any, y: Any) -> Any:
    """A cotangent in the dtype of its primal."""
    dy, known = lift(dy), aval_of(y)
    if aval_of(dy).dtype == known.dtype:
        return dy
    from adjoint.ops.arithmetic import astype
    return astype(dy, known.dtype)


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f``, and the function that pulls a cotangent back through it: reverse mode.

        pullback(dy) = (dy J_1, dy J_2, ...),    J_k = df/dx_k

    Arguments and results are pytrees. The pullback can be called again; it returns one cotangent for each argument.
    With ``has_aux`` f returns (result, aux) and vjp (value, pullback, aux).

    >>> y, pullback = ad.vjp(lambda x, z: x * z, 2.0, 3.0)
    >>> y, pullback(1.0)
    (6.0, (3.0, 2.0))
    """
    run = Recorded(f, primals, range(len(primals)), "ad.vjp(f, x)", has_aux, {})
    kind = kind_of_all(run.given)
    value = unflatten(run.structure, [kind(r) for r in run.results])

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        check_match("the cotangent", cotangent, value)
        parts = [as_cotangent(dy, y) for dy, y in zip(flatten(cotangent)[0], run.results, strict=True)]
        return tuple(run.arguments(run.pull(parts)))
    return (value, pullback, run.aux) if has_aux else (value, pullback)


def scalar_seed(run: Recorded, name: str) -> Any:
    """The cotangent 1 of a scalar result; an error for anything else."""
    if len(run.results) != 1 or aval_of(run.results[0]).shape != ():
        shapes = ", ".join(str(aval_of(r).shape) for r in run.results)
        raise ShapeError(f"{name} needs a function with one scalar result; this one returned shape {shapes}. Reduce it "
                         "(.sum(), .mean()), or use ad.jacobian or ad.vjp.")
    known = aval_of(run.results[0])
    if known.dtype.kind == "c":
        raise DTypeError(f"{name} needs a real result; of a complex one take .real, .imag or abs first")
    return np.ones((), known.dtype if known.inexact else float)[()]


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False,
                   on_unused: str = "zeros") -> Callable[..., Any]:
    """The function that computes ``f`` and its gradient in one pass: ``(value, gradient)``.

    ``argnums`` says which arguments (an int, or several); with ``has_aux`` the value is (result, aux). An argument that
    the result does not depend on has gradient 0, or is an error with ``on_unused="error"``.

    >>> ad.value_and_grad(lambda x: x ** 2)(3.0)
    (9.0, 6.0)
    """
    if on_unused not in ("zeros", "error"):
        raise ArgumentError(f'on_unused is "zeros" or "error", not {on_unused!r}')

    @functools.wraps(f)
    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        name = f"ad.grad({getattr(f, '__name__', 'f') if getattr(f, '__name__', '') != '<lambda>' else 'f'})"
        numbers = selected(argnums, len(args))
        run = Recorded(f, args, numbers, name, has_aux, kwargs)
        leaves = run.pull([scalar_seed(run, name)])
        if on_unused == "error" and any(dx is None for dx in leaves):
            unused = [str(aval_of(v)) for v, dx in zip(run.values, leaves, strict=True) if dx is None]
            raise UnusedInputError(f'{name}: the result does not depend on {", ".join(unused)} (on_unused="error")')
        gradients = run.arguments(leaves)
        value = kind_of_all(run.given)(run.results[0])
        gradient = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, run.aux), gradient) if has_aux else (value, gradient)
    return with_gradient


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False, on_unused: str = "zeros"
         ) -> Callable[..., Any]:
    """The gradient of a function with a scalar result, by reverse mode: one pass for all variables.

        grad(f)(x)_i = df/dx_i

    The gradient has the structure, shapes and kind of the argument. For a complex argument it is the direction of
    steepest ascent, df/dRe x + i df/dIm x (PyTorch's convention). Applied again it gives higher orders.

    >>> ad.grad(lambda x: np.sin(x))(0.0)
    1.0
    """
    both = value_and_grad(f, argnums, has_aux, on_unused)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, dx = both(*args, **kwargs)
        return (dx, value[1]) if has_aux else dx
    return gradient


# ---- forward mode

def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """The value of ``f`` and its derivative in one direction: forward mode, one pass for all results.

        (f(x), sum_k J_k dx_k)

    >>> ad.jvp(lambda x, z: x * z, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError("ad.jvp(f, primals, tangents): both are tuples with one entry for each argument of f; "
                            "write ad.jvp(f, (x,), (dx,))")
    check_match("the tangents", list(tangents), list(primals))
    given, structure = flatten(tuple(primals))
    values = [differentiable(x, "ad.jvp(f, primals, tangents)", "ad.jvp(f, ({0},), (1.0,))") for x in given]
    moves = [as_cotangent(dx, x) for dx, x in zip(flatten(tuple(tangents))[0], values, strict=True)]
    with Level() as level:
        out = f(*unflatten(structure, [dual(x, dx, level) for x, dx in zip(values, moves, strict=True)]))
        aux = None
        if has_aux:
            out, aux = out
            leaves, s = flatten(aux)
            aux = unflatten(s, [x.value if isinstance(x, Dual) and x.level == level else x for x in leaves])
    results, s = flatten(out)
    kind = kind_of_all(given)
    mine = [isinstance(r, Dual) and r.level == level for r in results]
    value = unflatten(s, [kind(r.value if m else r) for r, m in zip(results, mine, strict=True)])
    tangent = unflatten(s, [kind(own(r.tangent) if m else zeros(r)) for r, m in zip(results, mine, strict=True)])
    return (value, tangent, aux) if has_aux else (value, tangent)


def linearize(f: Function, *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``f`` and its derivative there as a linear function of the tangents, which does not run f again.

        f(x), (dx -> J dx)

    >>> y, push = ad.linearize(np.sin, 0.0)
    >>> push(2.0)
    2.0
    """
    with tape():  # everything is kept: a jvp rule may read what its vjp does not
        run = Recorded(f, primals, range(len(primals)), "ad.linearize(f, x)", False, {})
    nodes = order([n for n in run.nodes if n is not None])[::-1]
    kind = kind_of_all(run.given)

    def push(*tangents: Any) -> Any:
        check_match("the tangents", list(tangents), list(primals))
        moves = [as_cotangent(dx, v) for dx, v in zip(flatten(tangents)[0], run.values, strict=True)]
        found: dict[Any, Any] = dict(zip(run.leaves, moves, strict=True))
        for n in nodes:
            dxs = [found.get(i) for i in n.inputs]
            if any(dx is not None for dx in dxs):
                with np.errstate(all="ignore"):
                    dy = n.prim.jvp(dxs, n.value, *[i.value for i in n.inputs], **n.params)
                if dy is not None:
                    found[n] = spread(dy, n.aval, n.prim)
        parts = [kind(own(found[n]) if n in found else zeros(r)) for n, r in zip(run.nodes, run.results, strict=True)]
        return unflatten(run.structure, parts)
    return unflatten(run.structure, [kind(r) for r in run.results]), push


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector, without forming it: forward over reverse mode.

        H(x) dx,    H_ij = d^2 f / dx_i dx_j

    One result for each argument: a tree if there is one argument, else a tuple.

    >>> ad.hvp(lambda x: (x ** 3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    numbers: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(f, numbers), primals, tangents)[1]


