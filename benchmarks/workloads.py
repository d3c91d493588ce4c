"""The workloads of `compiled.py`, each written once for every library that can run it.

A workload is a function ``make(peer)`` of a `Peer`: the arrays and functions that it needs, and how
that library differentiates and compiles. It returns the call that is timed, and what it gave, so
that results are compared before anything is timed.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

FLOAT = np.float32


@dataclass
class Peer:
    """What a workload needs of a library: ``m`` has its functions, under NumPy's names."""

    name: str
    m: Any
    array: Any  # NumPy array -> the library's
    compile: Any  # function -> compiled function
    gradient: Any  # (f, argnums) -> function
    wait: Any  # until a result is there
    relu: Any
    log_softmax_at: Any  # (scores, labels) -> the log-probabilities of the labels
    logsumexp: Any  # (x, axis)
    hessian: Any = None
    jacobian: Any = None


def source(seed=0):
    """The same numbers for every library."""
    return np.random.default_rng(seed)


def timed(peer, f, *args):
    """The call that is timed, with its arguments as the library's arrays."""
    given = [tree(peer.array, a) for a in args]
    return lambda: peer.wait(f(*given))


def tree(change, value):
    """Lists of arrays, each changed; Python numbers stay."""
    if isinstance(value, (list, tuple)):
        return type(value)(tree(change, v) for v in value)
    return change(value) if isinstance(value, np.ndarray) else value


def scalar(peer):
    """1: y = ln x1 + x1 x2 - sin x2, its gradient; Python floats."""
    m = peer.m

    def f(a, b):
        return m.log(a) + a * b - m.sin(b)
    return timed(peer, peer.compile(peer.gradient(f, (0, 1))), 2.0, 5.0)


def chain(peer, length=500):
    """2: the gradient of 1,000 scalar operations, one after the other."""
    def f(x):
        for _ in range(length):
            x = peer.m.sin(x) * 1.01
        return x
    return timed(peer, peer.compile(peer.gradient(f, 0)), 0.7)


def network(peer, sizes, batch, rate=0.05):
    """A training step of a multilayer perceptron: cross-entropy, gradient, SGD; as one function."""
    rng, weights = source(), []
    for i, o in pairwise(sizes):
        weights += [(rng.standard_normal((i, o)) * math.sqrt(2 / i)).astype(FLOAT),
                    np.zeros(o, FLOAT)]
    x = rng.standard_normal((batch, sizes[0])).astype(FLOAT)
    y = rng.integers(0, sizes[-1], batch)
    layers = len(sizes) - 1

    def loss(ps, x, y):
        h = x
        for k in range(layers):
            h = h @ ps[2 * k] + ps[2 * k + 1]
            if k < layers - 1:
                h = peer.relu(h)
        return -peer.log_softmax_at(h, y).mean()

    def step(ps, x, y):
        return [p - rate * g for p, g in zip(ps, peer.gradient(loss, 0)(ps, x, y), strict=True)]
    return timed(peer, peer.compile(step), weights, x, y)


def small_network(peer):
    """3: a training step, 64-64-10, batch 32."""
    return network(peer, (64, 64, 10), 32)


def digits_network(peer):
    """4: a training step, 784-512-512-10, batch 128."""
    return network(peer, (784, 512, 512, 10), 128)


def large_network(peer):
    """5: a training step, 784-2048-2048-10, batch 512."""
    return network(peer, (784, 2048, 2048, 10), 512)


def elementwise(peer, size=1_000_000):
    """6: ten elementwise operations and the gradient of their sum, 1e6 float32."""
    m = peer.m

    def f(x):
        t = m.tanh(x)
        w = m.log(m.exp(t * 0.5) + 1.0) * x
        return (0.5 * w * (1.0 + m.tanh(0.7978845608 * (w + 0.044715 * w * w * w)))).sum()
    x = source().standard_normal(size).astype(FLOAT)
    return timed(peer, peer.compile(peer.gradient(f, 0)), x)


def elementwise_large(peer):
    """6b: the same of 1e7 float32."""
    return elementwise(peer, 10_000_000)


def normalised(peer):
    """7: layer normalisation and softmax cross-entropy (512, 1024), the gradient of all three."""
    rng, (n, k) = source(), (512, 1024)

    def f(x, g, b, y):
        d = x - x.mean(1)[:, None]
        h = d / peer.m.sqrt((d * d).mean(1)[:, None] + 1e-5) * g + b
        return -peer.log_softmax_at(h, y).mean()
    args = (rng.standard_normal((n, k)).astype(FLOAT), np.ones(k, FLOAT), np.zeros(k, FLOAT),
            rng.integers(0, k, n))
    return timed(peer, peer.compile(peer.gradient(f, (0, 1, 2))), *args)


def scanning(peer):
    """8: one perceptron on 64 windows, in a Python loop; the gradient."""
    rng, (batch, places, window, hidden) = source(), (32, 64, 16, 32)
    x = rng.standard_normal((batch, places + window - 1)).astype(FLOAT)
    y = rng.standard_normal((batch, 1)).astype(FLOAT)
    shapes = ((window, hidden), (hidden,), (hidden, 1), (1,))
    weights = [(rng.standard_normal(s) * 0.2).astype(FLOAT) for s in shapes]

    def f(ps, x, y):
        total = 0.0
        for p in range(places):
            h = peer.m.tanh(x[:, p:p + window] @ ps[0] + ps[1])
            total = h @ ps[2] + ps[3] + total
        d = total / places - y
        return (d * d).mean()
    return timed(peer, peer.compile(peer.gradient(f, 0)), weights, x, y)


def hessian(peer):
    """9a: the Hessian of a function of 50 variables, float64."""
    rng, m = source(), peer.m
    a, x = rng.standard_normal((50, 50)) / 7, rng.standard_normal(50) * 0.5

    def f(x, a):
        return (m.tanh(a @ x) ** 2).sum() + (100.0 * (x[1:] - x[:-1] ** 2) ** 2).sum()
    return timed(peer, peer.compile(peer.hessian(f)), x, a)


def jacobian(peer):
    """9b: a Jacobian 200 by 200, float64."""
    rng, m = source(), peer.m
    a, x = rng.standard_normal((200, 200)) / 14, rng.standard_normal(200)
    return timed(peer, peer.compile(peer.jacobian(lambda x, a: m.tanh(a @ x) * m.sin(x))), x, a)


def recurrent(peer, steps=200):
    """10: a recurrent network over 200 steps, in a Python loop; the gradient."""
    rng, (batch, inputs, hidden) = source(), (16, 32, 64)
    x = rng.standard_normal((steps, batch, inputs)).astype(FLOAT)
    shapes = ((inputs, hidden), (hidden, hidden), (hidden,))
    weights = [(rng.standard_normal(s) * 0.1).astype(FLOAT) for s in shapes]

    def f(ps, x, h):
        for t in range(steps):
            h = peer.m.tanh(x[t] @ ps[0] + h @ ps[1] + ps[2])
        return (h * h).mean()
    return timed(peer, peer.compile(peer.gradient(f, 0)), weights, x,
                 np.zeros((batch, hidden), FLOAT))


def mixture(peer, n=1000, k=10, d=8):
    """G: the gradient of a diagonal Gaussian mixture's log-likelihood, float64."""
    rng, m = source(), peer.m

    def f(a, mu, ls, x):
        z = (x[:, None, :] - mu[None]) * m.exp(-ls)[None]
        each = a - peer.logsumexp(a, 0) + (-0.5 * z * z - ls[None]).sum(2) - (
            0.5 * d * 1.8378770664093453)
        return peer.logsumexp(each, 1).sum()
    args = (rng.standard_normal(k), rng.standard_normal((k, d)),
            rng.standard_normal((k, d)) * 0.3, rng.standard_normal((n, d)))
    return timed(peer, peer.compile(peer.gradient(f, (0, 1, 2))), *args)


# name: (workload, ratios that PERFORMANCE.md asks for (torch eager, jax.jit), a short title)
WORKLOADS = {
    "1": (scalar, (400, 80), "1: scalar expression"),
    "2": (chain, (400, 1.5), "2: chain of 1,000 scalars"),
    "3": (small_network, (14, 6), "3: MLP 64-64-10, a step"),
    "4": (digits_network, (2, 1.05), "4: MLP 784-512-512-10, a step"),
    "5": (large_network, (2.2, 1.2), "5: MLP 784-2048-2048-10, a step"),
    "6": (elementwise, (9, 2), "6: ten elementwise operations, 1e6"),
    "6b": (elementwise_large, (30, 5), "6b: the same, 1e7"),
    "7": (normalised, (2.7, 3.5), "7: layer norm, cross-entropy"),
    "8": (scanning, (60, 8), "8: MLP on 64 windows"),
    "9a": (hessian, (None, 4), "9a: Hessian, 50 variables"),
    "9b": (jacobian, (500, 50), "9b: Jacobian 200 x 200"),
    "10": (recurrent, (15, 3.5), "10: RNN, 200 steps"),
    "G": (mixture, (5, 3), "G: Gaussian mixture")}
