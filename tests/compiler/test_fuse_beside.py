"""Short rows in lanes, one beside the other: their values, their special values, their kernels."""

from contextlib import contextmanager

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.beside import Beside
from adjoint.compiler.chunks import forced
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.fuse import fused
from adjoint.compiler.native import AVX2, BASELINE, llvm
from adjoint.compiler.nests import Nest
from adjoint.compiler.program import lowered
from adjoint.compiler.simplify import simplified
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace

FORCED = llvm().triple().startswith("x86_64")  # whose older levels can be asked for
TARGETS = [None, AVX2, BASELINE] if FORCED else [None]
quiet = pytest.mark.filterwarnings("ignore")


def mixture(weights, means, scales, x):
    z = (x[:, None, :] - means[None]) * ad.exp(-scales)[None]
    parts = weights + ad.sum(-0.5 * z * z - scales[None], axis=2)
    return ad.sum(ad.logsumexp(parts, axis=1))


def entropy(x, scale, labels):
    d = x - ad.mean(x, axis=1, keepdims=True)
    h = d / ad.sqrt(ad.mean(d * d, axis=1, keepdims=True) + np.float32(1e-5)) * scale
    return ad.mean(ad.logsumexp(h, axis=1) - h[np.arange(len(x)), labels])


def many(x, labels):
    """Sums of each row and of each column, extremes, elements by label, a row turned round."""
    picked, ramp = x[np.arange(len(x)), labels], np.arange(len(x), dtype=np.float32)
    return (x.sum(1), x.max(1), x.min(0), (x * x[:, ::-1]).sum(0), ad.softmax(x), picked * x.sum(1),
            (x * x.mean(1)[:, None]).sum((0, 1)), x.prod(1), ramp * x.sum(1))


def deeper(x, labels):
    return (x.sum((1, 2)), x.sum((0, 2)), (x * x.sum(1)[:, None]).sum((0, 1)),
            ad.softmax(x, axis=1), x[np.arange(len(x)), labels % x.shape[1]].sum(1))


def again(x, labels):
    """Rows that are stored, and read again: one by one, turned round, by label."""
    p = ad.softmax(x.reshape(len(x), -1))
    picked, turned = p[np.arange(len(x)), labels % p.shape[1]], p[:, ::-1] * 2.0
    return p, turned, picked, (p * turned).sum(1), (p - picked[:, None]).max(1), p > picked[:, None]


def with_gradient(f, count):
    """A function that gives its value and its gradient."""
    def both(*args):
        value, gradient = ad.value_and_grad(f, tuple(range(count)))(*args)
        return (value, *gradient)
    return both


def program_of(f, args):
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [o.node for o in out]
    return simplified(lowered(graph)), [*args, *graph.closed]


def case(name, rows):
    """A Program, its arguments, and how many lanes its rows take."""
    rng = np.random.default_rng(rows)

    def normal(*shape, dtype=np.float32):
        return (rng.standard_normal(shape) * 0.5).astype(dtype)
    labels = rng.integers(0, 5, rows)
    if name == "mixture":
        sizes = ((4,), (4, 3), (4, 3), (rows, 3))
        return (*program_of(with_gradient(mixture, 3), [
            normal(*s, dtype=np.float64) for s in sizes]), 8)
    if name == "entropy":
        return (*program_of(with_gradient(entropy, 2),
                            [normal(rows, 10), normal(10), labels]), 16)
    f, shape = {"many": (many, (rows, 5)), "deeper": (deeper, (rows, 5, 3)),
                "blocks": (deeper, (rows, 7, 5)), "again": (again, (rows, 7)),
                "pairs": (again, (rows, 2))}[name]
    return *program_of(f, [normal(*shape), labels]), 16


def close(got, want):
    """Equal special values, and numbers as near as sums of them are."""
    for a, b in zip(got, want, strict=True):
        size = np.abs(np.where(np.isfinite(b), b, 0)).max()
        eps = np.finfo(b.dtype).eps if b.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(a, b, rtol=64 * eps, atol=64 * eps * size)


@quiet
@pytest.mark.parametrize("name", ["mixture", "entropy", "many", "deeper", "blocks", "again",
                                  "pairs"])
@pytest.mark.parametrize("rows", [32, 33, 47])
def test_short_rows_are_beside_one_another(name, rows):
    program, args, lanes = case(name, rows)
    assert lanes in [g.rows for g in fused(program).groups]
    with np.errstate(all="ignore"):
        want = program(*args)
        for target in TARGETS if rows == 47 else TARGETS[:1]:
            for checked in (False, True):
                close(Compiled(program, target=target, checked=checked)(*args), want)


@quiet
@pytest.mark.parametrize("name", ["mixture", "many", "again"])
def test_rows_in_chunks(name):
    """Chunks are whole vectors of rows, and each has sums of its own."""
    program, args, lanes = case(name, 71)
    with np.errstate(all="ignore"):
        want = program(*args)
        with forced(small=True):
            for checked in (False, True):
                compiled = Compiled(program, checked=checked)
                assert any(c.chunk % lanes == 0 and c.many > 1
                           for c in compiled.layout.cuts.values())
                close(compiled(*args), want)


@quiet
def test_special_values_stay_in_their_row():
    program, args, _ = case("entropy", 40)
    x = args[0]
    x[3, 2], x[5, 1], x[6], x[39, 9] = np.nan, np.inf, -np.inf, 3e38
    with np.errstate(all="ignore"):
        want, got = program(*args), Compiled(program)(*args)
    close(got, want)
    assert np.isnan(got[1]).any(axis=1).tolist() == [k in {3, 5, 6} for k in range(40)]


def test_a_wrong_stride_between_lanes_is_found(monkeypatch):
    """A checked build sees that temporaries do not have the room of so many lanes."""
    program, args, _ = case("mixture", 40)
    placed = Nest.placed
    monkeypatch.setattr(Nest, "placed", lambda self, n: tuple(
        [k * (2 if self.rows and n in self.schedule.temporaries and d else 1)
         for d, k in enumerate(placed(self, n))]))
    with pytest.raises(ad.errors.RuleError, match="left the memory"):
        Compiled(program, checked=True)(*args)


@pytest.mark.parametrize("name", ["entropy", "again"])
def test_a_wrong_stride_of_squares_is_found(name, monkeypatch):
    """A checked build sees that rows that are copied or written lie elsewhere."""
    program, args, _ = case(name, 40)
    along = Beside.along_rows

    @contextmanager
    def wrong(self, n, columns):
        with along(self, n, columns) as (places, (far, near)):
            yield places, (far + 1, near)
    monkeypatch.setattr(Beside, "along_rows", wrong)
    with pytest.raises(ad.errors.RuleError, match="left the memory"):
        Compiled(program, checked=True)(*args)


def test_long_rows_and_few_rows_are_not():
    for shape in ((8, 5), (64, 40)):
        program, args = program_of(lambda x: (ad.softmax(x),), [np.ones(shape, np.float32)])
        schedule = fused(program)
        assert not any(g.rows for g in schedule.groups), (shape, args[0].shape)
        assert "rows" not in schedule.show()
    program, _, _ = case("many", 40)
    assert " of 16 rows over (40,)" in fused(program).show()
