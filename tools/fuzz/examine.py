"""What must agree: both modes, both orders, differences, the tape, checkpoint and the trace.

For each step k one number f_k(x) = <w_k, value_k>. Forward mode is held against differences for
each step by itself; reverse mode, whose cotangents are scaled so that each step counts alike,
against forward mode; so at order 2.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

import adjoint as ad
from adjoint.checking.differences import on_ladder, slope
from adjoint.compiler.numpy_builder import run as run_lowered
from adjoint.core.node import aval_of
from adjoint.core.symbol import Symbol, trace
from adjoint.errors import AdjointError, DTypeError, MatrixError, UnsupportedError

from .programs import Feed, Given, Group, function, operations, run

LOOSE = 2e-6  # beside differences, relative; their own error estimate is added
TIGHT = 1e-8  # between modes
JUDGED = 2e-4  # a difference whose relative error is larger is no reference
NEAR = 1e-6  # of a kink
FINER = 2.0 ** -14  # the first step of the differences that confirm what others contradict
SINGLE = 2e-3  # of float32, beside itself


@dataclass
class Mismatch:
    """Something that does not agree."""

    kind: str
    steps: tuple
    text: str


@dataclass
class Outcome:
    """What was found out about a program."""

    first: set = field(default_factory=set)  # numbers of steps checked at order 1
    second: set = field(default_factory=set)
    rejects: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)  # the same by operation
    mismatches: list = field(default_factory=list)
    extras: Counter = field(default_factory=Counter)

    def miss(self, kind, steps, text):
        self.mismatches.append(Mismatch(kind, tuple(steps), text))


class Examination:
    """One program at its leaves."""

    def __init__(self, program):
        self.program, self.out = program, Outcome()
        self.rng = np.random.default_rng(20_261)
        with np.errstate(all="ignore"):
            self.values = run(program, program.leaves.values())
        self.weights = weights_of(program, self.values, self.rng)
        nondiff = {s.number for s in program.steps if operations()[s.name].nondiff}
        self.frozen = {n: self.parts(n) for n in nondiff}
        self.f = function(program, self.weights)
        self.wrapped = function(program, self.weights, wrapped=True)
        self.plain = function(program, self.weights, frozen=self.frozen)
        self.xs = tuple(program.leaves.values())
        self.vs = tuple(np.asarray(self.rng.normal(size=np.shape(x)))[()] for x in self.xs)
        self.steps = [s for s in program.steps if self.weights[s.number] is not None]
        self.at = np.array([float(y) for y in self.f(*self.xs)])
        self.sizes = np.array([
            sum(float(np.sum(np.abs(w) * np.abs(y))) for w, y in zip(
                self.weights[s.number], self.parts(s.number), strict=True) if w is not None)
            for s in self.steps]) + 1e-3

    def parts(self, number):
        """The values of a step."""
        found, k = [], 0
        while ("y", number, k) in self.values:
            found.append(self.values["y", number, k])
            k += 1
        return found

    # ---- order 1

    def forward(self):
        """The tangent of each step."""
        return numbers(ad.jvp(self.f, self.xs, self.vs)[1])

    def first_order(self):
        self.d = d = self.forward()
        if not np.isfinite(d).all():
            bad = [s.number for s, ok in zip(self.steps, np.isfinite(d), strict=True) if not ok]
            self.out.miss("forward", bad, f"tangents {d}")
            return
        scale = np.maximum(np.abs(d), 1e-6 * self.sizes) + 1e-300
        if self.program.flavour == "single":
            self.single(d, scale)
        else:
            # Reverse mode refuses, by MatrixError, what depends on arbitrary phases of vectors.
            gradient(self.f, np.ones(len(d)))(*self.xs)
            self.compare(d, self.values_along, scale, self.sizes, "first")
        signs = self.rng.choice([-1.0, 1.0], len(d)) * self.rng.uniform(0.5, 1.5, len(d))
        self.u = signs / np.maximum(np.abs(d), 1e-3 * self.sizes)
        tight = SINGLE if self.program.flavour == "single" else TIGHT
        self.gradient = gradient(self.f, self.u)
        g = self.gradient(*self.xs)
        for x, part in zip(self.xs, g, strict=True):
            if np.shape(part) != np.shape(x) or np.asarray(part).dtype != np.asarray(x).dtype:
                self.out.miss("reverse", (), f"a gradient {aval_of(part)} of {aval_of(x)}")
        left, size = inner(g, self.vs)
        size += np.abs(self.u) @ (np.abs(d) + 1e-3 * self.sizes)
        self.agree("reverse", left, float(self.u @ d), size, tight)
        self.g, self.tight = g, tight

    def values_along(self, scale):
        def along(h):
            with np.errstate(all="ignore"):
                try:
                    y = self.plain(*[x + h * v for x, v in zip(self.xs, self.vs, strict=True)])
                except (AdjointError, ValueError, ArithmeticError):
                    return np.full(len(scale), np.nan)
            return numbers(y) / scale
        return along

    def compare(self, d, along, scale, sizes, order):
        """Each step's derivative against its difference."""
        g = along(scale)
        s = slope(g, 1.5, 0.0, 4e-16, self.sizes / scale if order == "second" else 0.0)
        size = np.maximum(np.maximum(np.abs(s.low), np.abs(s.high)), np.abs(d) / scale)
        floor = 1e-9 * sizes / scale

        def apart(s):
            return ~(np.abs(d / scale - s.low) <= 10 * s.error + LOOSE * size + floor)
        far, near = apart(s), None
        for k, step in enumerate(self.steps):
            if s.low[k] < s.high[k]:
                self.reject(step, "kink", order)
            elif not np.isfinite(s.error[k]) or s.error[k] > JUDGED * size[k] + floor[k]:
                self.reject(step, "no reference: the difference is ill-conditioned", order)
            elif far[k]:
                if near is None:
                    near, finer = kinked(g), on_ladder(g, g(0.0), FINER, 1.5, 4e-16, 0.0)
                if near[k]:
                    self.reject(step, f"within {NEAR:g} of a kink", order)
                elif not apart(finer)[k]:  # coarse steps agreed with one another by luck
                    self.reject(step, "no reference: it depends on the steps", order)
                else:
                    self.out.miss(f"{order} order, differences", [step.number],
                                  f"got {d[k]:.12g}, expected {s.low[k] * scale[k]:.12g} "
                                  f"+- {s.error[k] * scale[k]:.1g}")
            else:
                getattr(self.out, order).add(step.number)

    def reject(self, step, why, order):
        self.out.rejects[order, why] += 1
        self.out.rejected[step.name, why] += 1

    def single(self, d, scale):
        """In float32: the same program in float64 has the same derivatives, nearly."""
        doubled = Examination(in_double(self.program))
        other = ad.jvp(function(doubled.program, self.weights), self.xs, self.vs)[1]
        doubled = numbers(other)
        for k, step in enumerate(self.steps):
            size = max(abs(d[k]), abs(doubled[k])) + 1e-3 * self.sizes[k] + 1e-3
            if abs(d[k] - doubled[k]) < 0.02 * size:
                self.out.first.add(step.number)
            else:
                self.reject(step, "float32 and float64 are far apart", "first")

    def agree(self, kind, got, expected, size, tight, steps=()):
        """Two numbers agree relative to the magnitudes they were summed from."""
        if not abs(got - expected) <= tight * size + 1e-12:
            self.out.miss(kind, steps or [s.number for s in self.steps],
                          f"got {got:.12g}, expected {expected:.12g}, of magnitude {size:.3g}")
            return False
        return True

    def agree_all(self, kind, got, expected, tight):
        """Gradients agree leaf by leaf, relative to the largest element of all, or a usual one."""
        usual = float(np.max(np.abs(self.u) * self.sizes, initial=0.0)) * 1e-3
        size = max([float(np.max(np.abs(e), initial=0.0)) for e in expected], default=0.0) + usual
        for k, (a, b) in enumerate(zip(got, expected, strict=True)):
            if np.shape(a) != np.shape(b) or not np.all(
                    np.abs(np.asarray(a) - np.asarray(b)) <= tight * size + 1e-12):
                self.out.miss(kind, [s.number for s in self.steps],
                              f"leaf {k}: got {a}, expected {b}")
                return False
        return True

    # ---- order 2

    def second_order(self):
        def tangents(*xs):
            return ad.jvp(self.f, xs, self.vs)[1]
        d2 = numbers(ad.jvp(tangents, self.xs, self.vs)[1])
        if not np.isfinite(d2).all():
            bad = [s.number for s, ok in zip(self.steps, np.isfinite(d2), strict=True) if not ok]
            self.out.miss("second order", bad, f"forward over forward {d2}")
            return
        sizes = np.abs(self.d) + 1e-3 * self.sizes
        scale = np.maximum(np.abs(d2), 1e-5 * sizes) + 1e-300
        plain = self.plain

        def along(scale):
            def g(h):
                xs = tuple([x + h * v for x, v in zip(self.xs, self.vs, strict=True)])
                with np.errstate(all="ignore"):
                    try:
                        return numbers(ad.jvp(plain, xs, self.vs)[1]) / scale
                    except (AdjointError, ValueError, ArithmeticError):
                        return np.full(len(scale), np.nan)
            return g
        if self.program.flavour != "single":
            self.compare(d2, along, scale, sizes, "second")
        u = self.u * np.minimum(1.0, 1.0 / np.maximum(np.abs(self.u * d2), 1.0))
        pull = gradient(self.f, u)
        forward_reverse = ad.jvp(pull, self.xs, self.vs)[1]
        every = tuple(range(len(self.xs)))
        reverse_reverse = ad.grad(lambda *xs: total(pull(*xs), self.vs), every)(*self.xs)
        reverse_forward = ad.grad(lambda *xs: sum(
            t * k for t, k in zip(tangents(*xs), u, strict=True)), every)(*self.xs)
        left, size = inner(forward_reverse, self.vs)
        tight = 10 * self.tight
        self.agree("forward over reverse, forward over forward", left, float(u @ d2),
                   size + np.abs(u) @ (np.abs(d2) + sizes), tight)
        self.agree_all("reverse over reverse", reverse_reverse, forward_reverse, tight)
        self.agree_all("reverse over forward", reverse_forward, forward_reverse, tight)

    # ---- other ways to run it

    def tensors(self):
        """`backward()` on Tensors, and what runs inside checkpoint."""
        xs = [ad.tensor(x, requires_grad=True) for x in self.xs]
        out = sum(y * k for y, k in zip(self.wrapped(*xs), self.u, strict=True))
        if isinstance(out, ad.Tensor) and out.requires_grad:
            out.backward()
        got = [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in xs]
        self.agree_all("backward and checkpoint", got, self.g, self.tight)
        self.out.extras["backward()"] += 1
        for row, _, _ in self.program.blocks:
            self.out.extras[f"inside {row}"] += 1

    def blocks(self):
        """The blocks at both orders."""
        pull = gradient(self.wrapped, self.u)
        twice = ad.jvp(pull, self.xs, self.vs)[1]
        self.agree_all("inside a block, order 2", twice,
                       ad.jvp(self.gradient, self.xs, self.vs)[1], 10 * self.tight)

    def traced(self):
        """The program and its gradient as Graphs, each line lowered."""
        def both(*xs):
            return self.f(*xs), self.gradient(*xs)
        graph, out = trace(both, *map(aval_of, self.xs))
        flat = [*out[0], *out[1]]
        results = [r for r in flat if isinstance(r, Symbol)]
        graph.outputs = [r.node for r in results]
        with np.errstate(all="ignore"):
            got = run_lowered(graph, *self.xs, *graph.closed)
        eager = [e for e, r in zip([*self.at, *self.g], flat, strict=True)
                 if isinstance(r, Symbol)]
        values = sum(isinstance(r, Symbol) for r in out[0])
        for k, (a, b) in enumerate(zip(got[:values], eager[:values], strict=True)):
            self.agree(f"value {k} of the trace", float(a), float(b),
                       abs(float(b)) + float(np.max(self.sizes, initial=0.0)), self.tight)
        self.agree_all("gradient of the trace", got[values:], eager[values:], self.tight)
        self.out.extras["traced and lowered"] += 1


    def compiled(self):
        """The program and its gradient as machine code, called the general and the quick way."""
        def both(*xs):
            return self.f(*xs), self.gradient(*xs)
        compiled = ad.jit(both)
        for turn in range(3):
            values, parts = compiled(*self.xs)
            for k, (a, b) in enumerate(zip(values, self.at, strict=True)):
                self.agree(f"value {k} of call {turn} of the compiled program", float(a), float(b),
                           abs(float(b)) + float(np.max(self.sizes, initial=0.0)), self.tight)
            self.agree_all(f"gradient of call {turn} of the compiled program", parts, self.g,
                           self.tight)
        self.out.extras["compiled"] += 1


def examine(program, order=2, extras=True, compiled=False):
    """The Outcome of a program. An exception of a derivative rule is a mismatch too."""
    e = Examination(program)
    if not e.steps:
        return e.out
    with np.errstate(all="ignore"):
        for task in tasks(e, order, extras, compiled):
            try:
                task()
            except MatrixError as error:  # of a degenerate matrix: there is no such derivative
                order = "first" if task == e.first_order else "second"
                e.out.rejects[order, f"refused by the rule: {type(error).__name__}"] += 1
                break
            except Exception as error:  # noqa: BLE001 - the program runs, so a rule raised this
                if program.flavour == "complex" and isinstance(
                        error, (DTypeError, UnsupportedError)):
                    e.out.rejects["first", f"complex: {type(error).__name__}"] += 1
                    break
                e.out.miss(f"{task.__name__}: {type(error).__name__}",
                           [s.number for s in e.steps], str(error))
            if e.out.mismatches:
                break
    return e.out


def tasks(e, order, extras, compiled):
    """What is asked of the program; of a compiled one only that it agrees with itself."""
    yield e.first_order
    if compiled:
        yield e.compiled
        return
    if order == 2:
        yield e.second_order
    if extras:
        yield e.tensors
        if e.program.blocks and order == 2:
            yield e.blocks
        if e.program.flavour == "double" and len(e.steps) % 4 == 0:
            yield e.traced


# ---------------------------------------------------------------- helpers

def weights_of(program, values, rng):
    """{number of a step: its weights, one for each part, or None if it does not count}."""
    found = {}
    for s in program.steps:
        parts, k = [], 0
        while ("y", s.number, k) in values:
            y = np.asarray(values["y", s.number, k])
            rng = np.random.default_rng([17, s.number, k])  # the same in a shrunk program
            w = None
            if y.dtype.kind in "fc":
                w = np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape))
                if y.dtype.kind == "c":
                    w = w + 1j * rng.uniform(0.5, 1.5, y.shape)
                w = w[()]
            parts.append(w)
            k += 1
        counts = (program.outputs is None or s.number in program.outputs) and any(
            w is not None for w in parts)
        found[s.number] = parts if counts else None
    return found


def gradient(f, u):
    """The gradient of <u, f>, as a function."""
    cotangent = list(u)

    def pulled(*xs):
        y, pull = ad.vjp(f, *xs)
        return pull([np.asarray(c, aval_of(v).dtype)[()]
                     for c, v in zip(cotangent, y, strict=True)])
    return pulled


def numbers(ys):
    """Numbers as a vector."""
    return np.array([float(y) for y in ys])


def total(parts, vs):
    """<g, v> in the library's own operations."""
    return sum((g * v).sum() for g, v in zip(parts, vs, strict=True))


def inner(parts, vs):
    """<g, v>, and the magnitudes that it is summed from."""
    products = [np.asarray(g) * v for g, v in zip(parts, vs, strict=True)]
    return (sum(float(np.sum(p)) for p in products),
            sum(float(np.sum(np.abs(p))) for p in products))


def kinked(g):
    """Where the one-sided slopes of ``g``, a millionth to each side, differ."""
    at, ahead, behind = g(0.0), g(2 * NEAR), g(-2 * NEAR)
    right, left = (ahead - at) / (2 * NEAR), (at - behind) / (2 * NEAR)
    with np.errstate(invalid="ignore"):
        return ~(np.abs(right - left) <= 1e-3 * (np.abs(right) + np.abs(left)) + 1e-7)


def in_double(program):
    """The program with float64 where it has float32."""
    def wide(x):
        if isinstance(x, (np.ndarray, np.generic)) and np.asarray(x).dtype.kind == "f":
            return np.asarray(x, float)[()]
        return np.dtype(float) if isinstance(x, np.dtype) and x.kind == "f" else x

    def argument(a):
        if isinstance(a, Given):
            return Given(wide(a.value))
        if isinstance(a, Group):
            return Group(tuple(map(argument, a.parts)))
        if not isinstance(a, Feed):
            return a
        moves = tuple(m for m in a.moves if m[0] != "cast")
        return replace(a, centre=wide(a.centre), radius=wide(a.radius), moves=moves)
    steps = [replace(s, arguments=tuple(map(argument, s.arguments)),
                     params={k: wide(v) for k, v in s.params.items()}) for s in program.steps]
    return replace(program, steps=tuple(steps), flavour="double")
