"""Random programs here, in torch and in jax.numpy: values, gradients, second derivatives.

A function of a peer stands for an operation if it has the same name and gives the same value on the
case that was drawn, with the same parameters; there is no list. Everything else is left out of the
program.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # tools/ is no installed package

from tools.fuzz.drawing import Refused, draw
from tools.fuzz.examine import gradient, weights_of
from tools.fuzz.programs import function, made, operations, run

pytestmark = pytest.mark.filterwarnings("ignore")
PROGRAMS = {"torch": 100, "jax": 25}
RTOL = 1e-8
TRIANGLE = "reads one triangle (as differences do here); peers spread the gradient over both"
APART = dict.fromkeys(("linalg.cholesky", "linalg.eigh", "linalg.eigvalsh"), TRIANGLE)
APART["ldexp"] = "torch 2.13: the gradient for negative exponents is 0, where it is 2**i"


class Torch:
    """How torch says what a program needs."""

    def __init__(self):
        self.torch = pytest.importorskip("torch", reason="parity is against torch")
        self.places = [self.torch, self.torch.special, self.torch.linalg,
                       self.torch.nn.functional]

    def array(self, x):
        return self.torch.as_tensor(np.array(x)) if isinstance(x, (np.ndarray, np.generic)) else x

    def apply(self, step, args):
        return find(self.places, step.name)(*args, **step.params)

    def constant(self, value, step):
        return self.array(value)

    def parts(self, y):
        return list(y) if isinstance(y, tuple) else [y]

    def move(self, x, kind, given):
        if kind == "take":
            return x.reshape(-1)[self.array(given)]
        if kind == "getitem":
            return x.flip(0)
        if kind == "cast":
            return x.to(getattr(self.torch, given))
        if kind == "sum_to":
            return x.sum_to_size(given) if given else x.sum()
        return {"reshape": x.reshape, "broadcast_to": x.broadcast_to,
                "transpose": x.permute}[kind](given)

    def bend(self, x, feed):
        inner = x * feed.scale + feed.phase
        return getattr(self.torch, feed.curve)(inner) * self.array(feed.radius) + self.array(
            feed.centre)

    def pick(self, x, choices):
        return x if choices.dtype.kind == "b" else self.array(choices)[
            (x * 1).remainder(len(choices))]

    def total(self, y, w):
        return (y * self.array(w)).sum()

    def derivatives(self, f, xs, u, vs):
        leaves = [self.torch.tensor(np.array(x), requires_grad=True) for x in xs]
        out = sum(y * k for y, k in zip(f(*leaves), u, strict=True))
        first = self.back(out, leaves)
        again = sum((g * self.array(np.asarray(v))).sum()
                    for g, v in zip(first, vs, strict=True))
        return [g.detach().numpy() for g in first], [
            g.detach().numpy() for g in self.back(again, leaves)]

    def back(self, out, leaves):
        if not getattr(out, "requires_grad", False):
            return [self.torch.zeros_like(x) for x in leaves]
        found = self.torch.autograd.grad(out, leaves, create_graph=True, allow_unused=True)
        return [self.torch.zeros_like(x) if g is None else g
                for g, x in zip(found, leaves, strict=True)]

    def numpy(self, y):
        return y.detach().numpy() if hasattr(y, "detach") else np.asarray(y)


class Jax(Torch):
    """How jax says it."""

    def __init__(self):
        self.jax = pytest.importorskip("jax", reason="parity is against jax")
        self.jax.config.update("jax_enable_x64", True)
        self.np = self.jax.numpy
        self.places = [self.np, self.np.linalg, self.jax.nn, self.jax.scipy.special]

    def array(self, x):
        return self.np.asarray(x) if isinstance(x, (np.ndarray, np.generic)) else x

    def move(self, x, kind, given):
        if kind == "take":
            return x.reshape(-1)[given]
        if kind == "getitem":
            return x[given]
        if kind == "cast":
            return x.astype(given)
        if kind == "sum_to":
            extra = x.ndim - len(given)
            over = [k for k in range(x.ndim)
                    if k < extra or (given[k - extra] == 1 and x.shape[k] != 1)]
            return x.sum(tuple(over), keepdims=True).reshape(given)
        return {"reshape": self.np.reshape, "broadcast_to": self.np.broadcast_to,
                "transpose": self.np.transpose}[kind](x, given)

    def bend(self, x, feed):
        return getattr(self.np, feed.curve)(x * feed.scale + feed.phase) * feed.radius + (
            feed.centre)

    def pick(self, x, choices):
        return x if choices.dtype.kind == "b" else self.np.asarray(choices)[
            (x * 1) % len(choices)]

    def derivatives(self, f, xs, u, vs):
        def out(*leaves):
            return sum(y * k for y, k in zip(f(*leaves), u, strict=True)) + 0.0 * sum(
                x.sum() for x in leaves)
        every = tuple(range(len(xs)))
        xs = [self.np.asarray(x) for x in xs]
        pull = self.jax.grad(out, every)
        vs = tuple(self.np.asarray(v) for v in vs)
        first, second = self.jax.jvp(pull, tuple(xs), vs)
        return [np.asarray(g) for g in first], [np.asarray(g) for g in second]

    def numpy(self, y):
        return np.asarray(y)


def find(places, name):
    """The peer's function of this name."""
    for place in places:
        found = getattr(place, name.rpartition(".")[2], None)
        if callable(found):
            return found
    raise Refused("the peer has no such function")


def shared(peer):
    """The operations that a peer has by name."""
    names = []
    for name in set(operations()) - set(APART):
        try:
            find(peer.places, name)
        except Refused:
            continue
        names.append(name)
    return sorted(names)


def accept(peer):
    """Refuse a step that the peer does not take, or to which it gives another value or dtype."""
    def check(step, values):
        theirs = {key: peer.array(np.asarray(values[key])) for key in step.sources()}
        try:
            args = [made(a, theirs, peer, step) for a in step.arguments]
            got = [peer.numpy(y) for y in peer.parts(peer.apply(step, args))]
        except Refused:
            raise
        except Exception as e:  # whatever it raises says: not these arguments
            raise Refused(f"the peer raises {type(e).__name__}") from e
        own = run_step(step, values)
        if len(got) != len(own) or any(
                np.shape(a) != np.shape(b) or a.dtype != np.asarray(b).dtype
                or not np.allclose(a, b, 1e-9, 1e-12, equal_nan=True)
                for a, b in zip(got, own, strict=True)):
            raise Refused("the peer means something else")
    return check


def run_step(step, values):
    """The value of a step here."""
    from tools.fuzz.programs import OURS
    args = [made(a, values, OURS, step) for a in step.arguments]
    return OURS.parts(OURS.apply(step, args))


@pytest.mark.parametrize("which", [Torch, Jax])
def test_programs_agree(which):
    peer = which()
    name = which.__name__.lower()
    names, seen, compared = shared(peer), set(), 0
    assert len(names) > 60
    for n in range(PROGRAMS[name]):
        drawn = draw([1, n], names, accept=accept(peer), flavour="double")
        program = drawn.program
        if not program.steps:
            continue
        seen |= {s.name for s in program.steps}
        compared += compare(program, peer, f"{name}, program {n}")
    assert compared > PROGRAMS[name] // 2
    assert len(seen) > 50, sorted(seen)


def compare(program, peer, where):
    """Gradient and its derivative along a direction; whether there was anything to compare."""
    rng = np.random.default_rng(5)
    xs = list(program.leaves.values())
    values = run(program, xs)
    weights = weights_of(program, values, rng)
    u = rng.uniform(0.5, 1.5, sum(w is not None for w in weights.values()))
    vs = tuple(np.asarray(rng.normal(size=np.shape(x)))[()] for x in xs)
    if not len(u):
        return False
    pull = gradient(function(program, weights), u)
    try:
        first, second = ad.jvp(pull, tuple(xs), vs)
    except ad.errors.MatrixError:
        return False  # a degenerate matrix: it has no derivative
    try:
        theirs = peer.derivatives(function(program, weights, peer), xs, u, vs)
    except (TypeError, NotImplementedError, RuntimeError):
        return False  # the peer has the value, and no derivative; the caller counts
    text = f"{where}: {[s.name for s in program.steps]}"
    for kind, a, b in (("gradient", first, theirs[0]), ("second derivative", second, theirs[1])):
        size = max([float(np.max(np.abs(g), initial=0.0)) for g in map(np.nan_to_num, b)] + [1e-3])
        for k, (mine, other) in enumerate(zip(a, b, strict=True)):
            # A peer may have NaN where a zero cancels an infinity here.
            mine = np.where(np.isnan(other), np.nan, mine)
            np.testing.assert_allclose(
                mine, other, RTOL * 100, RTOL * 100 * size,
                err_msg=f"{kind} of leaf {k}, {text}")
    return True
