"""Control flow on values: the numbers of Python's own loops, in every mode and at every order."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.numpy_builder import run
from adjoint.core.box import live
from adjoint.core.node import MODES, Modes, aval_of, switch
from adjoint.core.symbol import trace
from adjoint.errors import (
    AdjointError,
    ArgumentError,
    DTypeError,
    EscapeError,
    LevelError,
    MutationError,
    ShapeError,
)
from adjoint.exits import bottom
from adjoint.transforms.trees import flatten

RNG = np.random.default_rng(7)
W, U = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(3, 2)) / 2
XS, H = RNG.normal(size=(5, 2)), RNG.normal(size=3)
A = np.array([2.0, 3.0, 50.0])


# ---- the same in Python

def scan(f, init, xs=None, length=None, reverse=False):
    leaves, structure = flatten(xs)
    count = length if length is not None else len(leaves[0])
    carry, ys = init, []
    for t in range(count)[::-1 if reverse else 1]:
        carry, y = f(carry, structure.unflatten([x[t] for x in leaves]))
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    columns = zip(*[flatten(y)[0] for y in ys], strict=True)
    return carry, flatten(ys[0])[1].unflatten([ad.stack(c) for c in columns])


def fori_loop(lower, upper, body, init):
    for i in range(lower, upper):
        init = body(i, init)
    return init


def while_loop(cond, body, init):
    while bottom(ad.asarray(cond(init)) if not isinstance(cond(init), ad.Tensor) else cond(init)):
        init = body(init)
    return init


class Eager:
    """Python's own control flow under the names of the library's."""

    scan, fori_loop = staticmethod(scan), staticmethod(fori_loop)

    @staticmethod
    def map(f, xs):
        return scan(lambda c, x: (c, f(x)), 0.0, xs)[1]

    @staticmethod
    def while_loop(cond, body, init):
        while truth(cond(init)):
            init = body(init)
        return init

    @staticmethod
    def cond(pred, yes, no, *xs):
        return yes(*xs) if truth(pred) else no(*xs)


def truth(x):
    while not isinstance(x, (bool, np.bool_, np.ndarray)):
        x = x.value
    return bool(x)


# ---- programs, for ``o`` the library or Python

def rnn(o, w, u, xs, h):
    def step(h, x):
        h = np.tanh(w @ h + u @ x)
        return h, (h * h).sum()
    h, ys = o.scan(step, h, xs)
    return (h * np.array([1.0, 2.0, 3.0])).sum() + (ys * np.arange(5.0)).sum()


def backwards(o, w, xs):
    h, ys = o.scan(lambda h, x: (np.sin(h @ w + x[0]), h[0] * x[1]), H, xs, reverse=True)
    return h.sum() + (ys ** 2).sum()


def trees(o, w, h):
    def step(c, x):
        a, b = c["a"], c["n"][0]
        return {"a": np.tanh(w @ a) + x["s"], "n": (b + 1,)}, (a * b, {"y": a.sum()})
    out, (ys, more) = o.scan(step, {"a": h, "n": (0,)}, {"s": XS[:, 0]})
    return (ys ** 2).sum() + more["y"].sum() + out["a"].sum() * out["n"][0]


def powers(o, x):
    return o.fori_loop(1, 6, lambda i, c: (c[0] * np.sin(c[1]) + i, c[1] * 1.1), (x, x))[0]


def indexed(o, xs):
    def step(i, c):
        return c + ad.take(xs, i, axis=0) * ad.take(xs, i + 1, axis=0)
    return o.fori_loop(0, 4, step, np.zeros(2)).sum()


def mapped(o, w, xs):
    return (o.map(lambda x: np.exp(x[0]) * w @ w, xs) ** 2).sum()


def newton(o, a):
    return o.while_loop(lambda s: np.abs(s[0] * s[0] - a) > 1e-13 * a,
                        lambda s: (0.5 * (s[0] + a / s[0]), s[1] + 1), (a, 0))[0]


def collatz(o, x):
    def step(s):
        n, y = s
        n = o.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n)
        return n, y * np.cos(y) + n
    return o.while_loop(lambda s: s[0] > 1, step, (6, x))[1]


def branches(o, x):
    return o.cond(x > 0, lambda x: np.sqrt(x) * W[0, 0], lambda x: x * x, x)


def both_branches(o, x):
    return branches(o, x) + branches(o, -x)


def nested(o, w, xs):
    def outer(h, x):
        h, ys = o.scan(lambda g, k: (np.tanh(w @ g) * k, g.sum() * x[0]), h, np.arange(1.0, 4.0))
        return h + x[1], ys.sum()
    h, ys = o.scan(outer, H, xs)
    return h.sum() + (ys * ys).sum()


def grad_inside(o, w, xs):
    def descend(h, x):
        return h - 0.1 * ad.grad(lambda v: (np.sin(w @ v) * x[0]).sum() + (v * v).sum())(h), None
    return o.scan(descend, H, xs)[0].sum()


def grad_of_scan_inside(o, w, xs):
    """A body that differentiates a scan which closes over the carry of the body."""
    def outer(h, x):
        def inner(u):
            c, _ = o.scan(lambda c, k: (np.tanh(c * h[0] + k * u), None), u, np.arange(2.0))
            return c * x[0]
        return h * 0.9 + ad.grad(inner)(h[1]), None
    return (o.scan(outer, H, xs)[0] * w[0]).sum()


def while_in_scan(o, a):
    def step(c, x):
        y = o.while_loop(lambda s: s < 10.0, lambda s: s * (1.5 + c * 0.1) + x, x)
        return c * 0.5 + y * 0.01, y
    c, ys = o.scan(step, a, np.array([1.0, 2.0, 4.0]))
    return c * ys.sum()


def scan_in_while(o, x):
    def body(s):
        c, _ = o.scan(lambda c, k: (c * 1.1 + np.sin(x) * k, None), s, np.array([0.5, 1.0]))
        return c
    return o.while_loop(lambda s: s < 8.0, body, x)


def checkpointed(o, w, xs):
    return o.scan(lambda h, x: (ad.checkpoint(lambda h: np.tanh(w @ h) + x[0])(h), None), H, xs)[
        0].sum()


def factored(o, w, xs):
    """Rows with several results inside."""
    def step(h, x):
        values, vectors = np.linalg.eigh(np.outer(h, h) + w @ w.T + 3.0 * np.diag(np.arange(3.0)))
        return np.tanh(values * 0.1 + x[0]), vectors[0, 0] ** 2
    h, ys = o.scan(step, H, xs[:3])
    return h.sum() + ys.sum()


PROGRAMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rnn": (rnn, (W, U, XS, H)), "backwards": (backwards, (W, XS)), "trees": (trees, (W, H)),
    "powers": (powers, (0.7,)), "indexed": (indexed, (XS,)), "mapped": (mapped, (W, XS)),
    "newton": (newton, (2.0,)), "collatz": (collatz, (0.3,)), "branch taken": (branches, (4.0,)),
    "other branch": (branches, (-4.0,)), "both branches": (both_branches, (4.0,)),
    "nested": (nested, (W, XS)), "grad inside": (grad_inside, (W, XS)),
    "grad of scan inside": (grad_of_scan_inside, (W, XS)),
    "while in scan": (while_in_scan, (1.2,)), "scan in while": (scan_in_while, (1.2,)),
    "checkpointed": (checkpointed, (W, XS)), "factored": (factored, (W, XS))}
every_program = pytest.mark.parametrize("name", PROGRAMS)


@pytest.fixture
def program(name):
    f, args = PROGRAMS[name]
    return lambda *xs: f(ad, *xs), lambda *xs: f(Eager, *xs), args


def close(got, expected, tolerance=1e-10):
    for g, e in zip(flatten(got)[0], flatten(expected)[0], strict=True):
        assert np.shape(g) == np.shape(e)
        np.testing.assert_allclose(np.asarray(g), np.asarray(e), rtol=tolerance, atol=tolerance)


def directions(args):
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=np.shape(x)) if np.ndim(x) else float(rng.normal()) for x in args)


@every_program
def test_values_are_those_of_python(program):
    f, plain, args = program
    close(f(*args), plain(*args))


@every_program
def test_gradients_are_those_of_the_unrolled_loop(program):
    f, plain, args = program
    every = tuple(range(len(args)))
    close(ad.grad(f, every)(*args), ad.grad(plain, every)(*args))


@every_program
def test_forward_mode_is_reverse_mode(program):
    f, plain, args = program
    dxs = directions(args)
    _, dy = ad.jvp(f, args, dxs)
    close(dy, ad.jvp(plain, args, dxs)[1])
    parts = ad.vjp(f, *args)[1](1.0)
    close(dy, sum((p * dx).sum() if np.ndim(p) else p * dx
                  for p, dx in zip(parts, dxs, strict=True)), 1e-9)
    close(ad.linearize(f, *args)[1](*dxs), dy)


@every_program
def test_second_order_in_three_ways(program):
    f, plain, args = program
    every, dxs = tuple(range(len(args))), directions(args)

    def along(f):
        def slope(*xs):
            return sum((g * dx).sum() for g, dx in zip(ad.grad(f, every)(*xs), dxs, strict=True))
        return slope
    expected = ad.grad(along(plain), every)(*args)
    close(ad.grad(along(f), every)(*args), expected, 1e-8)
    close(ad.jvp(lambda *xs: ad.grad(f, every)(*xs), args, dxs)[1], expected, 1e-8)
    close(ad.grad(lambda *xs: ad.jvp(f, xs, dxs)[1], every)(*args), expected, 1e-8)


@every_program
def test_vmap_is_a_loop_over_the_batch(program):
    f, plain, args = program
    stacks = [np.stack([np.asarray(x) * s for s in (1.0, 0.9, 1.05)]) for x in args]
    every = tuple(range(len(args)))

    def both(f):
        return lambda *xs: (f(*xs), ad.grad(f, every)(*xs), ad.jvp(f, xs, directions(args))[1])
    rows = [both(plain)(*[s[i] for s in stacks]) for i in range(3)]
    expected = [np.stack(column) for column in zip(*[flatten(r)[0] for r in rows], strict=True)]
    close(flatten(ad.vmap(both(f))(*stacks))[0], expected, 1e-9)
    axes = (0, *(None,) * (len(args) - 1))
    rows = [plain(s, *args[1:]) for s in stacks[0]]
    close(ad.vmap(f, in_axes=axes)(stacks[0], *args[1:]), np.stack(rows), 1e-9)
    total = ad.grad(lambda s: ad.vmap(f, in_axes=axes)(s, *args[1:]).sum())(stacks[0])
    close(total, np.stack([ad.grad(plain)(s, *args[1:]) for s in stacks[0]]), 1e-9)


@every_program
def test_traced_is_eager(program):
    f, plain, args = program
    every = tuple(range(len(args)))
    arrays = [np.asarray(x)[()] for x in args]
    for g, p in ((f, plain), (ad.grad(f, every), ad.grad(plain, every))):
        graph, out = trace(g, *map(aval_of, arrays))
        graph.outputs = [bottom(y).node for y in flatten(out)[0]]
        close(run(graph, *arrays, *graph.closed), flatten(p(*args))[0])
        close(graph(*arrays, *graph.closed), flatten(p(*args))[0])


@pytest.mark.parametrize("name", ["rnn", "trees", "newton", "both branches", "nested",
                                  "while in scan", "grad of scan inside"])
def test_compiled_is_eager(program):
    f, plain, args = program
    every = tuple(range(len(args)))
    expected = plain(*args), ad.grad(plain, every)(*args)
    close(ad.jit(lambda *xs: (f(*xs), ad.grad(f, every)(*xs)))(*args), expected)
    close(ad.grad(ad.jit(f), every)(*args), expected[1])
