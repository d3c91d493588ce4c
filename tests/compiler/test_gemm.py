"""The kernel of a product: every shape, any strides, what follows it, at every vector width."""

import re
from itertools import pairwise

import numpy as np
import pytest

from adjoint.compiler import blas, blocks, calibration, gemm, tiles
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.evaluator import Evaluator
from adjoint.compiler.loops import Loops
from adjoint.compiler.native import AVX2, BASELINE, Library, host, llvm
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.registers import Lanes
from adjoint.compiler.text import Module
from adjoint.core.node import aval_of
from adjoint.errors import RuleError

FORCED = llvm().triple().startswith("x86_64")  # whose older levels can be asked for
TARGETS = {"host": host(), **({"256": AVX2, "128": BASELINE} if FORCED else {})}
targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
checks = pytest.mark.parametrize("checked", [False, True], ids=["", "checked"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TRANSPOSED = ((0, ((1, 1),)), (0, ((0, 1),)))


def built(write, *args):
    """A Program of inputs like ``args``, whose outputs ``write`` returns."""
    b = ProgramBuilder()
    b.program.outputs = [o.number for o in write(b, *[b.input(aval_of(a)) for a in args])]
    return b.program


def normal(rng, dtype, *shape):
    return rng.normal(size=shape).astype(dtype)


def agree(got, x, z, said=""):
    """A product is right within 2 n eps sum |x| |z|."""
    want = x.astype(np.float64) @ z.astype(np.float64)
    eps = np.finfo(got.dtype).eps
    most = 2 * (x.shape[-1] + 1) * eps * (abs(x).astype(np.float64) @ abs(z).astype(np.float64))
    assert (abs(got - want) <= most).all(), f"{said}: off by {abs(got - want).max()}"


def view(b, x, index, shape):
    return b.view(x, index, shape) if np.prod(shape) else x


# ---- shapes

@targets
@checks
def test_shapes_to_33(target, checked):
    rng = np.random.default_rng(0)
    shapes = [(s, 1 + (7 * s + 5 * checked) % 33, 1 + (13 * s + 4) % 33)
              for s in range(1, 34, 1 + 3 * checked)]
    shapes += [(1 + s % 3, 33 - s, s) for s in (1, 6, 17, 28)] + [(20, s, 1) for s in (1, 33)]
    args = [normal(rng, [np.float32, np.float64][j % 2], *shape)
            for j, (m, k, n) in enumerate(shapes) for shape in ((m, k), (k, n))]
    args[1::2] = [a.astype(x.dtype) for x, a in zip(args[::2], args[1::2], strict=True)]
    program = built(lambda b, *refs: [b.dot([(x, z)]) for x, z in
                                      zip(refs[::2], refs[1::2], strict=True)], *args)
    found = Compiled(program, target=target, checked=checked)(*args)
    for got, x, z in zip(found, args[::2], args[1::2], strict=True):
        agree(got, x, z, f"{x.shape} {z.shape}")


LAYOUTS = {
    "straight": lambda b, x, m, n: x,
    "transposed": lambda b, x, m, n: b.view(b.copy(x, (n, m)), TRANSPOSED, (m, n)),
    "flipped": lambda b, x, m, n: b.view(x, ((m - 1, ((0, -1),)), (n - 1, ((1, -1),))), (m, n)),
    "one row": lambda b, x, m, n: b.view(x, ((0, ()), (0, ((1, 1),))), (m, n)),
    "one column": lambda b, x, m, n: b.view(x, ((0, ((0, 1),)), (0, ())), (m, n)),
    "windows": lambda b, x, m, n: b.view(b.copy(x, (m * n,)), ((0, ((0, 1), (1, 1))),), (m, n)),
    "thinned": lambda b, x, m, n: b.view(b.copy(x, (m * n,)), ((0, ((0, 2), (1, 1))),), (m, n)),
}


@targets
@dtypes
@checks
def test_operands_of_any_strides(target, dtype, checked):
    rng = np.random.default_rng(1)
    shapes = [(9, 40, 18), (2, 67, 19), (34, 35, 2)]
    args = [normal(rng, dtype, *shape) for m, k, n in shapes for shape in ((m, k), (k, n))]
    pairs = [(a, z) for a in LAYOUTS for z in LAYOUTS if a == z or "straight" in {a, z}]
    pairs = pairs[checked::3 if checked else 1]

    def write(b, *refs):
        for x, z in zip(refs[::2], refs[1::2], strict=True):
            for left, right in pairs:
                sides = (LAYOUTS[left](b, x, *x.shape), LAYOUTS[right](b, z, *z.shape))
                yield from (*sides, b.dot([sides]))
    program = built(write, *args)
    found = Compiled(program, target=target, checked=checked)(*args)
    for k in range(0, len(found), 3):
        x, z, got = found[k:k + 3]
        agree(got, x, z, str(pairs[k // 3 % len(pairs)]))


@targets
def test_batches_and_sums_of_products(target):
    rng = np.random.default_rng(2)
    x, z = normal(rng, np.float32, 2, 3, 5, 17), normal(rng, np.float32, 2, 3, 17, 6)
    u, v = normal(rng, np.float32, 2, 3, 5, 40), normal(rng, np.float32, 2, 3, 40, 6)

    def write(b, x, z, u, v):
        swapped = b.view(z, ((0, ((1, 1),)), (0, ((0, 1),)), (0, ((2, 1),)), (0, ((3, 1),))),
                         (3, 2, 17, 6))
        turned = b.view(x, ((0, ((1, 1),)), (0, ((0, 1),)), (0, ((2, 1),)), (0, ((3, 1),))),
                        (3, 2, 5, 17))
        return b.dot([(x, z)]), b.dot([(x, z), (u, v)]), b.dot([(turned, swapped)])
    program = built(write, x, z, u, v)
    one, both, turned = Compiled(program, target=target, checked=True)(x, z, u, v)
    agree(one, x, z)
    agree(both, np.concatenate([x, u], axis=3), np.concatenate([z, v], axis=2))
    agree(turned, x.swapaxes(0, 1), z.swapaxes(0, 1))


@targets
def test_nothing_to_add_gives_zeros_and_what_follows(target):
    x, z = np.ones((4, 0)), np.ones((0, 19))
    more = np.arange(76.0).reshape(4, 19)

    def write(b, x, z, more):
        d = b.dot([(x, z)])
        return d, b.elementwise("add", d, more), b.dot([(b.view(x, TRANSPOSED, (0, 4)), more)])
    program = built(write, x, z, more)
    zeros, rest, empty = Compiled(program, target=target)(x, z, more)
    np.testing.assert_array_equal(zeros, np.zeros((4, 19)))
    np.testing.assert_array_equal(rest, more)
    assert empty.shape == (0, 19)


@targets
@dtypes
def test_nan_and_infinities_reach_their_row_and_column_only(target, dtype):
    rng = np.random.default_rng(3)
    for shape in ((18, 37, 21), (3, 70, 21)):
        m, k, n = shape
        x, z = normal(rng, dtype, m, k), normal(rng, dtype, n, k)
        x[1, 2], x[2, k - 1], z[n - 1, 3], z[0, 0] = np.nan, np.inf, -np.inf, np.nan
        program = built(lambda b, x, z: [b.dot([(x, b.view(z, TRANSPOSED, z.shape[::-1]))])], x, z)
        with np.errstate(invalid="ignore"):
            (got,), want = Compiled(program, target=target)(x, z), x @ z.T
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)])
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


# ---- what follows a product

@targets
@dtypes
@checks
def test_what_follows_is_computed_from_the_sums(target, dtype, checked, monkeypatch):
    monkeypatch.setattr(tiles, "FORESEEN", 0 if checked else tiles.FORESEEN)
    rng = np.random.default_rng(4)
    m, k, n = 19, 23, 37
    x, z, w = normal(rng, dtype, m, k), normal(rng, dtype, k, n), normal(rng, dtype, m, n)
    column, row = normal(rng, dtype, m), normal(rng, dtype, n)

    def write(b, x, z, w, column, row):
        d = b.dot([(x, z)])
        bias = b.view(row, ((0, ((1, 1),)),), (m, n))
        scale = b.view(column, ((0, ((0, 1),)),), (m, n))
        rate = b.view(b.const(dtype(0.1)), (), (m, n))
        none = b.view(b.const(dtype(0)), (), (m, n))
        yield b.elementwise("maximum", b.elementwise("add", d, bias), none)
        yield b.elementwise("tanh", b.elementwise("multiply", d, scale))
        yield b.elementwise("subtract", w, b.elementwise("multiply", rate, d))
        yield b.select(b.elementwise("greater", w, none), d, none)
        yield b.cast(d, np.dtype(np.float64))
        yield b.elementwise("add", d, b.view(w, ((m - 1, ((0, -1),)), (0, ((1, 1),))), (m, n)))
    args = x, z, w, column, row
    program = built(write, *args)
    compiled = Compiled(program, target=target, checked=checked)
    assert len(compiled.layout.schedule.groups) == 1  # one kernel, and the product is not stored
    tight = 1e-4 if dtype == np.float32 else 1e-12
    for got, want in zip(compiled(*args), program(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=tight, atol=tight)


# ---- kernels by themselves: the schemes, spans, scratch memory

class Lone:
    """The kernel of one product, called with spans, between red zones."""

    def __init__(self, write, *args, target=None, checked=False):
        target, b = target or host(), ProgramBuilder()
        dot, roots = write(b, *[b.input(aval_of(a)) for a in args])
        self.program, self.roots = b.program, [r.number for r in roots]
        stored, module = {*b.program.inputs}, Module(target.fused)
        kernel = Loops(b.program, stored, module, width=0, checked=checked)
        gemm.write(kernel, dot.number, self.roots, target.vector_bytes, ("%first", "%last"))
        pointers = [f"ptr %b{j}" for j in range(len(kernel.buffers))]
        name = module.kernel(", ".join([*pointers, "i64 %first", "i64 %last"]),
                             kernel.writer.body())
        lines = [f"  %s{j} = getelementptr ptr, ptr %table, i64 {j}\n  %b{j} = load ptr, ptr %s{j}"
                 for j in range(len(pointers))]
        lines += ["  %first = load i64, ptr %work\n  %s = getelementptr i64, ptr %work, i64 1",
                  "  %last = load i64, ptr %s",
                  f"  %r = call i64 @{name}({', '.join([*pointers, 'i64 %first', 'i64 %last'])})"]
        module.define("lone", "define i64 @lone(ptr %table, ptr %work) #0 {\n"
                      + "\n".join(lines) + "\n  ret i64 %r\n}")
        self.text = module.text(target.attributes())
        self.library = Library(self.text, module.externals, target)
        known = (b.program, dot.number, stored, target.vector_bytes, target.fused, self.roots)
        self.plan, self.units = blocks.planned(*known), gemm.units(*known)
        self.size = gemm.workspace(*known)
        self.order = [*kernel.buffers]

    def __call__(self, *args, cuts=()):
        red = np.full(self.size + 192, 0xFF, np.uint8)  # NaN, if it is read as sums
        start = 64 - red.ctypes.data % 64
        known = [self.program.statements[r].known for r in self.roots]
        results = [np.full(k.shape, np.nan, k.dtype) for k in known]
        arrays = {**dict(zip(self.program.inputs, args, strict=True)),
                  **dict(zip(self.roots, results, strict=True)),
                  gemm.PACK: red[start:start + self.size]}
        table = np.array([arrays[n].ctypes.data for n in self.order], np.uint64)
        code = 0
        for first, last in pairwise([0, *cuts, self.units]):
            span = np.array([first, last])
            code |= self.library.function("lone")(table.ctypes.data, span.ctypes.data)
        assert (red[:start] == 0xFF).all()
        assert (red[start + self.size:] == 0xFF).all()
        return code, results


SCHEMES = {  # sizes that lead to a scheme, with what blocks.py is told of the caches
    "small": ((37, 9, 70), {}), "packed": ((60, 70, 70), {"FAR": 0, "OFTEN": 1}),
    "large": ((50, 75, 70), {"PANEL": 1 << 10}), "inner": ((7, 70, 37), {}),
    "sweep": ((2, 21, 301), {"FAR": 0, "BEYOND": 0})}


def scheme(monkeypatch, name):
    sizes, settings = SCHEMES[name]
    for key, value in settings.items():
        monkeypatch.setattr(blocks, key, value)
    return sizes


def product(name, shape):
    def write(b, x, z, w):
        seen = b.view(z, TRANSPOSED, shape[1:]) if name == "inner" else z
        d = b.dot([(x, seen), (x, seen)])
        return d, [d, b.elementwise("add", d, w)]
    return write


@targets
@dtypes
@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_and_spans(name, target, dtype, monkeypatch):
    shape = m, k, n = scheme(monkeypatch, name)
    rng = np.random.default_rng(5)
    z = normal(rng, dtype, *((n, k) if name == "inner" else (k, n)))
    x, w = normal(rng, dtype, m, k), normal(rng, dtype, m, n)
    lone = Lone(product(name, shape), x, z, w, target=target)
    assert lone.plan.scheme == {"packed": "small"}.get(name, name)
    assert lone.plan.pairs[0][1].packed == (name in {"packed", "large"})
    code, whole = lone(x, z, w)
    assert code == 0
    seen = z.T if name == "inner" else z
    agree(whole[0], np.hstack([x, x]), np.vstack([seen, seen]))
    np.testing.assert_array_equal(whole[1], whole[0] + w)
    assert lone.units > 1
    told = lone.plan.show()
    assert told.startswith(f"{lone.plan.scheme}: ({m}, {k} + {k}) by ({k} + {k}, {n}); tiles of ")
    assert told.endswith({"packed": "; packed: right 0, right 1", "large":
                          "; packed: left 0, right 0, left 1, right 1"}.get(name, " lanes"))
    for cuts in ((1,), (0, lone.units // 2, lone.units // 2), tuple(range(lone.units))):
        _, parts = lone(x, z, w, cuts=cuts)
        for a, c in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_planted_wrong_stride_is_caught(name, monkeypatch):
    target = [*TARGETS.values()][[*SCHEMES].index(name) % len(TARGETS)]
    shape = m, k, n = scheme(monkeypatch, name)
    z = np.ones((n, k) if name == "inner" else (k, n), np.float32)
    x, w = np.ones((m, k), np.float32), np.ones((m, n), np.float32)
    right = Evaluator.strides
    assert Lone(product(name, shape), x, z, w, target=target, checked=True)(x, z, w)[0] == 0
    monkeypatch.setattr(Evaluator, "strides",
                        lambda self, shape: tuple([s + 1 for s in right(self, shape)]))
    assert Lone(product(name, shape), x, z, w, target=target, checked=True)(x, z, w)[0] != 0


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "float64"])
def test_squares_are_transposed(size, dtype, monkeypatch):
    def chosen(self, a, b, order):
        assert len(order) == size
        both = [*(a if a != "poison" else [None] * size), *(b if b != "poison" else [None] * size)]
        return [both[k] for k in order]
    monkeypatch.setattr(Lanes, "chosen", chosen)
    monkeypatch.setattr(Lanes, "fenced", lambda self, a: a)
    at = Lanes(None, 0, size, np.dtype(dtype))
    for rows in range(1, size + 1):
        for count in range(1, size + 1):
            found = at.transposed([[(r, c) for c in range(size)] for r in range(rows)], count)
            assert [column[:rows] for column in found] == [
                [(r, c) for r in range(rows)] for c in range(count)]


@targets
@dtypes
@pytest.mark.parametrize("eighths, along", [(5, False), (10, True)])
def test_columns_that_fill_no_lanes_are_turned_back(target, dtype, eighths, along, monkeypatch):
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    m, k, n = 3 * lanes + 1, 70, -(-eighths * lanes // 8)
    rng = np.random.default_rng(15)
    x, z, w = normal(rng, dtype, *((m, k) if along else (k, m))), normal(rng, dtype, k, n), normal(
        rng, dtype, m, n)

    def write(b, x, z, w):
        d = b.dot([(x if along else b.view(x, TRANSPOSED, (m, k)), z)])
        return d, [d, b.elementwise("subtract", w, b.elementwise("tanh", d))]
    lone = Lone(write, x, z, w, target=target)
    assert lone.plan.shape.turned == (n % lanes > 0)
    assert ("transposed and back" in lone.plan.show()) == lone.plan.shape.turned
    code, whole = lone(x, z, w)
    assert code == 0
    agree(whole[0], x if along else x.T, z)
    np.testing.assert_allclose(whole[1], w - np.tanh(whole[0]), rtol=1e-5, atol=1e-6)
    for parts in (lone(x, z, w, cuts=(1,))[1], Lone(write, x, z, w, target=target, checked=True)(
            x, z, w)[1]):
        for a, c in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(a, c)
    right = Evaluator.strides
    monkeypatch.setattr(Evaluator, "strides",
                        lambda self, shape: tuple([s + 1 for s in right(self, shape)]))
    assert Lone(write, x, z, w, target=target, checked=True)(x, z, w)[0] != 0


def test_the_error_of_a_checked_build_names_the_product(monkeypatch):
    x = np.ones((40, 40))
    program = built(lambda b, x: [b.dot([(x, x)])], x)
    monkeypatch.setattr(Evaluator, "strides", lambda self, shape: (41, 1))
    with pytest.raises(RuleError, match=r"the compiled statement %1 = dot.*left the memory of %"):
        Compiled(program, checked=True)(x)


@targets
def test_expressions_are_packed(target):
    rng = np.random.default_rng(6)
    x, z = normal(rng, np.float32, 21, 35), normal(rng, np.float32, 33, 35)

    def write(b, x, z):
        scaled = b.elementwise("multiply", z, z)
        d = b.dot([(b.elementwise("exp", x), b.view(scaled, TRANSPOSED, (35, 33)))])
        return d, [d]
    lone = Lone(write, x, z, target=target)
    assert [side.packed for side in lone.plan.pairs[0]] == [True, True]
    code, (got,) = lone(x, z)
    assert code == 0
    agree(got / 2, np.exp(x), (z * z).T / 2)


# ---- BLAS, and the calibration

WIDE = host().vector_bytes


@pytest.fixture
def any_size(monkeypatch):
    """BLAS is used for products of any size."""
    monkeypatch.setattr(blocks, "THICK", 1)
    for dtype in ("float32", "float64"):
        monkeypatch.setitem(blas.limits, (dtype, WIDE), 0)


@dtypes
@checks
@pytest.mark.usefixtures("any_size")
def test_blas_of_any_matrices(dtype, checked):
    rng = np.random.default_rng(7)
    args = [normal(rng, dtype, *shape) for shape in ((2, 5, 7), (2, 7, 4), (9, 12), (12, 10))]

    def write(b, x, z, u, v):
        def turned(a, *axes):
            index = tuple([(0, ((axes.index(d), 1),)) for d in range(len(axes))])
            return b.view(a, index, tuple([a.shape[d] for d in axes]))
        back = [turned(b.copy(turned(a, 0, 2, 1), (2, *a.shape[:0:-1])), 0, 2, 1) for a in (x, z)]
        for left in (x, back[0]):
            for right in (z, back[1]):
                yield b.dot([(left, right)])
        left, right = ((2, ((0, 1),)), (1, ((1, 1),))), ((1, ((0, 1),)), (2, ((1, 1),)))
        yield b.dot([(b.view(u, left, (6, 8)), b.view(v, right, (8, 6)))] * 2)
        d = b.dot([(u, v)])
        yield b.elementwise("tanh", b.elementwise("add", d, d))
    program = built(write, *args)
    compiled = Compiled(program, checked=checked)
    *products, parts, curved = compiled(*args)
    assert compiled.text.count("call void @adjoint_") == 7
    x, z, u, v = args
    for got in products:
        agree(got, x, z)
    agree(parts / 2, u[2:8, 1:9], v[1:9, 2:8])
    np.testing.assert_allclose(curved, np.tanh(2 * (u @ v)), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("any_size")
def test_what_blas_does_not_compute():
    rng = np.random.default_rng(8)
    x, z = normal(rng, np.float32, 20, 30), normal(rng, np.float32, 30, 40)

    def thinned(b, x, z):
        index = (0, ((0, 2),)), (0, ((1, 2),))
        yield b.dot([(b.view(x, index, (10, 15)), b.view(z, index, (15, 20)))])
    plain = built(lambda b, x, z: [b.dot([(x, z)])], x, z)
    assert "adjoint_sgemm" in Compiled(plain).text
    assert "adjoint_sgemm" not in Compiled(built(thinned, x, z)).text
    with blas.generated():
        compiled = Compiled(plain)
    assert "adjoint_sgemm" not in compiled.text
    for target in [t for t in TARGETS.values() if t.vector_bytes != WIDE]:
        assert "adjoint_sgemm" not in Compiled(plain, target=target).text
    agree(compiled(x, z)[0], x, z)


@pytest.mark.parametrize("ours, theirs, threads, side", [
    (1.0, 0.5, 1, 512), (1.0, 0.99, 1, float("inf")), (1.0, 0.7, 2, float("inf"))])
def test_the_calibration_is_measured_once(ours, theirs, threads, side, tmp_path, monkeypatch):
    monkeypatch.setenv("ADJOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(blas, "limits", {})
    timed = []
    monkeypatch.setattr(calibration, "compared", lambda *f: timed.append(f) or (ours, theirs))
    monkeypatch.setattr(calibration, "square", lambda *a: None)
    x = np.ones((512, 512), np.float32)
    program = built(lambda b, x: [b.dot([(x, x)])], x)
    small = built(lambda b, x: [b.dot([(x, x)])], x[:64, :64])
    calibration.prepare(small, host(), threads)
    assert blas.limits == {}
    with blas.generated():
        calibration.prepare(program, host(), threads)
    assert blas.limits == {}
    calibration.prepare(program, host(), threads)
    assert blas.limits == {("float32", WIDE): side}
    count = len(timed)
    blas.limits.clear()
    calibration.prepare(program, host(), threads)
    assert blas.limits == {("float32", WIDE): side}
    assert len(timed) == count > 0


def test_the_calibration_times_products(monkeypatch):
    monkeypatch.setattr(blas, "limits", {})
    runs = [calibration.square(np.dtype(np.float32), 80, host(), limit) for limit in (0, 80)]
    assert all(t > 0 for t in calibration.compared(*runs))
    for run in runs:
        run()
        assert ("adjoint_sgemm" in run.library.text) == (run is runs[1])
        assert any((a == 80).all() for a in run.arrays.values() if a.dtype == np.float32)
    assert blas.limits == {}


# ---- tiles

@pytest.mark.skipif(not FORCED, reason="the registers of other processors have other names")
@pytest.mark.parametrize("columns", [1, 2, 3])
@targets
def test_no_tile_spills(target, columns):
    lanes = target.vector_bytes // 4
    for m in (8, 9, 24):
        shape = (m, 40, columns * lanes + columns // 2)
        lone = Lone(lambda b, x, z: (d := b.dot([(x, z)]), [d]),
                    np.ones(shape[:2], np.float32), np.ones(shape[1:], np.float32), target=target)
        code = lone.library.assembly()
        assert re.search(r"%[xyz]mm", code)
        assert not re.findall(r"\(%rsp\), %[xyz]mm|%[xyz]mm\d+, -?\d*\(%rsp\)", code), lone.plan


@pytest.mark.parametrize("lanes, count, fused", [(16, 32, True), (8, 16, True), (4, 16, False)])
def test_tiles_fit_the_registers(lanes, count, fused):
    for m in (1, 2, 7, 8, 13, 64):
        for n in (1, 4, 10, 33, 64, 500):
            high, wide = blocks.tile(m, n, lanes, count, fused, far=False)
            assert 1 <= high <= m
            assert high * wide + wide + 1 <= count
            assert (wide - 1) * lanes < n
    assert blocks.tile(64, 64, 16, 32, True, far=False)[0] in {4, 8}
