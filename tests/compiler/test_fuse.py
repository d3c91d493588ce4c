"""The third stage: what is stored and where, by checks that know nothing of how it is decided."""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import layout as layouts
from adjoint.compiler.compiled import Compiled, Run
from adjoint.compiler.fuse import fused
from adjoint.compiler.layout import Layout
from adjoint.compiler.native import AVX2, BASELINE, llvm
from adjoint.compiler.plan import LINE, Buffer, planned
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.reroll import rerolled
from adjoint.compiler.simplify import simplified
from adjoint.compiler.views import substituted
from adjoint.core.node import aval, aval_of
from adjoint.core.symbol import trace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tools/ is no installed package

from tools.fuzz import drawing, examine, programs

TURNED = ((0, ((1, 1),)), (0, ((0, 1),)))
FORCED = llvm().triple().startswith("x86_64")  # whose older levels can be asked for
quiet = pytest.mark.filterwarnings("ignore")  # values go to singular points


def traced(f, *args):
    """The Program of a function, and what it takes behind its arguments."""
    return lowered_from(*trace(f, *map(aval_of, args)))


def lowered_from(graph, out):
    """The Program of a Graph whose results those are."""
    graph.outputs = [o.node for o in (out if isinstance(out, tuple) else (out,))
                     if hasattr(o, "node")]
    return lowered(graph), graph.closed


def with_gradient(f, count):
    """A function of several arguments that gives its value and the gradient."""
    def both(*args):
        value, gradient = ad.value_and_grad(f, tuple(range(count)))(*args)
        return (value, *gradient)
    return both


# ---- the workloads

def layer_norm_and_cross_entropy(x, scale, shift, labels):
    d = x - ad.mean(x, axis=1, keepdims=True)
    h = d / ad.sqrt(ad.mean(d * d, axis=1, keepdims=True) + np.float32(1e-5)) * scale + shift
    return ad.mean(ad.logsumexp(h, axis=1) - h[np.arange(len(x)), labels])


def gaussian_mixture(weights, means, scales, x):
    z = (x[:, None, :] - means[None]) * ad.exp(-scales)[None]
    parts = weights - ad.logsumexp(weights) + ad.sum(-0.5 * z * z - scales[None], axis=2)
    return ad.sum(ad.logsumexp(parts, axis=1))


def elementwise(x):
    w = ad.log(ad.exp(ad.tanh(x) * 0.5) + 1.0) * x
    return ad.sum(0.5 * w * (1.0 + ad.tanh(0.79 * (w + 0.04 * w * w * w))))


def two_layers(weights, shift, more, last, x, labels):
    h = ad.relu(x @ weights + shift)
    z = h @ more + last
    return ad.mean(ad.logsumexp(z, axis=1) - z[np.arange(len(x)), labels])


def recurrent(inner, state, shift, x):
    h = np.zeros((x.shape[1], state.shape[0]), np.float32)
    for t in range(x.shape[0]):
        h = ad.tanh(x[t] @ inner + h @ state + shift)
    return ad.mean(h * h)


def attention(q, k, v):
    s = ad.einsum("bid,bjd->bij", q, k) * 0.3
    return ad.sum(ad.einsum("bij,bjd->bid", ad.softmax(s, axis=-1), v) ** 2)


def workload(name):
    """A function with its gradient, and arguments."""
    rng = np.random.default_rng(5)
    def normal(*shape, dtype=np.float32):
        return (rng.standard_normal(shape) * 0.5).astype(dtype)
    f, args, count = {
        "norm": (layer_norm_and_cross_entropy,
                 [normal(6, 37), normal(37), normal(37), rng.integers(0, 37, 6)], 3),
        "mixture": (gaussian_mixture, [normal(5, dtype=float), normal(5, 3, dtype=float),
                                       normal(5, 3, dtype=float), normal(11, 3, dtype=float)], 3),
        "elementwise": (elementwise, [normal(301)], 1),
        "layers": (two_layers, [normal(7, 9), normal(9), normal(9, 4), normal(4), normal(5, 7),
                                rng.integers(0, 4, 5)], 4),
        "recurrent": (recurrent, [normal(3, 8), normal(8, 8), normal(8), normal(12, 2, 3)], 3),
        "attention": (attention, [normal(2, 5, 3), normal(2, 4, 3), normal(2, 4, 3)], 3)}[name]
    return with_gradient(f, count), args


WORKLOADS = ["norm", "mixture", "elementwise", "layers", "recurrent", "attention"]


# ---- every dependency is earlier, or at the same outer index

def check_schedule(program, schedule):
    """Walk what each pass computes by its meaning, and look where each stored value is made."""
    order = {}
    for k, group in enumerate(schedule.groups):
        for p, pass_ in enumerate(group.passes):
            for n in pass_.roots:
                assert n not in order, f"%{n} is computed twice"
                order[n] = k, p
    held = {n for n in program.live() if program.statements[n].name in {"input", "const", "item"}}
    held |= {*schedule.aliases}
    for k, group in enumerate(schedule.groups):
        for p, pass_ in enumerate(group.passes):
            for n in pass_.roots:
                check_root(program, schedule, order, held, k, p, n)
    for n in program.outputs:
        s = program.statements[n]
        assert n in order or n in held, f"the output %{n} = {s.name} is not computed"
        assert n not in schedule.registers | schedule.temporaries
    return order


def check_root(program, schedule, order, held, k, p, n):
    """All that one root reads, at the index at which it reads it."""
    group, s = schedule.groups[k], program.statements[n]
    single = group.kind not in {"nest", "dot"}
    space = () if single else (
        program.statements[s.inputs[0]].known.shape if s.name == "reduce" else s.known.shape)
    here = tuple((0, ((f"i{d}", 1),)) for d in range(len(space)))
    waiting, seen = below(program, n, None if single or s.name == "dot" else here), set()
    while waiting:
        m, index = waiting.pop()
        if (m, index) in seen:
            continue
        seen.add((m, index))
        made = order.get(m)
        if made is None and m in held:
            while made is None and program.statements[m].name in {"item", "copy", "view"}:
                (m,) = program.statements[m].inputs
                made = order.get(m)
            if made is None:
                continue
            assert made[0] < k, f"%{n} in kernel {k} reads %{m} in another shape"
        if made is not None:
            if made[0] != k:
                assert made[0] < k, f"%{n} in kernel {k} reads %{m} of kernel {made[0]}"
                assert m not in schedule.registers | schedule.temporaries
                continue
            if not recomputed(program, group, m, index, made[1] == p):
                check_own(program, schedule, group, made[1], p, m, n, index, space)
                continue
        assert program.statements[m].name in {"elementwise", "cast", "select", "const", "iota",
                                              "view", "pick", "pad"}
        waiting += below(program, m, index)


def below(program, m, index):
    """What a value at an index is made of, with the indices; None where it is read anywhere."""
    s = program.statements[m]
    shapes = [program.statements[i].known.shape for i in s.inputs[:1]
              if index is not None]
    if index is None or s.name not in {"view", "pick", "pad"}:
        return [(i, index) for i in s.inputs]
    if s.name == "view":
        return [(s.inputs[0], tuple(substituted(e, index) for e in s.parameters[0]))]
    places = [(0, (("?", 1),))] * len(shapes[0])
    if s.name == "pick":
        return [(s.inputs[0], tuple(places)), *[(i, index) for i in s.inputs[1:]]]
    for (offset, terms), entry, total in zip(s.parameters[0], index, s.known.shape, strict=True):
        for axis, _ in terms:
            if shapes[0][axis] == total:
                assert not offset
                places[axis] = entry
    return [(s.inputs[0], tuple(places))]


def same(entry, d, size):
    """Whether an index is the variable of axis d itself."""
    return size == 1 or entry == (0, ((f"i{d}", 1),))


def recomputed(program, group, m, index, own):
    """Whether a value of this kernel is computed again: at another index, if it can be."""
    name, shape = program.statements[m].name, program.statements[m].known.shape
    if index is None or name in {"reduce", "dot"} or group.flat:
        return False
    axes = range(len(shape) if own else group.depth)  # of its own pass, or of its outer turn
    return not all(same(index[d], d, shape[d]) for d in axes)


def check_own(program, schedule, group, made, p, m, n, index, space):
    """A value of the same kernel is complete: of an earlier pass and this outer turn, or here."""
    known = program.statements[m].known
    assert group.kind in {"nest", "dot"}
    summed = program.statements[m].name == "reduce"
    if not group.flat:
        shape = program.statements[program.statements[m].inputs[0]].known.shape if summed else (
            known.shape)
        if summed and group.depth:
            assert not set(program.statements[m].parameters[1]) & set(range(group.depth)), (
                f"%{n} reads %{m}, which sums over the outer loops of its own kernel")
        assert shape[:group.depth] == space[:group.depth]
        assert all(same(index[d], d, size) for d, size in enumerate(shape[:group.depth]))
    if made == p:
        assert not summed or program.statements[m].name == "dot"
        if index is not None:
            assert known.shape == space
            assert all(same(e, d, space[d]) for d, e in enumerate(index)), (
                f"%{n} reads %{m} of its own pass at another index")
    else:
        assert made < p, f"%{n} of pass {p} reads %{m} of pass {made}"


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("apart", [False, True])
@quiet
def test_the_schedule_of_a_workload(name, apart):
    program, _ = traced(*flat(workload(name)))
    check_schedule(program, fused(program, apart=apart))


def flat(pair):
    """A function and its arguments in one list."""
    f, args = pair
    return [f, *args]


@pytest.mark.parametrize("seed", range(60))
@quiet
def test_the_schedule_of_random_programs(seed):
    for program, _ in random_programs(seed):
        layout = Layout(program)
        check_schedule(program, layout.schedule)
        check_plan(layout)


def random_programs(seed):
    """A random program and its gradient, with arguments."""
    drawn = drawing.draw([seed, 9]).program
    if any(not isinstance(v, np.ndarray | float | int | np.generic)
           for v in drawn.leaves.values()):
        return
    xs = [np.asarray(v) for v in drawn.leaves.values()]
    with np.errstate(all="ignore"):
        weights = examine.weights_of(drawn, programs.run(drawn, xs), None)
        parts = programs.function(drawn, weights)
        wanted = tuple(k for k, x in enumerate(xs) if x.dtype.kind in "fc")
        for f in (lambda *a: (sum(parts(*a)),), ad.grad(lambda *a: sum(parts(*a)), wanted)):
            graph, out = trace(f, *map(aval_of, xs))
            if any(n.prim is programs.gather for n in graph.nodes):  # a row of the fuzz only
                return
            program, closed = lowered_from(graph, out)
            yield program, [*xs, *closed]


# ---- no two buffers that are alive together share memory

def check_plan(layout):
    """What each kernel reads and writes, and the bytes of each buffer, from when to when."""
    written, spans = {}, []
    program, schedule = layout.program, layout.schedule
    for k, group in enumerate(schedule.groups):
        for n in group.roots:
            written[n] = k
    for n, k in written.items():
        home = layout.homes.get(n)
        if home is None or home.kind != "work":
            continue
        last = len(schedule.groups) if n in program.outputs else max(
            (j for j, g in enumerate(schedule.groups) if n in g.reads), default=k)
        known = program.statements[n].known
        shape = known.shape[schedule.groups[k].depth:] if n in schedule.temporaries else known.shape
        size = int(np.prod(shape)) * known.dtype.itemsize
        assert home.number % LINE == 0
        assert home.number + size <= layout.bytes
        spans.append((home.number, home.number + size, k, last, n))
    shared = 0
    for a in spans:
        for b in spans:
            if a[4] < b[4] and a[0] < b[1] and b[0] < a[1]:
                over = a[:2] == b[:2] and (a[3] == b[2] or b[3] == a[2])
                shared += over  # written over its operand; whether rightly, the values say
                assert over or a[3] < b[2] or b[3] < a[2], f"%{a[4]} and %{b[4]} share memory"
    return shared


@pytest.mark.parametrize("name", WORKLOADS)
@quiet
def test_the_plan_of_a_workload(name):
    program, _ = traced(*flat(workload(name)))
    layout, wasteful = Layout(program), Layout(program, plan=False)
    check_plan(layout)
    check_plan(wasteful)
    assert layout.bytes <= wasteful.bytes


@quiet
def test_results_over_their_operands(monkeypatch):
    monkeypatch.setattr(layouts, "LARGE", 1)
    shared = 0
    for seed in range(0, 24, 4):
        for program, args in random_programs(seed):
            for fuse in (True, False):
                compiled = Compiled(program, fuse=fuse)
                shared += check_plan(compiled.layout)
                with np.errstate(all="ignore"):
                    expected, found = program(*args), compiled(*args)
                for want, got in zip(expected, found, strict=True):
                    tight = 1e-2 if got.dtype.itemsize < 8 else 1e-7
                    np.testing.assert_allclose(got, want, rtol=tight, atol=1e-8)
    assert shared > 10


INTO = {  # the output, and whether it may be written over the first input
    "itself": (lambda b, x, z: b.elementwise("add", x, z), True),
    "turned": (lambda b, x, z: b.elementwise("add", z, b.view(x, TURNED, (4, 4))), False),
    "both": (lambda b, x, z: b.elementwise("add", x, b.view(x, TURNED, (4, 4))), False),
    "other": (lambda b, x, z: b.elementwise("add", z, z), True),
    "row": (lambda b, x, z: b.elementwise("add", x, b.view(
        b.reduce("maximum", x, (1,)), ((0, ((0, 1),)),), (4, 4))), True),
    "column": (lambda b, x, z: b.elementwise("add", x, b.view(
        b.reduce("maximum", x, (0,)), ((0, ((1, 1),)),), (4, 4))), True),
    "product": (lambda b, x, z: b.elementwise("subtract", x, b.dot([(z, z)])), True),
    "factor": (lambda b, x, z: b.elementwise("subtract", x, b.dot([(x, z)])), False),
    "sum": (lambda b, x, z: b.scan("add", x, 0), False),
    "later": (lambda b, x, z: (b.elementwise("add", x, z), b.scan("add", x, 0)), False)}


@pytest.mark.parametrize("name", INTO)
def test_outputs_over_inputs(name):
    write, allowed = INTO[name]
    b = ProgramBuilder()
    rng = np.random.default_rng(1)
    args = [rng.normal(size=(4, 4)) for _ in range(2)]
    out = write(b, *[b.input(aval_of(a)) for a in args])
    b.program.outputs = [o.number for o in (out if isinstance(out, tuple) else (out,))]
    b.program.into = {0: 0}
    compiled = Compiled(b.program)
    assert compiled.overwrites == ({0: 0} if allowed else {})
    expected = b.program(*args)
    if not allowed:
        return
    run = Run(compiled, args)  # as a trampoline calls it: the output's pointer is the input's
    homes = [compiled.layout.homes[n] for n in (b.program.outputs[0], b.program.inputs[0])]
    run.table[homes[0].number] = run.table[homes[1].number]
    (name, _), = compiled.segments
    assert compiled.functions[name](run.table.ctypes.data, run.work.ctypes.data) == 0
    np.testing.assert_allclose(args[0], expected[0], rtol=1e-14)


def test_random_plans():
    rng = np.random.default_rng(0)
    for _ in range(50):
        buffers = {}
        for key in range(40):
            first = int(rng.integers(0, 30))
            buffers[key] = Buffer(first, first + int(rng.integers(0, 6)), int(rng.integers(0, 500)))
        offsets, size = planned(buffers)
        for a, x in buffers.items():
            assert offsets[a] % LINE == 0
            assert offsets[a] + x.size <= size
            for b, z in buffers.items():
                if a < b and x.first <= z.last and z.first <= x.last:
                    assert (offsets[a] + x.size <= offsets[b]
                            or offsets[b] + z.size <= offsets[a])
        assert size <= planned(buffers, reuse=False)[1]


# ---- what comes out of it

@pytest.mark.parametrize("name", WORKLOADS)
@quiet
def test_workloads_are_compiled_right(name):
    f, args = workload(name)
    program, closed = traced(f, *args)
    expected = program(*args, *closed)
    loose = 1e-12 if expected[0].dtype.itemsize == 8 else 2e-5
    small = rerolled(simplified(program))
    assert ("loop" in {s.name for s in small.statements}) == (name == "recurrent")
    for which, build in ((program, {}), (program, {"checked": True}), (program, {"fuse": False}),
                         (program, {"plan": False}), (small, {"checked": True}), (small, {})):
        got = Compiled(which, **build)(*args, *closed)
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=loose, atol=loose * np.abs(y).max())


@pytest.mark.parametrize("build", [{"checked": True}, {"fuse": False}], ids=["fused", "apart"])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_loop_reads_rows_where_they_are(count, build):
    b = ProgramBuilder()
    known = aval((3,), np.dtype(np.float64))
    a, row, other, whole = (b.input(known) for _ in range(4))
    more = b.elementwise("multiply", b.elementwise("add", a, row), whole)
    b.program.outputs = [b.elementwise("subtract", more, other).number, more.number, whole.number]
    outer = ProgramBuilder()
    rng = np.random.default_rng(0)
    args = [rng.normal(size=3), rng.normal(size=(12, 3)), rng.normal(size=(3, 12))]
    x, rows, columns = (outer.input(aval_of(v)) for v in args)
    backwards = outer.view(rows, ((11, ((0, -2),)), (0, ((1, 1),))), (count, 3))
    turned = outer.view(columns, ((0, ((1, 1),)), (2, ((0, 1),))), (count, 3))
    doubled = outer.elementwise("add", x, x)
    loop = outer.loop(b.program, count, [x], [backwards, turned, doubled], shared=1)
    outer.program.outputs = [outer.item(loop, k).number for k in range(3)]
    compiled = Compiled(outer.program, **build)
    assert not compiled.layout.called
    assert backwards.number not in compiled.layout.buffers  # its rows are rows of the input
    assert turned.number in compiled.layout.buffers
    for got, want in zip(compiled(*args), outer.program(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)


def rows_and_columns(x, z, labels):
    """Passes over rows, temporaries, column sums, pads, picks, and a product with an epilogue."""
    d = x - ad.mean(x, axis=1, keepdims=True)
    p = ad.softmax(d * ad.max(z, axis=0), axis=1)
    loss = ad.sum(ad.log(p[np.arange(len(x)), labels] + 0.5))
    both = ad.concatenate([p, x[:, ::-1]], axis=1)
    return ad.sum(ad.tanh(both @ both.T + 0.1)) + loss + ad.sum(z * ad.sum(p, axis=0))


BUILDS = [{"checked": True}, {}, {"fuse": False}, *([{"target": AVX2, "checked": True},
                                                     {"target": BASELINE}] if FORCED else [])]


@pytest.mark.parametrize("size", range(1, 34))
@quiet
def test_every_size_of_fused_rows(size):
    rng = np.random.default_rng(size)
    x, z = rng.normal(size=(1 + size % 4, size)), rng.normal(size=(3, size))
    labels = rng.integers(0, size, len(x))
    if size % 2:
        x, z = x.astype(np.float32), z.astype(np.float32)
    program, closed = traced(with_gradient(rows_and_columns, 2), x, z, labels)
    check_schedule(program, fused(program))
    expected = program(x, z, labels, *closed)
    loose = 1e-4 if size % 2 else 1e-11
    for build in {size % len(BUILDS), 0}:
        for got, want in zip(Compiled(program, **BUILDS[build])(x, z, labels, *closed), expected,
                             strict=True):
            np.testing.assert_allclose(got, want, rtol=loose, atol=loose)


def test_a_row_stays_in_registers_and_in_the_first_cache():
    program, _ = traced(lambda x: ad.softmax(x, axis=1), np.ones((8, 40)))
    schedule = fused(program)
    (group,) = schedule.groups
    assert group.outer == (8,)
    kept = [schedule.kept(n).split() for n in group.roots]
    assert {where for name, where in kept if name == "reduce"} == {"register"}
    assert sum(where == "stored" for _, where in kept) == 1


def test_whole_sums_run_over_flat_memory():
    program, _ = traced(lambda x: ad.sum(ad.exp(x) * x), np.ones((8, 3, 5)))
    (group,) = fused(program).groups
    assert group.flat
    assert group.passes[0].space == (120,)


def test_what_is_cheap_is_computed_again_and_what_is_costly_is_not():
    b = ProgramBuilder()
    x = b.input(aval_of(np.ones((5, 4))))
    turned = ((0, ((1, 1),)), (0, ((0, 1),)))
    for function, kept in (("negative", False), ("exp", True)):
        y = b.elementwise(function, x)
        b.program.outputs = [b.reduce("add", b.elementwise("add", y, y), (0,)).number,
                             b.reduce("maximum", b.view(y, turned, (4, 5)), (0,)).number]
        assert (y.number in fused(b.program).stored) == kept


@pytest.mark.parametrize(("length", "apart"), [(100, True), (1000, False), (8, False)])
def test_long_formulas_of_sums_of_rows_are_computed_in_lanes(length, apart):
    """Where their rows are short enough to be read again, and no row fills less than vectors."""
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((64, length)), rng.standard_normal(length)
    program, _ = traced(lambda a, x: ad.tanh(a @ x)[:, None] * a, a, x)
    program = simplified(program)
    groups = fused(program).groups
    assert [(g.depth, len(g.passes)) for g in groups] == (
        [(1, 1), (0, 1), (1, 1)] if apart else [(1, 2)])
    np.testing.assert_allclose(Compiled(program)(a, x)[0], program(a, x)[0], rtol=1e-12)


def test_a_chain_of_shifted_sums_does_not_explode():
    def f(x):
        for _ in range(40):
            x = ad.sin(x[1:]) + x[:-1] * x[1:]
        return x
    x = np.linspace(0.0, 1.0, 64)
    program, _ = traced(f, x)
    compiled = Compiled(program)
    assert len(compiled.text) < 400_000
    np.testing.assert_allclose(compiled(x)[0], program(x)[0], rtol=1e-10)


def test_a_reshape_of_what_is_stored_is_no_kernel():
    b = ProgramBuilder()
    x = b.input(aval_of(np.arange(12.0).reshape(3, 4)))
    turned = b.copy(b.view(x, TURNED, (4, 3)), (2, 6))
    whole = b.copy(b.elementwise("exp", b.elementwise("sin", x)), (6, 2))
    again = b.copy(b.copy(whole, (2, 6)), (12,))
    sums = b.reduce("add", whole, (1,))
    b.program.outputs = [b.elementwise("add", turned, b.copy(whole, (2, 6))).number,
                         b.elementwise("negative", again).number, sums.number]
    x = np.arange(12.0).reshape(3, 4)
    for build in ({"checked": True}, {"fuse": False}):
        compiled = Compiled(b.program, **build)
        for got, want in zip(compiled(x), b.program(x), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-15)
    schedule = fused(b.program)
    check_schedule(b.program, schedule)
    assert [g.kind for g in schedule.groups].count("copy") == 1
    assert {whole.number, again.number} <= {*schedule.aliases}



PADS = {
    "columns": lambda x: ad.concatenate([x, x[:, :5]], axis=1) * 2,
    "rows": lambda x: ad.concatenate([x, x[:3]], axis=0) * 2,
    "stacked": lambda x: ad.stack([x, x * 2, ad.exp(x) * 3], axis=1),
    "last": lambda x: ad.stack([x, x * 2, ad.exp(x) * 3], axis=2),
    "turned": lambda x: ad.stack([x, x * 2, ad.exp(x) * 3], axis=2).T,
    "nested": lambda x: ad.pad(ad.pad(x, ((1, 2), (3, 4))), ((2, 2), (5, 6)))[::-1, ::-1],
    "summed": lambda x: ad.sum(ad.pad(ad.pad(x, ((1, 2), (3, 4))), ((2, 2), (5, 6))), axis=1),
    "slices": ad.grad(lambda x: ad.sum(ad.sin(x[:, 2:35]) * ad.cumsum(x, axis=1)[:, 1:34])),
    "softmax": lambda x: ad.pad(ad.softmax(x, axis=1), ((1, 1), (2, 2))) * 2,
    "diagonal": lambda x: ad.pad(ad.diagonal(ad.pad(x, ((1, 1), (2, 2)))), (3, 3)),
    "picked": lambda x: ad.pad(x[np.array([4, 0, 2])][:, ::2], ((1, 2), (3, 1)))}


@pytest.mark.parametrize("name", PADS)
@quiet
def test_pads_are_computed_where_they_are_read(name):
    x = np.random.default_rng(0).normal(size=(5, 39)).astype(np.float32)
    program, closed = traced(PADS[name], x)
    check_schedule(program, fused(program))
    assert "pad" not in {g.kind for g in fused(program).groups}
    for build in ({"checked": True}, {}, {"fuse": False, "checked": True}, {"target": AVX2}):
        if build.get("target") and not FORCED:
            continue
        for got, want in zip(Compiled(program, **build)(x, *closed), program(x, *closed),
                             strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_rows_of_what_is_stored_are_places_in_it():
    b = ProgramBuilder()
    args = [np.random.default_rng(0).normal(size=s) for s in ((6, 4, 4), (4, 4))]
    x, w = (b.input(aval_of(a)) for a in args)
    rows = [b.view(x, ((t, ()), (0, ((0, 1),)), (0, ((1, 1),))), (4, 4)) for t in range(6)]
    some = b.view(x, ((2, ((0, 1),)), (0, ((1, 1),)), (0, ((2, 1),))), (3, 4, 4))
    again = b.copy(some, (12, 4))
    y = b.dot([(r, w) for r in rows])
    outs = [y, *[b.dot([(r, w)]) for r in rows], b.reduce("add", again, (0,)), rows[5]]
    b.program.outputs = [o.number for o in outs]
    schedule = fused(b.program)
    check_schedule(b.program, schedule)
    assert {n: where for n, (_, where) in schedule.aliases.items()} == {
        **{r.number: 16 * t for t, r in enumerate(rows[:5])}, some.number: 32, again.number: 0}
    for build in ({"checked": True}, {"fuse": False}, {}):
        compiled = Compiled(b.program, **build)
        for got, want in zip(compiled(*args), b.program(*args), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
    kernels = compiled.text.count("define internal i64 @kernel_")
    assert kernels < len(schedule.groups)  # the products of rows are one kernel


def test_it_prints():
    with ad.sites():
        program, _ = traced(lambda x: ad.softmax(x, axis=1), np.ones((8, 40)))
    said = fused(program).show()
    assert said.startswith("kernel 0: nest over (8,) reads %0")
    assert "test_fuse.py:" in said
