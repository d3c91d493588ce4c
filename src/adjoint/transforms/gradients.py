"""Reverse and forward mode as functions of functions: vjp, grad, jvp, linearize, hvp."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint import hooks
from adjoint.core.box import Box
from adjoint.core.careful import QUIET
from adjoint.core.forward import Dual, dual, push, spread
from adjoint.core.node import MODES, Leaf, aval_of, leaf, private, switch
from adjoint.core.reverse import order, tracked
from adjoint.errors import ArgumentError, DTypeError, RuleError, ShapeError, UnusedInputError
from adjoint.modes import sweep, tape
from adjoint.ops.arithmetic import astype
from adjoint.scalars import written_beside
from adjoint.tensors import Tensor, arrived, conjugate

from .trees import (
    Over,
    check_function,
    check_match,
    differentiable,
    distinct,
    flatten,
    kind_like,
    kind_of_all,
    lift,
    result,
    selected,
    single,
    trees_of,
    unflatten,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Function = Any


class Recorded:
    """One run of a function with its arguments tracked at a level of their own."""

    def __init__(self, f: Function, args: Sequence[Any], numbers: Sequence[int], where: str,
                 has_aux: bool, kwargs: dict[str, Any]) -> None:
        check_function(f, where)
        self.args = args
        flat = [flatten(args[n]) for n in numbers]
        self.given = [x for leaves, _ in flat for x in leaves]
        example = f"{where}({{0}})" if len(args) == 1 else f"{where}(..., {{0}}, ...)"
        self.values = [differentiable(x, where, example) for x in self.given]
        self.structures = [s for _, s in flat]
        self.leaves: list[Leaf] = [leaf(v) for v in self.values]
        with Over(self.given) as level:
            boxes = [tracked(Tensor, n.value, level, n) for n in self.leaves]
            inner = list(args)
            for n, tree in zip(numbers, trees_of(self.structures, boxes), strict=True):
                inner[n] = tree
            out, aux = with_aux(f(*inner, **kwargs), has_aux)
            self.aux = stripped(aux, level)
            self.outputs, self.structure = flatten(out)
            mine = [isinstance(o, Tensor) and o.level == level for o in self.outputs]
            self.nodes = [o.node if m else None for o, m in zip(self.outputs, mine, strict=True)]
            self.results = [result(o.value if m else o, where)
                            for o, m in zip(self.outputs, mine, strict=True)]

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """The cotangent of each leaf argument; None where the results do not depend on it.

        A None among ``cotangents`` is a structural zero: that result is left out.
        """
        seeds: dict[Any, Any] = {}
        for n, dy in zip(self.nodes, cotangents, strict=True):
            if n is not None and dy is not None:
                dy = conjugate(dy)
                seeds[n] = seeds[n] + dy if n in seeds else dy
        with np.errstate(**QUIET):  # an infinite partial is meant; the doctor names it
            found = sweep(seeds, retain=True)
        for n, dx in found.items():
            arrived(n, dx)
            for hook in hooks.of(n):
                found[n] = hook(found[n])
        return [conjugate(found[n]) if n in found else None for n in self.leaves]

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """One tree of gradients for each differentiated argument, in the kind of its values."""
        filled = distinct([zeros(v) if dx is None else dx
                           for v, dx in zip(self.values, leaves, strict=True)])
        return trees_of(self.structures, [kind_like(x)(dx)
                                          for x, dx in zip(self.given, filled, strict=True)])

    def value(self) -> Any:
        """The result in its kind, apart from what the graph holds."""
        kind = kind_of_all(self.given)
        return unflatten(self.structure, [kind(single(r)) for r in self.results])


def with_aux(out: Any, has_aux: bool) -> tuple[Any, Any]:
    """The result of a function and its aux, which is None without ``has_aux``."""
    if not has_aux:
        return out, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise ArgumentError("has_aux=True: the function returns a pair (result, aux), "
                            f"not {type(out).__name__}")
    return out


def stripped(tree: Any, level: int) -> Any:
    """A tree without the Boxes of a level."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [
        private(x.value) if isinstance(x, Box) and x.level == level else x for x in leaves])


def as_cotangent(dy: Any, y: Any) -> Any:
    """A cotangent in the dtype of its primal."""
    dy, known = lift(dy), aval_of(y)
    if aval_of(dy).dtype.kind == "c" and known.dtype.kind != "c":
        raise DTypeError("a complex tangent or cotangent of a real value; take its real part")
    return dy if aval_of(dy).dtype == known.dtype else astype(dy, known.dtype)


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f``, and the function that pulls a cotangent back through it: reverse mode.

        pullback(dy) = (dy J_1, dy J_2, ...),    J_k = df/dx_k

    Arguments and results are pytrees. The pullback can be called again; it returns one cotangent
    for each argument. With ``has_aux`` f returns (result, aux) and vjp (value, pullback, aux).
    Raises DTypeError for arguments without derivative (integers), ShapeError for a cotangent that
    has not the shape of the result.

    >>> y, pullback = ad.vjp(lambda x, z: x * z, 2.0, 3.0)
    >>> y, pullback(1.0)
    (6.0, (3.0, 2.0))
    """
    run = Recorded(f, primals, range(len(primals)), "ad.vjp(f, x)", has_aux, {})
    value = run.value()

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        check_match("the cotangent", cotangent, value)
        parts = [as_cotangent(dy, y)
                 for dy, y in zip(flatten(cotangent)[0], run.results, strict=True)]
        return tuple(run.arguments(run.pull(parts)))
    return (value, pullback, run.aux) if has_aux else (value, pullback)


def scalar_seed(run: Recorded, name: str) -> Any:
    """The cotangent 1 of a scalar result; an error for anything else."""
    shapes = ", ".join(str(aval_of(r).shape) for r in run.results)
    if not shapes:
        raise ArgumentError(f"{name}: the function returned nothing; does it lack a `return`?")
    if shapes != "()":
        raise ShapeError(f"{name} needs a function with one scalar result; this one returned shape "
                         f"{shapes}. Reduce it (.sum(), .mean()), or use ad.jacobian or ad.vjp.")
    known = aval_of(run.results[0])
    if known.dtype.kind == "c":
        raise DTypeError(f"{name} needs a real result; of a complex one take .real, .imag or abs "
                         "first")
    one = np.ones((), known.dtype if known.inexact else float)[()]
    return written_beside(run.results[0], one)


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False,
                   on_unused: str = "zeros") -> Callable[..., Any]:
    """The function that computes ``f`` and its gradient in one pass: ``(value, gradient)``.

    ``argnums`` says which arguments (an int, or several); with ``has_aux`` the value is
    (result, aux). An argument that the result does not depend on has gradient 0, or is an error
    with ``on_unused="error"``. Raises as `grad` does.

    >>> ad.value_and_grad(lambda x: x ** 2)(3.0)
    (9.0, 6.0)
    """
    check_function(f, "ad.grad(f)")
    if on_unused not in ("zeros", "error"):
        raise ArgumentError(f'on_unused is "zeros" or "error", not {on_unused!r}')
    title = getattr(f, "__name__", "f")
    name = f"ad.grad({'f' if title == '<lambda>' else title})"

    @functools.wraps(f)
    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        run = Recorded(f, args, selected(argnums, len(args)), name, has_aux, kwargs)
        leaves = run.pull([scalar_seed(run, name)])
        if on_unused == "error":
            check_used(run, leaves, name)
        gradients = run.arguments(leaves)
        gradient = tuple(gradients) if isinstance(argnums, (tuple, list)) else gradients[0]
        value = run.value()
        return ((value, run.aux), gradient) if has_aux else (value, gradient)
    return with_gradient


def check_used(run: Recorded, leaves: Sequence[Any], name: str) -> None:
    """An error if the result does not depend on an argument."""
    unused = [str(aval_of(v)) for v, dx in zip(run.values, leaves, strict=True) if dx is None]
    if unused:
        raise UnusedInputError(f"{name}: the result does not depend on {', '.join(unused)} "
                               '(on_unused="error")')


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False,
         on_unused: str = "zeros") -> Callable[..., Any]:
    """The gradient of a function with a scalar result, by reverse mode: one pass for all variables.

        grad(f)(x)_i = df/dx_i

    The gradient has the structure, shapes and kind of the argument. For a complex argument it is
    the direction of steepest ascent, df/dRe x + i df/dIm x (PyTorch's convention). Applied again it
    gives higher orders. Raises ShapeError if the result is not a scalar, DTypeError if the argument
    has no derivative (integers).

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
    """The value of ``f`` and its derivative in one direction: forward mode, in one pass.

        (f(x), sum_k J_k dx_k)

    Primals and tangents are tuples with one entry for each argument, of equal structure and shapes.
    With ``has_aux`` f returns (result, aux) and jvp (value, tangent, aux).

    >>> ad.jvp(lambda x, z: x * z, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    check_tuples("ad.jvp", f, primals, tangents)
    check_match("the tangents", tuple(tangents), tuple(primals))
    where = "ad.jvp(f, primals, tangents)"
    given, structure = flatten(tuple(primals))
    values = [differentiable(x, where, "ad.jvp(f, ({0},), (1.0,))") for x in given]
    moves = [as_cotangent(dx, x)
             for dx, x in zip(flatten(tuple(tangents))[0], values, strict=True)]
    with Over(given) as level:
        duals = [dual(x, dx, level) for x, dx in zip(values, moves, strict=True)]
        out, aux = with_aux(f(*unflatten(structure, duals)), has_aux)
        aux = stripped(aux, level)
    results, s = flatten(out)
    mine = [isinstance(r, Dual) and r.level == level for r in results]
    kind = kind_of_all(given)
    ys = [single(r.value if m else result(r, where)) for r, m in zip(results, mine, strict=True)]
    dys = distinct([r.tangent if m else zeros(r) for r, m in zip(results, mine, strict=True)])
    value, tangent = (unflatten(s, list(map(kind, parts))) for parts in (ys, dys))
    return (value, tangent, aux) if has_aux else (value, tangent)


def check_tuples(name: str, f: Any, primals: Any, tangents: Any) -> None:
    """An error unless the arguments are a function and two tuples."""
    check_function(f, name)
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError(f"{name}(f, primals, tangents): both are tuples with one entry for "
                            f"each argument of f; write {name}(f, (x,), (dx,))")


def linearize(f: Function, *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``f``, and its derivative there as a linear function that does not run f again.

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
        check_match("the tangents", tangents, primals)
        found: dict[Any, Any] = {n: as_cotangent(dx, v) for n, dx, v in zip(
            run.leaves, flatten(tangents)[0], run.values, strict=True)}
        for n in nodes:
            if n not in found and any(i in found for i in n.inputs):
                dy = moved(n, found)
                if dy is not None:
                    found[n] = dy
        parts = distinct([found[n] if n in found else zeros(r)
                          for n, r in zip(run.nodes, run.results, strict=True)])
        return unflatten(run.structure, list(map(kind, parts)))
    return run.value(), push


def moved(n: Any, found: dict[Any, Any]) -> Any:
    """The tangent of one step, from those of its inputs."""
    if n.prim.jvp is None:
        raise RuleError(f"{n.prim} has no jvp rule, so forward mode cannot pass it; use ad.vjp")
    dxs = [found.get(i) for i in n.inputs]
    dy = push(n.prim, dxs, n.value, [i.value for i in n.inputs], n.params)
    if switch.armed and (watch := MODES.get().watch) is not None:
        watch.moved(n, dxs, dy)
    return None if dy is None else spread(dy, n.aval, n.prim)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector, without forming it: forward over reverse.

        H(x) dx,    H_ij = d^2 f / dx_i dx_j

    One result for each argument: a tree if there is one argument, else a tuple.

    >>> ad.hvp(lambda x: (x ** 3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    check_tuples("ad.hvp", f, primals, tangents)
    numbers: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(f, numbers), primals, tangents)[1]
