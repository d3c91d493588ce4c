"""Control flow on values: the numbers of Python's own loops, in every mode and at every order."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.numpy_builder import run
from adjoint.compiler.program import lowered as program_of
from adjoint.core.box import live
from adjoint.core.node import MODES, Modes, aval_of, switch
from adjoint.core.primitive import REGISTRY
from adjoint.core.symbol import Symbol, trace
from adjoint.errors import (
    ArgumentError,
    DTypeError,
    EscapeError,
    KinkError,
    LevelError,
    MutationError,
    NonFiniteError,
    ShapeError,
    UnsupportedError,
)
from adjoint.exits import bottom
from adjoint.ops.several import Parts
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
    close(ad.jvp(ad.grad(f, every), args, dxs)[1], expected, 1e-8)
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


# ---- random loops

UNARY = (np.sin, np.tanh, lambda x: x * x * 0.3, lambda x: x[::-1], np.cumsum,
         lambda x: np.where(x > 0, x, 0.1 * x), lambda x: x - x.mean())
BINARY = (lambda x, z: x + z, lambda x, z: x * z, lambda x, z: x * z.sum(),
          np.maximum, lambda x, z: x / (1.0 + z * z))


class RandomLoop:
    """Random steps on a few vectors, in a loop, which may hold another."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.carries, self.count = int(self.rng.integers(1, 4)), int(self.rng.integers(0, 5))
        self.reverse = bool(self.rng.integers(2))
        self.steps = [self.step() for _ in range(int(self.rng.integers(2, 7)))]
        self.picks = self.rng.integers(100, size=self.carries + 2)
        self.inner = RandomLoop(seed + 1000) if seed < 1000 and self.rng.integers(3) == 0 else None
        self.shared = self.rng.normal(size=3)
        self.args = (self.rng.normal(size=(self.carries, 3)), self.rng.normal(size=(self.count, 3)),
                     self.rng.normal(size=3))

    def step(self):
        if self.rng.integers(2):
            return UNARY[self.rng.integers(len(UNARY))], self.rng.integers(100), None
        return BINARY[self.rng.integers(len(BINARY))], *self.rng.integers(100, size=2)

    def body(self, o, closed):
        def step(carry, x):
            values = [*carry, x, closed, self.shared]
            for f, i, j in self.steps:
                args = (values[i % len(values)],) if j is None else (
                    values[i % len(values)], values[j % len(values)])
                values.append(f(*args))
            if self.inner is not None:
                inner = self.inner
                begin = [np.tanh(values[k % len(values)]) for k in range(inner.carries)]
                end, _ = o.scan(inner.body(o, values[-1]), begin, inner.args[1],
                                reverse=inner.reverse)
                values += end
            at = [values[-1 - k % len(values)] for k in self.picks]
            return [np.tanh(v) for v in at[:self.carries]], at[self.carries:]
        return step

    def __call__(self, o, init, xs, closed):
        end, ys = o.scan(self.body(o, closed), list(init), xs, reverse=self.reverse)
        return sum((np.sin(v) * self.shared).sum() for v in end) + sum(y.sum() for y in ys)


class Counted(Eager):
    """Python's loops, of no turns too."""

    @staticmethod
    def scan(f, init, xs=None, length=None, reverse=False):
        if len(xs):
            return scan(f, init, xs, length, reverse)
        return init, []


@pytest.mark.parametrize("seed", range(60))
def test_random_loops(seed):
    loop, every = RandomLoop(seed), (0, 1, 2)
    dxs = directions(loop.args)

    def f(*xs):
        return loop(ad, *xs)

    def plain(*xs):
        return loop(Counted, *xs)
    expected = ad.grad(plain, every)(*loop.args)
    close(f(*loop.args), plain(*loop.args))
    close(ad.grad(f, every)(*loop.args), expected)
    close(ad.jvp(f, loop.args, dxs)[1], sum((g * d).sum() for g, d in zip(expected, dxs,
                                                                           strict=True)), 1e-9)
    close(ad.hvp(f, loop.args, dxs), ad.hvp(plain, loop.args, dxs), 1e-8)
    graph, out = trace(ad.grad(f, every), *map(aval_of, loop.args))
    traced = [k for k, y in enumerate(out) if isinstance(bottom(y), Symbol)]  # the others are 0
    graph.outputs = [bottom(out[k]).node for k in traced]
    close(run(graph, *loop.args, *graph.closed), [expected[k] for k in traced])


# ---- what it costs

def test_ten_thousand_turns_in_linear_memory():
    def peak(n):
        xs = np.linspace(0.0, 1.0, n)
        f = ad.grad(lambda c, xs: ad.scan(lambda c, x: (np.sin(c + x), None), c, xs)[0], (0, 1))
        tracemalloc.start()
        try:
            c, dxs = f(0.5, xs)
            return tracemalloc.get_traced_memory()[1], c, dxs
        finally:
            tracemalloc.stop()
    few, *_ = peak(1_000)
    many, c, dxs = peak(10_000)
    assert np.isfinite(c)
    assert dxs.shape == (10_000,)
    assert many < 12 * max(few, 100_000)
    assert ad.fori_loop(0, 10_000, lambda i, x: x + 1, 0) == 10_000
    assert ad.while_loop(lambda x: x < 10_000, lambda x: x + 1, 0) == 10_000


@pytest.mark.parametrize("n", [10, 40])
def test_turns_run_once_forward_and_once_backward(n, monkeypatch):
    from adjoint.transforms.control_graphs import Body
    turns = []
    compute = Body.compute
    monkeypatch.setattr(Body, "compute", lambda self, xs: turns.append(1) or compute(self, xs))
    ad.grad(lambda w: ad.scan(lambda c, x: (np.tanh(c * w) + x, c), 0.5, np.ones(n))[0])(0.3)
    assert len(turns) == 2 * n


def test_the_function_runs_once_whatever_the_number_of_turns():
    calls = []
    x = ad.tensor(3.0, requires_grad=True)
    y = ad.fori_loop(0, 50, lambda i, c: calls.append(1) or c * 0.9, x)
    y.backward()
    assert len(calls) == 1
    np.testing.assert_allclose(x.grad.numpy(), 0.9 ** 50)


@pytest.mark.parametrize("f", [
    lambda x: ad.scan(lambda c, t: (c * t, c), x, np.arange(1.0, 4.0))[0],
    lambda x: ad.fori_loop(0, 3, lambda i, c: c * 1.5, x),
    lambda x: ad.map(lambda t: t * x, np.arange(3.0)),
    lambda x: ad.while_loop(lambda c: c < 100.0, lambda c: c * 1.5, x),
    lambda x: ad.cond(x > 0, lambda x: x * 2.0, lambda x: x, x)])
def test_each_call_is_one_node(f):
    with ad.tape() as nodes:
        f(ad.tensor(2.0, requires_grad=True))
    assert [n.prim.name for n in nodes if n.prim.name not in ("item", "greater")] in (
        ["scan"], ["while_loop"], ["cond"])


def test_a_map_carries_nothing_backward():
    with ad.tape():
        graph, _ = trace(ad.grad(lambda xs: ad.map(np.sin, xs).sum()), aval_of(XS))
    scans = [n for n in graph.nodes if n.prim.name == "scan"]
    assert {n.params["carries"] for n in scans} == {0}


# ---- structural zeros, integers, kinds

def test_what_does_not_depend_has_no_cotangent():
    row = REGISTRY["scan"]
    y, node = None, None
    with ad.tape() as nodes:
        c = ad.tensor([1.0, 2.0], requires_grad=True)
        ad.scan(lambda c, x: ((c[0] * x, c[1] + 1), (x, c[1])), (c.sum(), 0), np.ones(3))
    node = next(n for n in nodes if n.prim is row)
    xs = [i.value for i in node.inputs]
    none = [None] * len(node.value)
    for at, got in ((0, [True, False]), (1, [False, False]), (2, [False, False])):
        dy = Parts(np.ones(np.shape(v)) if k == at else None for k, v in enumerate(node.value))
        y = row.vjp(dy, node.value, *xs, (True, True, False), **node.params)
        assert [p is not None for p in y[:2]] == got
    assert row.vjp(Parts(none), node.value, *xs, (True, True, True), **node.params) == (
        None, None, None)
    dy = row.jvp([None, None, np.ones(3)], node.value, *xs, **node.params)
    assert [d is not None for d in dy[:3]] == [True, False, True]


def test_integer_carries_have_no_tangent():
    x = ad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (total, n), ys = ad.scan(lambda c, x: ((c[0] + x, c[1] + 1), c[1]), (0.0, 0), x)
    assert not n.requires_grad and not ys.requires_grad
    assert n.dtype == np.int64 and ys.tolist() == [0, 1, 2]
    (total * n).backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0]


def test_results_have_the_kind_of_the_arguments():
    def step(c, x):
        return c + x, c * x
    c, ys = ad.scan(step, 0.0, np.arange(3.0))
    assert type(c) is float and type(ys) is np.ndarray
    c, ys = ad.scan(step, 0.0, ad.tensor([1.0, 2.0]))
    assert isinstance(c, ad.Tensor) and isinstance(ys, ad.Tensor)
    assert type(ad.fori_loop(0, 3, lambda i, c: c + i, 0)) is int
    assert type(ad.fori_loop(0, 3, lambda i, c: c * 0.5, 1)) is float  # a number adopts the dtype
    assert ad.scan(step, np.float32(0), np.ones(2, np.float32))[1].dtype == np.float32
    w = ad.tensor(2.0)
    assert isinstance(ad.cond(True, lambda: w * 2.0, lambda: w), ad.Tensor)
    assert type(ad.cond(True, lambda x: x * w, lambda x: x, 3.0)) is float


def test_closed_over_tensors_get_their_gradients():
    w = ad.tensor([1.0, 2.0], requires_grad=True)
    b = ad.tensor(0.5, requires_grad=True)
    y = ad.fori_loop(0, 3, lambda i, c: ad.cond(i < 2, lambda: c * w.sum(), lambda: c * b), 1.0)
    y.backward()
    np.testing.assert_allclose((y.item(), b.grad.item()), (4.5, 9.0))
    np.testing.assert_allclose(w.grad.numpy(), [3.0, 3.0])
    y = ad.while_loop(lambda c: c < b * 100.0, lambda c: c * w[1] + b, ad.tensor(1.0))
    w.grad = b.grad = None
    y.backward(create_graph=True)
    expected = ad.grad(while_by_hand, (0, 1))(2.0, 0.5)
    np.testing.assert_allclose((w.grad[1].item(), b.grad.item()), expected)


def while_by_hand(w, b):
    c = 1.0
    for _ in range(6):
        c = c * w + b
    return c


def test_no_grad_in_a_body_makes_constants():
    def step(c, x):
        with ad.no_grad():
            s = np.sin(c)
            t = ad.map(lambda v: v * s, np.ones(2)).sum()
        return c * s + x * t, None

    def f(c):
        return ad.scan(step, c, np.ones(3))[0]

    def plain(c):
        for _ in range(3):
            with ad.no_grad():
                s = np.sin(c)
            c = c * s + 2.0 * ad.stop_gradient(s)
        return c
    close(ad.grad(f)(0.5), ad.grad(plain)(0.5))
    close(ad.jvp(f, (0.5,), (1.0,)), ad.jvp(plain, (0.5,), (1.0,)))
    with ad.no_grad():
        assert not ad.fori_loop(0, 3, lambda i, c: c * c, ad.tensor(2.0, True)).requires_grad
        close(ad.grad(f)(0.5), ad.grad(plain)(0.5))


def test_a_zero_downstream_wins_in_every_turn():
    def root(c):
        return np.where(c > 0, np.sqrt(c), 0.0)
    loops = (lambda x: ad.scan(lambda c, t: (root(c) * t, None), x, np.ones(2))[0],
             lambda x: ad.while_loop(lambda s: s[1] < 2, lambda s: (root(s[0]), s[1] + 1),
                                     (x, 0))[0],
             lambda x: ad.cond(x < 1.0, root, lambda x: x, x))
    for f in loops:
        assert ad.grad(f)(0.0) == 0.0
        assert ad.jvp(f, (0.0,), (1.0,))[1] == 0.0
        assert ad.jit(ad.grad(f))(0.0) == 0.0
        with ad.strict():
            assert np.isnan(ad.grad(f)(0.0))


def test_complex_values():
    def loops(o, z):
        c = o.scan(lambda c, t: (c * c * t + z, None), z, np.array([1.0, 0.5]))[0]
        d = o.while_loop(lambda s: s[1] < 2, lambda s: (s[0] * s[0] + z, s[1] + 1), (z, 0))[0]
        return abs(c * o.cond(abs(d) > 0, lambda d: d * z, lambda d: d, d)) ** 2
    z = 0.3 + 0.2j
    close(ad.grad(lambda z: loops(ad, z))(z), ad.grad(lambda z: loops(Eager, z))(z))


# ---- batches

def test_a_batched_loop_runs_until_all_have_ended():
    turns = []
    f = ad.vmap(lambda x: ad.while_loop(
        lambda s: s[0] < 100.0, lambda s: (s[0] * s[0], s[1] + 1), (x, 0)))
    values, counts = f(np.array([2.0, 200.0, 3.0, 50.0]))
    assert values.tolist() == [256.0, 200.0, 6561.0, 2500.0]
    assert counts.tolist() == [3, 0, 3, 1]
    assert not turns


def test_frozen_elements_keep_their_values_and_gradients():
    """What a turn would make of an element that has ended (here infinity) never shows."""
    def f(x):
        return ad.while_loop(lambda s: s < 1e3, np.exp, x)
    x = np.array([0.5, 6.0, 2000.0, 1.0])
    with np.errstate(all="raise", under="ignore"):
        values = ad.vmap(f)(x)
    close(values, np.stack([f(v) for v in x]))
    close(ad.vmap(ad.grad(f))(x), np.stack([ad.grad(f)(v) for v in x]))


def test_a_batched_predicate_chooses_by_element():
    f = ad.vmap(lambda x: ad.cond(x > 0, np.sqrt, lambda x: x * 3.0, x))
    x = np.array([4.0, -1.0])
    assert f(x).tolist() == [2.0, -3.0]
    assert ad.grad(lambda x: f(x).sum())(x).tolist() == [0.25, 3.0]
    g = ad.vmap(lambda x: ad.cond(True, np.exp, lambda x: x / 0.0, x))
    close(g(x), np.exp(x))


def test_computed_bounds():
    def f(n, x):
        return ad.fori_loop(0, n, lambda i, c: c * x + i, 1.0)
    expected = [f(n, 2.0) for n in (1, 3, 5)]
    assert ad.vmap(f, in_axes=(0, None))(np.array([1, 3, 5]), 2.0).tolist() == expected
    close(ad.vmap(ad.grad(f, 1), in_axes=(0, None))(np.array([1, 3, 5]), 2.0),
          np.stack([ad.grad(f, 1)(n, 2.0) for n in (1, 3, 5)]))
    assert ad.jit(f)(3, 2.0) == f(3, 2.0) == f(np.int64(3), 2.0) == f(ad.tensor(3), 2.0)
    assert ad.fori_loop(3, 1, lambda i, c: c + 1, 0) == 0


# ---- nothing to do

def test_no_turns():
    none = np.ones((0, 2))
    c, ys = ad.scan(lambda c, x: (c * x.sum(), (c, x)), 3.0, none)
    assert (c, ys[0].shape, ys[1].shape) == (3.0, (0,), (0, 2))
    assert ad.map(lambda x: x @ np.ones((2, 3)), none).shape == (0, 3)
    assert ad.scan(lambda c, x: (c + 1, None), 0, length=0) == (0, None)

    def f(c, xs):
        return ad.scan(lambda c, x: (c * x.sum(), c), c, xs)[0] * 2.0
    dc, dxs = ad.grad(f, (0, 1))(3.0, none)
    assert (dc, dxs.shape) == (2.0, (0, 2))
    assert ad.jvp(f, (3.0, none), (1.0, none)) == (6.0, 2.0)
    assert ad.jit(f)(3.0, none) == 6.0
    assert ad.jit(ad.grad(f))(3.0, none) == 2.0
    assert ad.vmap(f, in_axes=(0, None))(np.ones(4), none).tolist() == [2.0] * 4
    assert ad.grad(lambda x: ad.while_loop(lambda c: c < 0, lambda c: c * x, x))(3.0) == 1.0
    # The carry is what it was, though a turn would make it another or a constant.
    assert ad.grad(lambda c: ad.scan(lambda c, x: (1.0, c), c, none)[0])(3.0) == 1.0
    assert ad.jvp(lambda c: ad.scan(lambda c, x: (1.0, c), c, none)[0], (3.0,), (2.0,))[1] == 2.0


# ---- bad input

ONES = np.ones(3)
def write_outside():
    w = ad.tensor([1.0, 2.0])

    def step(i, c):
        w[0] = c
        return c
    try:
        ad.fori_loop(0, 3, step, 5.0)
    finally:
        assert w.tolist() == [1.0, 2.0]


BAD = [
    ("shape", ShapeError, r"carry comes in as float64\[\] and goes out as float64\[3\].*np.zeros",
     lambda: ad.scan(lambda c, x: (ONES * x, None), 0.0, ONES)),
    ("dtype", DTypeError, r"carry\['b'\]\[1\] comes in as float64\[2\] and goes out as float32",
     lambda: ad.scan(lambda c, x: ({"b": (c["b"][0], c["b"][1].astype(np.float32))}, None),
                     {"b": (1.0, np.ones(2))}, ONES)),
    ("structure", ArgumentError, r"carry comes in as \* and goes out as \(\*, \*\)",
     lambda: ad.scan(lambda c, x: ((c, c), None), 0.0, ONES)),
    ("while shape", ShapeError, r"ad.while_loop.*carry\[0\] comes in as float64\[\]",
     lambda: ad.while_loop(lambda c: c[0] < 1, lambda c: (c[0] * ONES,), (0.0,))),
    ("fori structure", ArgumentError, "goes out as None",
     lambda: ad.fori_loop(0, 3, lambda i, c: None, 0.0)),
    ("no pair", ArgumentError, r"returns a pair \(carry, y\), not Tensor",
     lambda: ad.scan(lambda c, x: c, 0.0, ONES)),
    ("numbers", ShapeError, r"xs\[0\] is one number.*np.array\(list\)",
     lambda: ad.scan(lambda c, x: (c, None), 0.0, [1.0, 2.0])),
    ("lengths", ShapeError, r"lengths differ \(xs\['a'\]: 2, xs\['b'\]: 3\)",
     lambda: ad.scan(lambda c, x: (c, None), 0.0, {"a": np.ones(2), "b": ONES})),
    ("length", ShapeError, r"lengths differ \(length: 2, xs: 3\)",
     lambda: ad.scan(lambda c, x: (c, None), 0.0, ONES, length=2)),
    ("xs empty", ArgumentError, "give length=n", lambda: ad.scan(lambda c, x: (c, None), 0.0)),
    ("map of nothing", ArgumentError, "holds no array", lambda: ad.map(lambda x: x, [])),
    ("fraction", ArgumentError, "length=2.5 is not a number of turns",
     lambda: ad.scan(lambda c, x: (c, None), 0.0, length=2.5)),
    ("bound", ArgumentError, "a bound is an integer, not 3.0",
     lambda: ad.fori_loop(0, 3.0, lambda i, c: c, 0.0)),
    ("branch structure", ArgumentError, r"true_fun returns \* and false_fun \(\*, \*\)",
     lambda: ad.cond(True, lambda x: x, lambda x: (x, x), 1.0)),
    ("branch shape", ShapeError, r"result is float64\[3\] if pred holds and float64\[\] if not",
     lambda: ad.cond(True, lambda x: x * ONES, lambda x: x, 1.0)),
    ("branch dtype", DTypeError, r"result\['h'\] is float64\[\] if pred holds and float32\[\]",
     lambda: ad.cond(True, lambda x: {"h": x}, lambda x: {"h": x.astype(np.float32)}, 1.0)),
    ("pred", ArgumentError, r"one truth value, not bool\[3\].*np.all or np.any",
     lambda: ad.cond(ONES > 0, lambda: 1.0, lambda: 2.0)),
    ("float pred", ArgumentError, "compare, as in x > 0",
     lambda: ad.cond(0.5, lambda: 1.0, lambda: 2.0)),
    ("condition", ArgumentError, "cond_fun gives one truth value",
     lambda: ad.while_loop(lambda c: c > np.zeros(3), lambda c: c, 1.0)),
    ("no condition", ArgumentError, "cond_fun gives one truth value, not None",
     lambda: ad.while_loop(lambda c: None, lambda c: c, 1.0)),
    ("text", ArgumentError, "returned str", lambda: ad.map(lambda x: "abc", ONES)),
    ("an object", ArgumentError, "not object", lambda: ad.fori_loop(0, 2, max, object())),
    ("no function", ArgumentError, "must be a function", lambda: ad.map(3, ONES)),
    ("branch on a value", EscapeError, r"does not exist yet.*ad.where.*ad.cond",
     lambda: ad.fori_loop(0, 3, lambda i, c: c if c > 0 else -c, 1.0)),
    ("branch on the turn", EscapeError, r"does not exist yet.*ad.where.*ad.cond",
     lambda: ad.fori_loop(0, 3, lambda i, c: c if i else -c, 1.0)),
    ("while on a value", EscapeError, "does not exist yet", lambda: ad.map(in_python, ONES)),
    ("index", EscapeError, r"does not exist yet.*ad.take",
     lambda: ad.fori_loop(0, 3, lambda i, c: c + ONES[i], 0.0)),
    ("float", EscapeError, r"ad.sin\(x\)", lambda: ad.map(float, ONES)),
    ("write", MutationError, "from outside", write_outside)]


def in_python(x):
    while x < 10.0:
        x = x * 2.0
    return x


class Square(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        return 2.0 * dy * ctx.saved_tensors[0]


def test_a_function_of_the_users_in_a_body_runs_forward_only():
    def f(x):
        return ad.fori_loop(0, 3, lambda i, c: Square.apply(c), x)
    assert f(1.5) == 1.5 ** 8
    for g in (ad.grad(f), lambda x: ad.jvp(f, (x,), (1.0,)), lambda x: ad.vmap(f)(x * ONES)):
        with pytest.raises(UnsupportedError, match=r"Square is an ad\.Function in the body"):
            g(1.5)


@pytest.mark.parametrize("kind, message, call", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(kind, message, call):
    before = set(live)
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "test_control.py, line" in caught.value.where
    assert (live, switch.armed, MODES.get()) == (before, 0, Modes())


USES = [lambda x: x + 1.0, np.sin, lambda x: ad.map(lambda v: v * x, ONES),
        lambda x: ad.grad(lambda v: v * x)(1.0), lambda x: ad.jit(lambda v: v * x)(1.0),
        lambda x: ad.cond(True, lambda: x, lambda: x), lambda x: ad.tensor(1.0, True) * x]


@pytest.mark.parametrize("use", USES)
def test_a_value_that_escapes_is_an_error_wherever_it_is_used(use):
    kept = []
    ad.fori_loop(0, 3, lambda i, c: kept.append(c * 2.0) or c, 1.0)
    with pytest.raises(LevelError, match=r"after that call has ended.*Return it"):
        use(kept[0])
    for out in (bool, float, lambda x: x.item(), lambda x: x.tolist()):
        with pytest.raises(EscapeError):
            out(kept[0])


def test_values_of_an_inner_level_do_not_escape_either():
    kept = []

    def step(i, c):
        ad.grad(lambda v: kept.append(v * 2.0) or v * v)(c)
        return kept[-1]
    with pytest.raises(LevelError, match="has ended"):
        ad.fori_loop(0, 3, step, 1.0)


def test_an_exception_in_a_body_leaves_nothing_on():
    before = set(live)
    for call in (lambda: ad.map(lambda x: 1 / 0, ONES),
                 lambda: ad.grad(lambda c: ad.fori_loop(0, 3, lambda i, c: 1 / 0, c))(1.0),
                 lambda: ad.cond(True, lambda: 1 / 0, lambda: 1.0)):
        with pytest.raises(ZeroDivisionError):
            call()
        assert (live, switch.armed, MODES.get()) == (before, 0, Modes())


# ---- with the rest of the library

def test_the_doctor_names_the_operation_inside_a_body():
    def step(c, t):
        d = c - t
        return np.sqrt(d), None
    calls = (lambda x: ad.scan(step, x, np.arange(3.0))[0],
             lambda x: ad.fori_loop(0, 3, lambda i, c: step(c, i * 1.0)[0], x),
             lambda x: ad.cond(x > 0, lambda x: step(x, 3.0)[0], lambda x: x, x),
             lambda x: ad.while_loop(lambda c: c > 0.5, lambda c: step(c, 3.0)[0], x))
    for f in calls:
        with pytest.raises(NonFiniteError, match="NaN made by `sqrt`") as caught, ad.doctor():
            ad.grad(f)(1.0)
        assert "return np.sqrt(d), None" in str(caught.value)
    with pytest.raises(KinkError, match="`maximum`"), ad.kinks("raise"):
        ad.grad(lambda x: ad.map(lambda v: np.maximum(v, 0.0), x).sum())(np.array([1.0, 0.0]))


@every_program
def test_watched_is_unwatched(program):
    f, _, args = program
    every = tuple(range(len(args)))
    with ad.doctor():
        got = f(*args), ad.grad(f, every)(*args)
    close(got, (f(*args), ad.grad(f, every)(*args)))


def test_a_training_step_compiles_with_loops_in_it():
    xs, target = RNG.normal(size=(6, 4, 3)), RNG.normal(size=(4, 2))

    def trained(wrap):
        rng = np.random.default_rng(1)
        w, u, v = (ad.tensor(rng.normal(size=s) / 2, requires_grad=True)
                   for s in ((3, 5), (5, 5), (5, 2)))
        opt = ad.optim.Adam([w, u, v], lr=0.01)

        def step(xs, target):
            h, _ = ad.scan(lambda h, x: (np.tanh(x @ w + h @ u), None), np.zeros((4, 5)), xs)
            loss = ((h @ v - target) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss
        step = wrap(step)
        losses = [step(xs, target).item() for _ in range(5)]
        return losses, [p.detach().numpy() for p in (w, u, v)]
    close(trained(ad.jit), trained(lambda f: f))


def test_a_closed_over_python_number_stays_weak_when_compiled():
    rate = 0.5
    for loops in (lambda x: ad.scan(lambda c, _: (c * rate, c), x, length=3)[0],
                  lambda x: ad.while_loop(lambda c: c > 0.1, lambda c: c * rate, x),
                  lambda x: ad.cond(x > 0, lambda x: x * rate, lambda x: x, x)):
        x = np.float32(1.0)
        for f in (loops, ad.grad(loops)):
            y = ad.jit(f)(x)
            assert y.dtype == np.float32
            assert y == f(x)


def test_a_tape_holds_no_values_of_a_trace():
    x = ad.tensor(1.0, requires_grad=True)
    with ad.tape() as nodes:
        y = ad.scan(lambda c, t: (np.sin(c * t) + ad.grad(np.sin)(c), c), x, np.ones(3))[0]
    assert [n.prim.name for n in nodes] == ["scan", "item", "item"]
    assert not any(isinstance(n.value, Symbol) for n in nodes)
    y.backward()


def test_an_explanation_shows_each_turn():
    shown = ad.explain(lambda x: ad.while_loop(lambda c: c < 9.0, np.square, x) * x, 2.0)
    assert "3 operations" in repr(shown)
    assert "x**2" in str(shown.table()) or "x^2" in str(shown.table())


def test_loops_are_native_when_compiled():
    """`scan`, `map` and `fori_loop` become a loop of the language; the others are called."""
    graph, out = trace(lambda x: ad.scan(lambda c, t: (np.tanh(c * t), c), x, np.ones(3))[1],
                       aval_of(1.0))
    graph.outputs = [out.node]
    program = program_of(graph)
    assert "loop" in {program.statements[n].name for n in program.live()}
    assert "call" not in {program.statements[n].name for n in program.live()}
    graph, out = trace(ad.grad(lambda x: ad.scan(
        lambda c, t: (np.tanh(c * t), c), x, np.ones(3))[1].sum()), aval_of(1.0))
    graph.outputs = [out.node]
    names = [s.name for s in program_of(graph).statements]
    assert names.count("loop") >= 2
    assert "call" not in names


# ---- random numbers

def drawn(o, loop):
    """What a loop with draws gives, and the numbers that come after it."""
    ad.random.seed(3)
    rng = ad.random.Generator(5)
    y = loop(o, rng)
    return [np.asarray(v) for v in flatten(y)[0]], rng.uniform(2).numpy(), ad.random.normal().item()


def noisy_scan(o, rng):
    def step(c, x):
        keep = rng.bernoulli(0.5, (3,))
        return c * 0.9 + np.where(keep, x, 0.0) + ad.random.normal((3,)), rng.uniform()
    return o.scan(step, H * 1.0, np.ones((4, 3)))


def noisy_nest(o, rng):
    def step(i, c):
        return o.scan(lambda c, _: (c + rng.normal(), None), c, None, 2)[0] * 0.5
    return o.fori_loop(0, 3, step, ad.tensor(1.0))


def noisy_walk(o, rng):
    return o.while_loop(lambda s: s[0] < 3.0, lambda s: (s[0] + rng.exponential(), s[1] + 1),
                        (ad.tensor(0.0), 0))


def noisy_branch(o, rng):
    y = o.cond(ad.tensor(1.0) > 0, rng.normal, lambda: ad.tensor(0.0))
    z = o.cond(ad.tensor(1.0) < 0, rng.normal, lambda: ad.tensor(0.0))
    return y, z, rng.normal()


class Unrolled(Eager):
    @staticmethod
    def scan(f, init, xs=None, length=None, reverse=False):
        if xs is not None:
            return scan(f, init, xs)
        for _ in range(length):
            init, _ = f(init, None)
        return init, None


@pytest.mark.parametrize("loop", [noisy_scan, noisy_nest, noisy_walk, noisy_branch])
def test_each_turn_draws_numbers_of_its_own(loop):
    expected = drawn(Unrolled, loop)
    close(drawn(ad, loop), expected)
    compiled = {}

    def wrapped(o, rng):
        compiled["f"] = ad.jit(lambda: loop(ad, rng))
        return compiled["f"]()
    close(drawn(ad, wrapped), expected)


def test_gradients_through_random_numbers():
    def loss(o, x):
        rng = ad.random.Generator(5)
        return o.scan(lambda c, t: (np.tanh(c * rng.normal()) + t, None), x, np.ones(4))[0]
    for f in (ad.grad, lambda f: lambda x: ad.jvp(f, (x,), (1.0,))[1],
              lambda f: ad.grad(ad.grad(f))):
        close(f(lambda x: loss(ad, x))(0.5), f(lambda x: loss(Eager, x))(0.5))
    close(ad.vmap(lambda x: loss(ad, x))(np.array([0.5, 1.0])),
          np.stack([loss(Eager, x) for x in (0.5, 1.0)]))
    rng = ad.random.Generator(1)
    before = rng.state.tolist()
    with pytest.raises(MutationError, match="cond_fun draws random numbers"):
        ad.while_loop(lambda c: rng.uniform() < c, lambda c: c * 0.5, 1.0)
    with pytest.raises(ZeroDivisionError):
        ad.fori_loop(0, 3, lambda i, c: rng.uniform() / 0 + 1 / 0, 1.0)
    assert rng.state.tolist() == before


def test_a_write_in_vain_is_an_error():
    """Reading a tensor from outside, then changing it: the other turns would not see it."""
    w = ad.tensor([1.0, 2.0])

    def step(i, c):
        y = c * w.sum()
        w.__iadd__(1.0)
        return y
    with pytest.raises(MutationError, match="writes into a tensor or array from"):
        ad.fori_loop(0, 3, step, 1.0)
    assert w.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("write", [
    lambda w: w.__iadd__(1.0), lambda w: w.zero_(), lambda w: w.__setitem__(0, 2.0)])
def test_a_write_that_only_the_first_turn_would_do_is_refused(write):
    w = ad.tensor(np.ones(3))

    def body(carry, _):
        write(w)
        return carry * 2.0, None
    with pytest.raises(MutationError, match="writes into a tensor or array from"):
        ad.scan(body, 1.0, length=3)
    np.testing.assert_array_equal(w.numpy(), np.ones(3))

    def own(carry, _):
        mine = ad.zeros(3)
        mine += 1.0
        mine[0] = carry
        return carry + mine.sum(), None
    assert ad.scan(own, 1.0, length=2)[0] == 10.0
