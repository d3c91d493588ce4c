"""Random loops on small whole numbers, zeros of either sign, infinities and NaN: to the last bit.

Sums of such numbers are exact in any order, so what `ad.jit` makes of a Python loop (re-rolled,
distributed, fused) must equal NumPy on the statements as lowered, the signs of zeros included.
These loops have what those of `compilations.looped` have not: integers and truth values as states,
states that change places or are two turns old, sums that begin with -0 or with a term, that are
read on the way or added to twice in a turn, results of all turns stacked, reversed or every other
one, turns that differ from the rest, a second loop over what the first has made, indices that the
loop computes, turns that only add to sums, and several results that share statements.
ADJOINT_RANDOM=20000 in the environment runs so many.
"""

import os
from itertools import pairwise

import numpy as np
import pytest
from compilations import of_graph, quiet

import adjoint as ad
from adjoint.compiler.chunks import forced
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.jit_row import looped
from adjoint.compiler.simplify import simplified
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace

COUNT, BUNCH = int(os.environ.get("ADJOINT_RANDOM", "60")), 10
WHOLE = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0]
RARE = [np.nan, np.inf, -np.inf]


class Loop:
    """A random loop: what each turn does is drawn once, for all turns."""

    def __init__(self, seed):
        self.q = q = np.random.default_rng([seed, 17])
        self.T = int(q.integers(7, 20))
        self.B, self.H = int(q.choice([1, 2, 3, 5])), int(q.choice([1, 3, 4, 8]))
        self.dtype = np.dtype([np.float64, np.float32][seed % 2])
        self.special = q.random() < 0.3
        self.steps = [self.step() for _ in range(int(q.integers(1, 6)))]
        self.backward = bool(q.integers(2))
        self.sums = [self.sum() for _ in range(q.integers(0, 4))]
        self.odd = str(q.choice([""] * 12 + ["first", "last", "even", "late"]))
        self.ends = [str(q.choice(ENDS)) for _ in range(int(q.integers(0, 3)))]
        self.again, self.fresh = q.random() < 0.4, q.random() < 0.4
        self.begin = str(q.choice(["row", "zero", "minus", "one"]))

    def step(self):
        """One statement of a turn: what it does, and two numbers."""
        q = self.q
        return str(q.choice(STEPS)), int(q.integers(0, 4)), int(q.integers(0, 3))

    def sum(self):
        """How a sum begins, what it adds, and in which order."""
        q = self.q
        begin = q.choice(["zero", "minus", "term", "row", "whole"])
        what = q.choice(["v", "row", "product", "total", "twice", "less", "count", "dot", "rows"])
        return str(begin), str(what), bool(q.integers(2))

    def args(self):
        """Arrays of whole numbers, and places."""
        q = np.random.default_rng([self.T, self.B, self.H, 5])
        choice = WHOLE + (RARE if self.special else [])
        p = [1.0] * len(WHOLE) + ([0.05] * len(RARE) if self.special else [])
        p = np.array(p) / sum(p)
        shapes = ((2 * self.T + 5, self.B, self.H), (self.H, self.H),
                  (self.B, self.T + 2 * self.H + 4))
        x, w, s = [q.choice(choice, size=n, p=p).astype(self.dtype) for n in shapes]
        return [x, w, s, q.integers(0, self.T, self.T + 5)]

    # ---- one turn

    def turn(self, t, state, history, args):
        """The new states."""
        x, w, s, places = args
        v, c, k, flag = state
        for name, a, b in self.steps:
            row = x[t + a]
            if name == "row":
                v = v + row
            elif name == "backward":
                v = v - x[self.T - 1 - t + a]
            elif name == "every":
                v = np.maximum(v, x[2 * t + a]) + 0.0  # of zeros, either
            elif name == "window":
                v = v + s[:, t + a:t + a + self.H]
            elif name == "flipped":
                v = v * s[:, t + a:t + a + self.H][:, ::-1]
            elif name == "dot":
                v = v @ w
            elif name == "thin":
                v = v + (row @ w[:, :1])
            elif name == "swap":
                v, c = c, v
            elif name == "old":
                v = v + history[-1 - b][0] if len(history) > b and not self.fresh else v
            elif name == "choose":
                v = np.where(v > c, v, row)
            elif name == "truth":
                flag = (v < row) if b else flag ^ (v == c)
                v = np.where(flag, v, c)
            elif name == "count":
                k = k + 1 if b else k + places[t]
            elif name == "wrap":
                k = (k * 3 + a) % self.T
            elif name == "pick":
                v = v + ad.take(x, k % self.T, axis=0)
            elif name == "known":
                v = v + ad.take(x, places[t + a], axis=0)
            elif name == "number":
                v = v * (1.0 + t % 2)
            elif name == "mean":
                v = v - np.sum(v, axis=-1, keepdims=True)
            elif name == "spread":
                c = c + np.sum(v * row, axis=0)
            elif name == "extreme":
                c = np.minimum(c, (np.max(v, axis=0) + 0.0)[None] + row) + 0.0
            elif name == "same":
                v = v + np.abs(w).sum()
            v = np.minimum(np.maximum(v, -4.0), 4.0)
            c = np.minimum(np.maximum(c, -4.0), 4.0)
        return v, c, k, flag

    def term(self, what, t, state, args):
        """What a sum adds in a turn."""
        x, w, s, _ = args
        v, c = state[:2]
        return {"v": lambda: v, "row": lambda: x[t + 1], "product": lambda: v * c,
                "total": lambda: x[t] - v, "twice": lambda: -v, "less": lambda: -x[t],
                "count": lambda: np.where(v > 0, v, -0.0) * 1.0,
                "dot": lambda: v @ w, "rows": lambda: s[:, t:t + self.H] * v}[what]()

    def differs(self, t):
        """Whether a turn does something besides."""
        return {"first": t == 0, "last": t == self.T - 1, "even": t % 2 == 0,
                "late": t >= self.T - 3}.get(self.odd, False)

    # ---- the function

    def __call__(self, *args):
        x, w = args[:2]
        zero = np.zeros((self.B, self.H), self.dtype)
        start = {"row": lambda: x[0], "zero": lambda: zero, "minus": lambda: x[1] * 0.0 - zero,
                 "one": lambda: zero + 1.0}[self.begin]()
        state = start, x[2] + 0.0, args[3][0], x[0] > x[1]
        history, totals, states = [], [None] * len(self.sums), []
        turns = range(self.T - 1, -1, -1) if self.backward else range(self.T)
        for t in turns:
            if self.fresh:  # nothing goes from turn to turn but sums
                state = x[t + 1], x[self.T - t], args[3][t], x[t] > x[t + 1]
            before, state = state, self.turn(t, state, history, args)
            if self.differs(t):
                state = state[0] + x[t], *state[1:]
            history.append(before)
            states.append(state)
            for j, (begin, what, left) in enumerate(self.sums):
                term = self.term(what, t, state, args)
                if totals[j] is None and begin == "term":
                    totals[j] = term
                    continue
                first = {"zero": 0.0, "minus": -0.0, "row": x[3], "whole": -zero}.get(begin)
                total = first if totals[j] is None else totals[j]
                totals[j] = term + total if left else total - term if what == "less" else (
                    total + term)
                if what == "twice":
                    totals[j] = totals[j] + x[t]
                if what == "total" and j == 1:
                    state = np.minimum(np.maximum(state[0] + totals[j], -4.0), 4.0), *state[1:]
        out = [*state, *[t for t in totals if t is not None]]
        if self.again:
            out.append(self.second(states, args, w))
        return [np.asarray(o) if isinstance(o, (int, float)) else o
                for o in [*out, *[self.end(e, states, x) for e in self.ends]]]

    def second(self, states, args, w):
        """A second loop over what the first has made, from its end on."""
        d = args[0][4]
        for v, c, _, flag in states[::-1]:
            d = np.minimum(np.maximum(np.where(flag, d, v) + d @ w - c * v, -4.0), 4.0)
        return d

    def end(self, name, states, x):
        """Something that is made of the states of all turns."""
        vs = [s[0] for s in states]
        return {"stack": lambda: np.stack(vs), "back": lambda: np.stack(vs[::-1]),
                "other": lambda: np.stack(vs[::2]), "some": lambda: np.stack(vs[1:-1]),
                "counts": lambda: np.stack([s[2] + 0 for s in states]),
                "truths": lambda: np.stack([s[3] for s in states]),
                "sum": lambda: sum(vs[1:], vs[0]), "both": lambda: np.stack(vs) + x[:len(vs)],
                "none": lambda: vs[len(vs) // 2],
                "pairs": lambda: np.stack([a - b for a, b in pairwise(vs)])}[name]()


STEPS = ["row", "backward", "every", "window", "flipped", "dot", "thin", "swap", "old", "choose",
         "truth", "count", "wrap", "pick", "known", "number", "mean", "spread", "extreme", "same"]
ENDS = ["stack", "back", "other", "some", "counts", "truths", "sum", "both", "none", "pairs"]


def equal(found, expected, said):
    """The same bits, but for those of NaN."""
    assert len(found) == len(expected)
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), said
        np.testing.assert_array_equal(a, b, f"{said}, result {k}")
        if a.dtype.kind == "f":
            known = ~np.isnan(b)
            np.testing.assert_array_equal(np.signbit(a[known]), np.signbit(b[known]),
                                          f"{said}, the sign of zeros of result {k}")


def agrees(seed, **kind):
    """One loop, compiled as `ad.jit` does, against NumPy on its statements; how many were left."""
    loop = Loop(seed)
    args = loop.args()
    graph, out = trace(loop, *map(aval_of, args))
    program = of_graph(graph, out)
    with np.errstate(all="ignore"):
        expected = program(*args, *graph.closed)
        final = looped(simplified(program, stabilise=False))
        equal(final(*args, *graph.closed), expected, f"loop {seed}, as statements")
        code = Compiled(final, **kind)
        for _ in range(2):
            equal(code(*args, *graph.closed), expected, f"loop {seed}")
    return len(program.live()), len(final.live())


@pytest.mark.parametrize("first", range(0, COUNT, BUNCH))
@quiet
def test_wild_loops(first):
    for seed in range(first, first + BUNCH):
        with forced(small=seed % 3 == 0):
            agrees(seed, checked=seed % 5 == 0)


def test_a_sum_that_is_read_on_the_way_stays_in_its_loop():
    def f(x, v):
        total = 0.0
        for t in range(20):
            v = np.sin(v) * x[t]
            total = (x[t] - v) + total
            v = np.cos(v + total)
        return total, v
    x, v = np.random.default_rng(0).standard_normal((20, 3)), np.ones(3)
    for found, expected in zip(ad.jit(f)(x, v), f(x, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
