"""Random programs of loops and branches under transformations, compiled at any depth.

Each is run with Python's own loops in place of `ad.scan` and the others, then with these, then
with `ad.jit` between the transformations. Which program it is follows from a seed alone: choices
are drawn anew in each run, in the same order. ADJOINT_RANDOM=2000 in the environment runs so many.
"""

import os
import types

import numpy as np
import optree
import pytest

import adjoint as ad

COUNT, BUNCH = int(os.environ.get("ADJOINT_RANDOM", "15")), 5
pytestmark = pytest.mark.filterwarnings("ignore")
STATEMENTS = ["op", "op", "op", "op", "cond", "scan", "fori", "repeat", "each", "function",
              "checkpoint", "jit", "inner"]


class Half(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return np.sin(x) * 0.5

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * np.cos(x) * 0.5


class Draw:
    """Choices, the same ones after each start; NumPy's generators must not be drawn from here."""

    def __init__(self, seed):
        self.state = seed * 2862933555777941757 + 3037000493
        self.below(2)

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        return (self.state >> 33) % n

    def among(self, xs):
        return xs[self.below(len(xs))]


# ---- Python's own control flow

def stacked(rows):
    columns = zip(*map(optree.tree_leaves, rows), strict=True)
    return optree.tree_unflatten(optree.tree_structure(rows[0]), [np.stack(c) for c in columns])


def scan(f, carry, xs, length=None, reverse=False):
    columns, structure = optree.tree_flatten(xs)
    count = columns[0].shape[0] if columns else length
    rows = []
    for t in range(count)[::-1 if reverse else 1]:
        carry, y = f(carry, optree.tree_unflatten(structure, [x[t] for x in columns]))
        rows.append(y)
    return carry, stacked(rows[::-1 if reverse else 1]) if rows else None


def fori_loop(lower, upper, f, carry):
    for i in range(int(lower), int(upper)):
        carry = f(np.int64(i), carry)
    return carry


def while_loop(test, f, carry):
    while test(carry):
        carry = f(carry)
    return carry


def vmap(f, in_axes):
    def mapped(*args):
        count = next(x.shape[a] for x, a in zip(args, in_axes, strict=True) if a is not None)
        return stacked([f(*[x if a is None else x[(slice(None),) * a + (i,)] for x, a in
                            zip(args, in_axes, strict=True)]) for i in range(count)])
    return mapped


PYTHON = types.SimpleNamespace(
    scan=scan, fori_loop=fori_loop, while_loop=while_loop, vmap=vmap,
    cond=lambda p, yes, no, *xs: yes(*xs) if p else no(*xs),
    map=lambda f, xs: scan(lambda c, x: (c, f(x)), 0.0, xs)[1],
    checkpoint=lambda f: f, jit=lambda f: f)


# ---- the programs

def bounded(x):
    return np.tanh(x)


def fitted(x, like):
    """``x`` made of the shape and dtype of another value."""
    shape = np.shape(like) if not hasattr(like, "shape") else like.shape
    while x.ndim > len(shape):
        x = np.sum(x, axis=0) * 0.3
    if x.shape != shape[len(shape) - x.ndim:]:
        x = np.sum(x) * 0.3
    return (x + 0.0 * like).astype(like.dtype)


def total(x):
    return np.sum(x) * 0.3


UNARY = [np.sin, np.tanh, lambda x: x * 0.5 - 0.25, lambda x: x * x * 0.3, lambda x: np.exp(-x * x),
         lambda x: np.cumsum(x, axis=-1) * 0.3 if x.ndim else x,
         lambda x: x[::-1] if x.ndim else -x,
         lambda x: np.sqrt(x * x + 1.5), lambda x: np.where(x > 0.1, x, 0.3 * x),
         lambda x: np.maximum(x, -0.2), lambda x: x - np.mean(x, axis=-1, keepdims=True)
         if x.ndim and x.size else x * 0.9]
BINARY = [np.add, np.multiply, np.minimum, lambda x, z: x - 0.5 * z,
          lambda x, z: np.where(x < z, x, z * 0.5), lambda x, z: x / (1.5 + z * z)]


class Program:
    def __init__(self, seed):
        self.seed, self.depth = seed, 1 + seed % 2

    def block(self, use, seed, env, whole, depth):
        """The values that a few statements make; ``whole`` are integers and truths."""
        q, env, whole = Draw(seed), [*env], [*whole]
        for _ in range(1 + q.below(2)):
            name = q.among(STATEMENTS) if depth >= 0 else "op"
            env.append(getattr(self, name)(use, q, env, whole, depth - 1))
        return env

    def op(self, use, q, env, whole, depth):
        x, z = q.among(env), q.among(env)
        if q.below(2):
            return q.among(UNARY)(x)
        return q.among(BINARY)(x, z if z.shape in (x.shape, (), x.shape[1:]) else total(z))

    def body(self, use, q, env, whole, depth):
        """A function of floats and whole numbers, with what it closes over."""
        seed = q.below(10 ** 6)
        env, whole = (env, whole) if q.below(2) else ([], [])
        return lambda floats, more=(): self.block(
            use, seed, [*floats, *env], [*whole, *more], depth)

    def truth(self, q, env, whole):
        v = total(q.among(env)) > q.among([-0.31, 0.137])
        return q.among(whole) % 2 == 0 if whole and q.below(2) else v

    def cond(self, use, q, env, whole, depth):
        x, z, p = q.among(env), q.among(env), self.truth(q, env, whole)
        yes, no = [self.body(use, q, env, whole, depth) for _ in range(2)]
        u, d = use.cond(p, *[lambda x, d, f=f, k=k: (
            fitted(f([x, d["z"]], [d["k"]])[-1], x), {"z": d["z"] * k, "k": d["k"] + k})
            for k, f in ((1, yes), (2, no))], x, {"z": z, "k": 1})
        whole.append(d["k"])
        return u + fitted(d["z"], u)

    def scan(self, use, q, env, whole, depth):
        x, f, count = q.among(env), self.body(use, q, env, whole, depth), q.below(4)
        xs = q.among([None, (np.arange(count), np.linspace(0.1, 1.0, count).astype(x.dtype)),
                      *[e for e in env if e.ndim == 2]])
        flag = q.below(2)

        def turn(c, r):
            floats = [e for e in optree.tree_leaves(r) if e.dtype.kind == "f"]
            made = f([c["h"], *floats], [c["k"]])
            h = bounded(fitted(made[-1], c["h"]))
            k = c["k"] + 1 if flag else c["k"] + np.sum(h > 0)
            return {"h": h, "k": k, "b": ~c["b"]}, (h * 0.5, c["b"])
        length = None if xs is not None else count
        c, ys = use.scan(turn, {"h": x, "k": 0, "b": np.True_}, xs, length=length,
                         reverse=bool(q.below(2)))
        whole.append(c["k"])
        return c["h"] + (np.sum(ys[0], axis=0) if ys is not None and ys[0].shape[0] else 0.0)

    def fori(self, use, q, env, whole, depth):
        x, f = q.among(env), self.body(use, q, env, whole, depth)
        upper = np.int64(1) + (total(x) > 0) if q.below(2) else q.below(4)
        return use.fori_loop(q.below(2), upper, lambda i, c: bounded(
            fitted(f([c], [i])[-1], c)), x)

    def repeat(self, use, q, env, whole, depth):
        x, f, most = q.among(env), self.body(use, q, env, whole, depth), q.below(4)
        limit = total(q.among(env))
        return use.while_loop(
            lambda c: (c[1] < most) & (np.sum(c[0]) < limit + 1.0),
            lambda c: (bounded(fitted(f([c[0]], [c[1]])[-1], c[0])), c[1] + 1), (x, 0))[0]

    def each(self, use, q, env, whole, depth):
        rows = [e for e in env if e.ndim and e.shape[0]]
        f = self.body(use, q, env, whole, depth)
        return use.map(lambda r: fitted(f([r])[-1], r), q.among(rows)) if rows else env[0] * 0.5

    def function(self, use, q, env, whole, depth):
        return Half.apply(q.among(env)) if depth == self.depth - 1 else np.cos(q.among(env))

    def checkpoint(self, use, q, env, whole, depth):
        f = self.body(use, q, env, whole, depth)
        return use.checkpoint(lambda x: f([x])[-1])(q.among(env))

    def jit(self, use, q, env, whole, depth):
        f = self.body(use, q, env, whole, depth)
        return use.jit(lambda x: f([x])[-1])(q.among(env))

    def inner(self, use, q, env, whole, depth):
        x, f = q.among(env), self.body(use, q, env, whole, depth)
        if q.below(2):
            return ad.grad(lambda x: np.sum(bounded(f([x])[-1])))(x)
        return ad.jvp(lambda x: f([x])[-1], (x,), (x * 0.0 + 0.5,))[1]

    def __call__(self, use, x, w, s):
        made = self.block(use, self.seed, [x, w, s], [], self.depth)
        return made[-1], made[-2] * 0.5


# ---- the transformations: of functions of x, w, s that give any tree

def number(f):
    return lambda *args: sum(np.sum(bounded(y * (1.0 + k)))
                             for k, y in enumerate(optree.tree_leaves(f(*args))))


def directions(*args):
    return tuple(x * 0.0 + k for k, x in enumerate(args, 1))


def of_w(transform, f):
    return lambda x, w, s: transform(lambda w: f(x, w, s))(w)


WAYS = {
    "grad": lambda use, f: ad.grad(number(f), (0, 1, 2)),
    "value_and_grad": lambda use, f: ad.value_and_grad(number(f), (2, 0)),
    "jvp": lambda use, f: lambda *args: ad.jvp(f, args, directions(*args)),
    "vjp": lambda use, f: lambda *args: ad.vjp(number(f), *args)[1](1.0),
    "linearize": lambda use, f: lambda *args: ad.linearize(f, *args)[1](*directions(*args)),
    "hvp": lambda use, f: lambda *args: ad.hvp(number(f), args, directions(*args)),
    "hessian": lambda use, f: of_w(ad.hessian, number(f)),
    "forward": lambda use, f: of_w(lambda g: ad.jacobian(g, mode="forward"), f),
    "checkpoint": lambda use, f: use.checkpoint(f),
    "vmap": lambda use, f: lambda x, w, s: use.vmap(f, in_axes=(0, None, 0))(
        np.stack([x, x * 0.7 - 0.2]), w, np.stack([s, s * 0.5 - 0.3])),
    "vmap last": lambda use, f: lambda x, w, s: use.vmap(f, in_axes=(None, 1, None))(
        x, np.stack([w, -w], axis=1), s)}
SECOND = {"linearize", "hvp", "hessian", "forward"}


def composed(use, program, names, compiled):
    f = lambda x, w, s: program(use, x, w, s)
    for n, name in enumerate([None, *names]):
        f = f if name is None else WAYS[name](use, f)
        f = ad.jit(f) if n in compiled else f
    return f


def arguments(seed):
    r, q = np.random.default_rng([seed, 3]), Draw(seed + 1)
    n, m, dtype = q.among([3, 3, 1, 2, 0, 33]), q.among([2, 3, 1, 0]), q.among(["f8", "f8", "f4"])
    x, w = r.normal(size=(m, 2 * n))[:, ::2].astype(dtype), r.normal(size=n).astype(dtype)[::-1]
    s = np.dtype(dtype).type(r.normal())
    return tuple(map(ad.tensor, (x, w, s))) if q.below(4) == 0 else (x, w, s)


def same(found, expected, said):
    assert optree.tree_structure(found) == optree.tree_structure(expected), said
    for a, b in zip(*map(optree.tree_leaves, (found, expected)), strict=True):
        assert isinstance(a, ad.Tensor) == isinstance(b, ad.Tensor), said
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), said
        tolerance = 1e-9 if b.dtype.itemsize == 8 else 3e-3
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=said)


def agrees(seed):
    q, args = Draw(seed + 2), arguments(seed)
    names = []
    for _ in range(q.below(3)):
        names.append(q.among([w for w in WAYS if not (w in SECOND and SECOND & {*names})]))
    program, said = Program(seed), f"program {seed}: {names}"
    with np.errstate(all="ignore"):
        eager = composed(ad, program, names, ())(*args)
        expected = composed(PYTHON, program, names, ())(*args)
        for a, b in zip(*map(optree.tree_leaves, (eager, expected)), strict=True):
            same(np.asarray(a), np.asarray(b), f"{said}, eager")
        ends = {(len(names),), tuple(range(len(names) + 1)), (0,)}
        for compiled in sorted(ends)[:2 if COUNT <= 100 else 3]:
            f = composed(ad, program, names, compiled)
            for _ in range(2):
                same(f(*args), eager, f"{said}, compiled at {compiled}")


@pytest.mark.parametrize("first", range(0, COUNT, BUNCH))
def test_random_compositions(first):
    for seed in range(first, first + BUNCH):
        agrees(seed)
