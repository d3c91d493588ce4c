"""The function under test, as a map from float leaves to float leaves.

Arguments are pytrees; integers, booleans and what is no number at all are held fixed. Plain values
are taken with untracked Tensors, which have every method that a tracked value has.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from adjoint.core.box import Box
from adjoint.errors import ArgumentError, DTypeError
from adjoint.tensors import Tensor, bottom, is_tracked, untracked
from adjoint.transforms.trees import NAMESPACE, flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = Any
NUMBERS = (bool, int, float, complex, np.generic, np.ndarray)


class Problem:
    """A function at a point: the leaves that move, how to call it, its results."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], name: str) -> None:
        self.f, self.name = f, name
        tree: Any = tuple(args)
        paths, self.leaves, self.structure = optree.tree_flatten_with_path(
            tree, namespace=NAMESPACE
        )
        values = [value_of(x) for x in self.leaves]
        self.moving = [n for n, v in enumerate(values) if v is not None and v.dtype.kind in "fc"]
        if not self.moving:
            raise DTypeError(f"ad.check({name}, ...): {nothing_moves(self.leaves)}")
        self.values = [values[n] for n in self.moving]
        self.wide = [v.astype(complex if v.dtype.kind == "c" else float) for v in self.values]
        self.names = [named(f"argument {paths[n][0]}", paths[n][1:]) for n in self.moving]
        self.sizes = [v.size for v in self.values]
        self.complex = any(v.dtype.kind == "c" for v in self.values)
        self.first_run()

    def first_run(self) -> None:
        """The value at the point, twice: a function that keeps state has no derivative to check.

        ``rounding`` is the relative rounding of the results on the widest floats, on which
        differences are taken.
        """
        out = self.run(self.values, untracked)
        paths, results, _ = optree.tree_flatten_with_path(out, namespace=NAMESPACE)
        kinds = [np.asarray(bottom(r)).dtype for r in results]
        self.outputs = [k for k, kind in enumerate(kinds) if kind.kind in "fc"]
        if not self.outputs:
            shown = ", ".join(map(str, kinds)) or "nothing"
            raise DTypeError(
                f"ad.check({self.name}, ...): the function returned {shown}, which has no "
                "derivative; return floating point numbers (mean() or astype(float), not argmax)"
            )
        self.results = [np.asarray(bottom(results[k])) for k in self.outputs]
        self.result_names = [named("result", paths[k]) for k in self.outputs]
        self.complex = self.complex or any(r.dtype.kind == "c" for r in self.results)
        first, second = joined(self.results), joined(self.plain(self.values))
        wide = self.plain(self.wide)
        self.rounding = max(float(np.finfo(r.dtype).eps) for r in wide)
        # Reductions may round differently from one memory layout to the next.
        if first.shape != second.shape or not np.allclose(
            first, second, 1e4 * self.eps, 0.0, equal_nan=True
        ):
            raise ArgumentError(
                f"ad.check({self.name}, ...): two calls with the same arguments gave different "
                "results, so the function is random or keeps state. Draw the random numbers "
                "outside, or seed the generator inside."
            )

    @property
    def eps(self) -> float:
        """The rounding of the coarsest dtype that takes part."""
        return max(float(np.finfo(v.dtype).eps) for v in [*self.values, *self.results])

    def run(self, values: Sequence[Any], wrap: Callable[[Any], Any]) -> Any:
        """The function with its moving leaves replaced."""
        leaves = list(self.leaves)
        for n, v in zip(self.moving, values, strict=True):
            leaves[n] = wrap(v)
        return self.f(*unflatten(self.structure, leaves))

    def call(self, *values: Any) -> list[Any]:
        """The float results, as they are: what the transformations differentiate."""
        results = flatten(self.run(values, lambda v: v))[0]
        return [results[k] for k in self.outputs]

    def plain(self, values: Sequence[Array]) -> list[Array]:
        """The float results on plain numbers."""
        results = flatten(
            self.run([v[()] if v.ndim == 0 else v.copy() for v in values], untracked)
        )[0]
        return [np.asarray(bottom(results[k])) for k in self.outputs]

    def along(self, direction: Sequence[Array], step: float) -> Array:
        """All results, as one vector, ``step`` away in ``direction``; NaN where it refuses."""
        try:
            out = self.plain([x + step * d for x, d in zip(self.wide, direction, strict=True)])
        except (ValueError, ArithmeticError):
            return np.full(sum(r.size for r in self.results), np.nan)
        return joined(out).astype(complex if self.complex else float)

    def imaginary(self, direction: Sequence[Array], step: float) -> Array:
        """All results ``i * step`` away: on arrays, or on tensors if methods are missing."""
        values = [(x + 1j * step * d)[()] for x, d in zip(self.wide, direction, strict=True)]
        for wrap in (lambda v: v, untracked):
            try:
                results = flatten(self.run(values, wrap))[0]
                return joined([np.asarray(bottom(results[k])) for k in self.outputs])
            except Exception as e:  # noqa: BLE001 - whatever it raises says: no complex numbers
                refused = e
        raise refused  # pyright: ignore[reportPossiblyUnbound]

    # ---- positions

    def coordinate(self, number: int) -> tuple[list[Array], str]:
        """The direction of element ``number`` of all arguments, and its name."""
        leaf, index = located(number, [v.shape for v in self.values])
        direction = [
            np.zeros(v.shape, w.dtype) for v, w in zip(self.values, self.wide, strict=True)
        ]
        direction[leaf][index] = 1.0
        return direction, at(self.names[leaf], index)

    def element(self, number: int) -> str:
        """The name of element ``number`` of all results."""
        leaf, index = located(number, [r.shape for r in self.results])
        return at(self.result_names[leaf], index)

    def draw(self, rng: np.random.Generator, like: Sequence[Array]) -> list[Array]:
        """Random vectors of the shapes and dtypes of ``like``, complex where it is."""
        return [normal(rng, x) for x in like]


def normal(rng: np.random.Generator, x: Array) -> Array:
    """A random array like ``x``."""
    v = rng.normal(size=x.shape)
    return np.asarray(v + 1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else v).astype(
        x.dtype
    )


def value_of(x: Any) -> Any:
    """The array of a leaf; None if it is no number."""
    if isinstance(x, Box):
        if not isinstance(x, Tensor):
            raise ArgumentError(
                "ad.check works on plain numbers, arrays and tensors, not inside another "
                "transformation; call it outside"
            )
        x = (x.detach() if is_tracked(x) else x).concrete()
    return np.array(x) if isinstance(x, NUMBERS) else None


def nothing_moves(leaves: Sequence[Any]) -> str:
    """What is wrong with arguments among which there is no floating point number."""
    if not leaves:
        return "no arguments were given; write ad.check(f, x), with a floating point x"
    kinds = ", ".join(
        sorted(
            {str(v.dtype) if (v := value_of(x)) is not None else type(x).__name__ for x in leaves}
        )
    )
    example = f"{float(leaves[0])}" if isinstance(leaves[0], (int, bool)) else "x.astype(float)"
    return (
        f"among the arguments ({kinds}) there is no floating point number, so nothing can "
        f"be differentiated; write {example}"
    )


def joined(arrays: Sequence[Array]) -> Array:
    """Several arrays as one vector."""
    return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0)


def located(number: int, shapes: Sequence[tuple[int, ...]]) -> tuple[int, tuple[int, ...]]:
    """Which of several arrays holds element ``number`` of all, and where."""
    for leaf, shape in enumerate(shapes):
        size = math.prod(shape)
        if number < size:
            return leaf, tuple(int(i) for i in np.unravel_index(number, shape)) if shape else ()
        number -= size
    raise IndexError(number)


def at(name: str, index: tuple[int, ...]) -> str:
    """A name with an index."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def named(root: str, path: Sequence[Any]) -> str:
    """A leaf as Python would reach it: argument 0['W']."""
    return root + "".join(f"[{p!r}]" for p in path)
