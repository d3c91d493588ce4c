"""Sums that kernels carry along: over a batch of products, and over outer loops in registers."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import blocks
from adjoint.compiler.chunks import forced
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.fuse import fused
from adjoint.compiler.native import AVX2, BASELINE, host, llvm
from adjoint.compiler.nests import Nest
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.tiles import Tiles
from adjoint.core.node import aval_of

FORCED = llvm().triple().startswith("x86_64")  # whose older levels can be asked for
TARGETS = [host(), *([AVX2, BASELINE] if FORCED else [])]


def close(program, args, target, **kind):
    """Machine code gives what NumPy gives, twice, so that nothing is left from the first call."""
    code, expected = Compiled(program, target=target, **kind), program(*args)
    for _ in range(2):
        for a, b in zip(code(*args), expected, strict=True):
            bound = 1e-5 if a.dtype == np.float32 else 1e-13
            np.testing.assert_allclose(a, b, bound, bound * 64, equal_nan=True)
            assert (np.signbit(a) == np.signbit(b)).all() or a.dtype.kind != "f"
    return code


def batch_of_products(rng, dtype, batch, sizes, curve):
    """Products, what is made of them, and its sums over axes of the batch."""
    b, (m, k, n) = ProgramBuilder(), sizes
    args = [rng.standard_normal(s).astype(dtype) for s in ((*batch, m, k), (*batch, k, n), (n,))]
    x, z, c = [b.input(aval_of(a)) for a in args]
    d, rank = b.dot([(x, z)]), len(batch) + 2
    y = b.elementwise("add", d, b.view(c, ((0, ((rank - 1, 1),)),), (*batch, m, n)))
    y = b.elementwise("tanh", y) if curve else y
    square = b.elementwise("multiply", y, y)
    axes = tuple(range(len(batch)))
    b.program.outputs = [b.reduce("add", s, a).number
                         for s, a in ((square, axes), (y, axes[:1]), (d, axes[-1:]))]
    b.program.outputs += [y.number] if rng.random() < 0.5 else []
    return b.program, args


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.vector_bytes)
@pytest.mark.parametrize("curve", [False, True])
def test_sums_over_a_batch_are_made_with_the_products(target, curve):
    rng = np.random.default_rng(target.vector_bytes)
    for dtype, batch, sizes in ((np.float32, (5,), (32, 16, 33)), (np.float64, (3, 2), (7, 5, 1)),
                                (np.float32, (1, 4), (1, 3, 40)), (np.float64, (2,), (40, 2, 3))):
        program, args = batch_of_products(rng, dtype, batch, sizes, curve)
        assert [g.kind for g in fused(program).groups] == ["dot"]
        close(program, args, target, checked=True)
        with forced(small=True):
            close(program, args, target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.vector_bytes)
@pytest.mark.parametrize(("own", "other"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_a_sum_over_a_batch_of_what_has_another_dtype(target, own, other):
    rng, b = np.random.default_rng(7), ProgramBuilder()
    args = [rng.integers(-9, 9, s).astype(own) for s in ((3, 5, 4), (3, 4, 37))]
    d = b.dot([tuple(b.input(aval_of(a)) for a in args)])
    changed = b.cast(d, np.dtype(other))
    b.program.outputs = [b.reduce("add", s, (0,)).number
                         for s in (changed, b.elementwise("multiply", changed, changed), d)]
    assert [g.kind for g in fused(b.program).groups] == ["dot"]
    close(b.program, args, target, checked=True)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_sum_over_a_batch_of_a_product_of_integers_has_loops_of_its_own(dtype):
    rng, b = np.random.default_rng(8), ProgramBuilder()
    args = [rng.integers(-9, 9, s).astype(dtype) for s in ((3, 5, 4), (3, 4, 7))]
    changed = b.cast(b.dot([tuple(b.input(aval_of(a)) for a in args)]), np.dtype(np.float64))
    b.program.outputs = [b.reduce("add", changed, (0,)).number]
    close(b.program, args, host(), checked=True)


SCHEMES = {  # sizes that lead to a scheme, with what blocks.py is told of the caches
    "small": ((37, 9, 70), {}), "large": ((50, 75, 70), {"PANEL": 1 << 10}),
    "sweep": ((2, 21, 301), {"FAR": 0, "BEYOND": 0})}


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("curve", [False, True])
def test_each_scheme_adds_up(name, curve, monkeypatch):
    sizes, settings = SCHEMES[name]
    for key, value in settings.items():
        monkeypatch.setattr(blocks, key, value)
    program, args = batch_of_products(np.random.default_rng(4), np.float64, (3,), sizes, curve)
    code = close(program, args, BASELINE if FORCED else host())
    plan = blocks.planned(program, 3, {0, 1, 2}, code.target.vector_bytes, code.target.fused)
    assert plan.scheme == name


def test_a_sum_over_a_batch_begins_with_zero_and_keeps_nan():
    rng = np.random.default_rng(0)
    program, args = batch_of_products(rng, np.float32, (3,), (4, 5, 6), True)
    args[0][1, 2] = np.nan
    args[0][:, 3] = 0.0
    args[2][:] = -0.0
    close(program, args, host())


def test_a_sum_over_rows_of_a_product_is_no_sum_over_its_batch():
    b = ProgramBuilder()
    x, z = (b.input(aval_of(np.ones(s))) for s in ((3, 4, 5), (3, 5, 6)))
    b.program.outputs = [b.reduce("add", b.dot([(x, z)]), axes).number for axes in ((1,), (0, 2))]
    assert fused(b.program).groups[0].kind == "dot"
    assert len(fused(b.program).groups) > 1
    close(b.program, [np.ones((3, 4, 5)), np.ones((3, 5, 6))], host())


def test_a_first_turn_that_does_not_begin_with_zero_is_noticed(monkeypatch):
    rng = np.random.default_rng(1)
    program, args = batch_of_products(rng, np.float64, (3,), (4, 5, 6), False)
    monkeypatch.setattr(Tiles, "unless_first", lambda self, axes, value, at: value.text)
    with pytest.raises(AssertionError):
        close(program, args, host())


def test_windows_are_not_copied():
    def f(w, x):
        total = 0.0
        for p in range(12):
            total = total + (np.tanh(x[:, p:p + 5] @ w) ** 2).sum(1)
        return (total * total).sum()
    rng = np.random.default_rng(2)
    w, x = rng.standard_normal((5, 7)), rng.standard_normal((16, 16))
    code = ad.jit(ad.grad(f))
    np.testing.assert_allclose(code(w, x), ad.grad(f)(w, x), 1e-12)
    program, kernels = code.show(w, x, stage="program"), code.show(w, x, stage="kernels")
    assert "copy(" not in program
    assert "loop(" not in program
    assert kernels.count(": dot ") == 2


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.vector_bytes)
def test_long_formulas_wait_for_blocks_of_products(target):
    rng = np.random.default_rng(3)
    for rows, columns, dtype in ((70, 32, np.float32), (1, 50, np.float64), (129, 7, np.float32),
                                 (33, 100, np.float64)):
        def f(x, w, b):
            return np.tanh(x @ w + b), np.exp(x @ w), x @ w
        args = [rng.standard_normal(s).astype(dtype) for s in ((rows, 9), (9, columns), columns)]
        for small in (False, True):
            with forced(small=small):
                for a, b in zip(ad.jit(f)(*args), f(*args), strict=True):
                    np.testing.assert_allclose(a, b, 2e-5 if dtype == np.float32 else 1e-13, 1e-6)


# ---- outer loops

def columns(rng, dtype, shape, op):
    """Reductions over all axes but the last, of several things; and some that fit not."""
    b = ProgramBuilder()
    args = [rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[:-1]).astype(dtype)]
    x, c = map(b.input, map(aval_of, args))
    wide = b.view(c, tuple([(0, ((d, 1),)) for d in range(len(shape) - 1)]), shape)
    y, axes = b.elementwise("multiply", x, wide), tuple(range(len(shape) - 1))
    b.program.outputs = [b.reduce(op, v, a).number for v, a in (
        (x, axes), (y, axes), (x, axes[:1]), (y, (len(shape) - 1,)), (y, (*axes, len(shape) - 1)))]
    b.program.outputs.append(b.elementwise("add", y, x).number)
    return b.program, args


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.vector_bytes)
@pytest.mark.parametrize("op", ["add", "maximum", "multiply"])
def test_sums_of_columns_are_carried_in_registers(target, op):
    rng = np.random.default_rng(target.vector_bytes)
    for shape, dtype in (((6, 5, 32), np.float32), ((3, 4, 8), np.float64), ((7, 2, 1), np.float32),
                         ((5, 3, 33), np.float32), ((40, 300), np.float64),
                         ((14, 4, 1), np.float64), ((2, 2, 2, 4), np.float64)):
        program, args = columns(rng, dtype, shape, op)
        if op == "maximum":
            args[0].flat[1] = np.nan
        close(program, args, target, checked=True)
        with forced(small=True):
            close(program, args, target)


def test_rows_that_fill_vectors_ride(monkeypatch):
    found = []
    monkeypatch.setattr(Nest, "riders", lambda self, old=Nest.riders: found.append(old(self)) or
                        found[-1])
    program, args = columns(np.random.default_rng(0), np.float32, (6, 5, 32), "add")
    close(program, args, host())
    assert sum(map(len, found)) >= 2
