"""What an entry of the catalogue is, and how it is measured: every spelling in every mode.

A spelling is a line of Python in the variables x, y, z. `measure` gives its gradients in each mode,
`second_derivatives` its Hessian by each nesting of the two modes.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

import adjoint as ad

NAMES: dict[str, Any] = {"np": np, "ad": ad, "math": math, "operator": operator, "inf": np.inf,
                         "nan": np.nan}
VARIABLES = "xyz"


@dataclass(frozen=True, eq=False)
class Case:
    """One question, one answer, and the spellings that must all give it."""

    name: str
    spellings: str  # one a line
    at: tuple[Any, ...]  # the values of x, y, z
    gradient: tuple[Any, ...]  # by x, y, z
    second: Any = None  # the Hessian, of all variables laid end to end
    peers: str = ""  # what others gave on 2026-11-20
    note: str = ""
    single: bool = True  # whether float32 gives the same
    without: tuple[str, ...] = ()  # modes in which it makes no sense; the note says why
    tolerance: float = 1e-12

    @property
    def modes(self) -> list[str]:
        """The modes in which it is asked."""
        left_out = (*self.without, *(() if self.single else ("float32",)))
        return [m for m in MODES if m not in left_out]

    @cached_property
    def lines(self) -> list[str]:
        """The spellings, in the order of the catalogue."""
        return [line.strip() for line in self.spellings.splitlines() if line.strip()]

    @cached_property
    def points(self) -> tuple[Any, ...]:
        """The point as NumPy's float64."""
        return tuple(np.asarray(x, float)[()] for x in self.at)

    @cached_property
    def answer(self) -> np.ndarray:
        """The expected gradient, all variables laid end to end."""
        return laid([np.broadcast_to(np.asarray(g, float), np.shape(x))
                     for g, x in zip(self.gradient, self.points, strict=True)])


@dataclass(frozen=True, eq=False)
class Refusal:
    """A derivative that does not exist, and the error that says so, in both modes."""

    name: str
    spellings: str
    at: np.ndarray
    tangent: np.ndarray
    error: str  # a class in ad.errors
    says: str
    peers: str = ""

    @cached_property
    def lines(self) -> list[str]:
        """The spellings, in the order of the catalogue."""
        return [line.strip() for line in self.spellings.splitlines() if line.strip()]

    def ask(self, spelling: str, mode: str) -> None:
        """Ask for the derivative that does not exist."""
        f = function(spelling, 1)
        with quiet():
            if mode == "ad.grad":
                ad.grad(f)(self.at)
            elif mode == "backward()":
                f(ad.tensor(self.at, requires_grad=True)).backward()
            elif mode == "vmap of grad":
                ad.vmap(ad.grad(f))(self.at[None])
            else:
                ad.jvp(f, (self.at,), (self.tangent,))


ASKED = ("ad.grad", "backward()", "ad.jvp", "vmap of grad")


def function(spelling: str, arity: int) -> Callable[..., Any]:
    """The function that a spelling is."""
    return eval(f"lambda {', '.join(VARIABLES[:arity])}: {spelling}", NAMES)


def laid(parts: Any) -> np.ndarray:
    """The gradients of all variables as one vector."""
    return np.concatenate([np.ravel(p) for p in parts])


@contextmanager
def quiet() -> Iterator[None]:
    """Infinities and 0/0 are the subject here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def units(xs: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Tangents in which one element moves, each in turn."""
    for k, x in enumerate(xs):
        for i in np.ndindex(np.shape(x)):
            dxs = [np.zeros_like(z) for z in xs]
            dxs[k][i] = 1
            yield tuple(d[()] for d in dxs)


# ---- the first derivative, in each mode: (f, points) -> one vector

def by_grad(f: Any, xs: Any) -> np.ndarray:
    return laid(ad.grad(f, tuple(range(len(xs))))(*xs))


def by_backward(f: Any, xs: Any) -> np.ndarray:
    leaves = [ad.tensor(x, requires_grad=True) for x in xs]
    f(*leaves).backward()
    return laid(np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in leaves)


def by_jvp(f: Any, xs: Any) -> np.ndarray:
    return np.array([ad.jvp(f, xs, dxs)[1] for dxs in units(xs)])


def by_linearize(f: Any, xs: Any) -> np.ndarray:
    push = ad.linearize(f, *xs)[1]
    return np.array([push(*dxs) for dxs in units(xs)])


def by_one_element(f: Any, xs: Any) -> np.ndarray:
    """Forward mode where nothing else moves: the others are constants, not zero tangents."""
    def parts() -> Iterator[Any]:
        for k, x in enumerate(xs):
            for i in np.ndindex(np.shape(x)):
                def of_one(e: Any, k: int = k, x: Any = x, i: Any = i) -> Any:
                    moved = ad.stack([e if j == i else np.float64(x[j])
                                      for j in np.ndindex(np.shape(x))]).reshape(np.shape(x))
                    rest = list(map(ad.tensor, xs))
                    return f(*rest[:k], moved if np.ndim(x) else e, *rest[k + 1:])
                yield ad.jvp(of_one, (x[i],), (1.0,))[1]
    return np.array(list(parts()))


def by_checkpoint(f: Any, xs: Any) -> np.ndarray:
    return by_grad(ad.checkpoint(f), xs)


def many(xs: Any) -> list[np.ndarray]:
    """The point twice, with another between: batches may not mix."""
    between = [x + 0.3 * np.eye(*x.shape) if np.ndim(x) == 2 else np.full_like(x, 0.3) for x in xs]
    return [np.stack([x, b, x]) for x, b in zip(xs, between, strict=True)]


def same_ends(found: Any) -> Any:
    """The first of the batch, if the last is the same."""
    np.testing.assert_array_equal(found[0], found[2])
    return found[0]


def by_vmap_of_grad(f: Any, xs: Any) -> np.ndarray:
    found = ad.vmap(ad.grad(f, tuple(range(len(xs)))))(*many(xs))
    return laid(map(same_ends, found))


def by_vmap_of_jvp(f: Any, xs: Any) -> np.ndarray:
    return np.array([same_ends(ad.vmap(lambda *zs, dxs=dxs: ad.jvp(f, zs, dxs)[1])(*many(xs)))
                     for dxs in units(xs)])


def by_float32(f: Any, xs: Any) -> np.ndarray:
    return laid(ad.grad(f, tuple(range(len(xs))))(*[np.float32(x) for x in xs]))


MODES: dict[str, Callable[..., np.ndarray]] = {
    "ad.grad": by_grad, "backward()": by_backward, "ad.jvp": by_jvp,
    "ad.linearize": by_linearize, "jvp of one element": by_one_element,
    "checkpoint": by_checkpoint, "vmap of grad": by_vmap_of_grad, "vmap of jvp": by_vmap_of_jvp,
    "float32": by_float32}


def agree(found: np.ndarray, answer: Any, tolerance: float) -> bool:
    """Whether every element is the answer: NaN where NaN is, infinities with their sign."""
    return np.allclose(found, np.broadcast_to(answer, np.shape(found)), rtol=tolerance,
                       atol=tolerance, equal_nan=True)


@cache
def measure(case: Case, spelling: str, mode: str) -> np.ndarray:
    """The gradient of one spelling in one mode."""
    with quiet():
        return MODES[mode](function(spelling, len(case.at)), case.points)


# ---- the second derivative, by each nesting

def of_one_vector(case: Case, spelling: str) -> Callable[[Any], Any]:
    """The spelling as a function of all variables laid end to end."""
    f, xs = function(spelling, len(case.at)), case.points
    ends = np.cumsum([np.size(x) for x in xs])

    def whole(u: Any) -> Any:
        if len(xs) == 1 and np.ndim(xs[0]) == 0:
            return f(u)
        return f(*[u[e - np.size(x):e].reshape(np.shape(x)) for x, e in zip(xs, ends, strict=True)])
    return whole


def columns(f: Any, u: Any) -> np.ndarray:
    """The Jacobian of f, one tangent for each element."""
    return np.array([ad.jvp(f, (u,), dus)[1] for dus in units((u,))])


def slopes(f: Any, du: Any) -> Callable[[Any], Any]:
    """The derivative of f along du, as a function."""
    return lambda u: ad.jvp(f, (u,), (du,))[1]


NESTINGS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "reverse over reverse": lambda f, u: np.asarray(
        ad.grad(ad.grad(f))(u) if np.ndim(u) == 0 else
        ad.jacobian(ad.grad(f), mode="reverse")(u)),
    "forward over reverse": lambda f, u: columns(ad.grad(f), u),
    "reverse over forward": lambda f, u: np.array(
        [ad.grad(slopes(f, du))(u) for (du,) in units((u,))]),
    "forward over forward": lambda f, u: np.array(
        [columns(slopes(f, du), u) for (du,) in units((u,))]),
    "ad.hessian": lambda f, u: np.asarray(ad.hessian(f)(u)),
    "ad.hvp": lambda f, u: np.array([ad.hvp(f, (u,), du) for du in units((u,))]),
}


@cache
def second_derivatives(case: Case, spelling: str, nesting: str) -> np.ndarray:
    """The Hessian of one spelling by one nesting."""
    u = laid(case.points) if case.points[1:] or np.ndim(case.points[0]) else case.points[0]
    with quiet():
        found = NESTINGS[nesting](of_one_vector(case, spelling), u)
        return np.reshape(found, (np.size(u), np.size(u)))
