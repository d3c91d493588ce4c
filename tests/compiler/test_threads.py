"""Kernels in chunks: the same bits on any number of threads, whatever else the process does."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import chunks, native, sharing_ir, threads, workers_ir
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.layout import Layout
from adjoint.compiler.native import AVX2, BASELINE, llvm
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace
from adjoint.errors import ArgumentError, IndexingError

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # neither is an installed package

from workloads import WORKLOADS, Peer

from tools.fuzz import drawing, programs

FORCED = llvm().triple().startswith("x86_64")  # whose older levels can be asked for
BUILDS = {"": {}, "checked": {"checked": True}, "apart": {"fuse": False, "plan": False},
          **({"256": {"target": AVX2}, "128": {"target": BASELINE, "checked": True}}
             if FORCED else {})}
quiet = pytest.mark.filterwarnings("ignore")  # values go to singular points


@pytest.fixture(autouse=True)
def _as_before():
    before = threads.get_threads()
    yield
    threads.set_threads(before)


def on(n, f, *args):
    """What a function gives on so many threads, as bytes."""
    threads.set_threads(n)
    with np.errstate(all="ignore"):
        return [np.asarray(y).tobytes() for y in f(*args)]


def traced(f, *args):
    """The Program of a function, and what it takes behind its arguments."""
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [o.node for o in (out if isinstance(out, tuple) else (out,))
                     if hasattr(o, "node")]
    return lowered(graph), [*args, *graph.closed]


def cuts_of(layout):
    """The cuts of a program, those in its loops too."""
    return [*layout.cuts.values(), *[c for body in layout.bodies.values() for c in cuts_of(body)]]


def compare(program, args, build):
    """A program in smallest chunks: one, two and three threads, and NumPy. How often it is cut."""
    with chunks.forced(small=True):
        compiled = Compiled(program, **build)
    want = on(1, compiled, *args)
    for n in (2, 3, 2):
        assert on(n, compiled, *args) == want, program.show()
    with chunks.forced(whole=True):
        whole = Compiled(program, **build)
    assert not cuts_of(whole.layout)
    with np.errstate(all="ignore"):
        for got, other in zip(compiled(*args), whole(*args), strict=True):
            if isinstance(got, np.ndarray) and got.dtype.kind == "f":
                loose = 1e-4 if got.dtype.itemsize < 8 else 1e-9
                size = np.abs(other[np.isfinite(other)]).max(initial=1.0)
                np.testing.assert_allclose(got, other, rtol=loose, atol=loose * size)
            else:
                np.testing.assert_array_equal(got, other)
    return len(cuts_of(compiled.layout))


# ---- which kernels are cut

def test_short_kernels_are_not_cut():
    for shape in ((1000,), (10, 10, 10)):
        program, _ = traced(lambda x: (ad.exp(x) * x).sum(), np.ones(shape, np.float32))
        assert not Layout(program).cuts


def test_passes_that_need_all_of_another_are_kernels_of_their_own():
    def f(x, z):
        e = ad.exp(x - x.max())
        return e / e.sum(), (x * z).sum(), x.var()
    rng = np.random.default_rng(0)
    x, z = (rng.normal(size=40_001) for _ in range(2))
    program, args = traced(f, x, z)
    assert compare(program, args, {}) >= 3
    assert all(len(g.passes) == 1 for g in Layout(program).schedule.groups)


def test_chunks_do_not_depend_on_the_number_of_threads():
    program, _ = traced(lambda x: ad.exp(x).sum(0), np.ones((999, 777)))
    threads.set_threads(1)
    one = Compiled(program)
    threads.set_threads(3)
    assert one.text == Compiled(program).text
    (cut,) = one.layout.cuts.values()
    assert len(cut.partial) == 1
    assert one.layout.show().splitlines()[0].endswith(f"reads %0, {cut.show()}")


@pytest.mark.parametrize("size", [2, 64, 127, 128, 129, 1000, 4096 + 63])
@pytest.mark.parametrize("unit", [1, 64])
def test_chunks_cover_the_axis(size, unit):
    found = chunks.cut("i0", size, unit, 50e-6, 10e-6)
    if size < 2 * unit:
        assert found is None
        return
    if found is not None:
        assert found.chunk % unit == 0
        last = size - (found.many - 1) * found.chunk
        assert unit <= last < found.chunk + unit


# ---- the same bits

def one_of_each(x, z, w, i):
    """Flat kernels, rows with temporaries, sums over each axis, an extreme, products, a gather."""
    e = ad.exp(ad.sin(x))
    rows = e / e.sum(1, keepdims=True)
    h = ad.tanh(x @ w)
    return ((x * z).sum(), ad.maximum(x, z), rows, rows.sum(0), x.max(0), x.min(), (x > z).any(),
            (x > z).all(0), h, h @ h.T, (h * h).sum(), e[i], (x * z).mean(1), ad.where(x > 0, x, z),
            *[y for axis in (0, 1) for y in (ad.cumsum(x, axis), x.argmax(axis), z.argmin(axis))],
            ad.concatenate([x.T, z.T]).reshape(-1), x.T.reshape(-1))


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_of_each(dtype, build):
    rng = np.random.default_rng(0)
    shapes = (37, 70), (130, 5), (1, 333), (3, 64), (257, 1)
    if build:
        shapes = shapes[dtype is np.float64::2]
    for m, n in shapes:
        x, z = (rng.normal(size=(m, n)).astype(dtype) for _ in range(2))
        w, i = rng.normal(size=(n, 40)).astype(dtype), rng.integers(0, m, 9)
        program, args = traced(one_of_each, x, z, w, i)
        assert compare(program, args, build) >= 1 + (m > 3)


STEPS = [lambda x, y: ad.sin(x) * y, lambda x, y: x - x.mean(0), lambda x, y: ad.exp(-x * x) + y,
         lambda x, y: x / (1.0 + ad.abs(x).sum(1, keepdims=True)), lambda x, y: ad.tanh(x + y),
         lambda x, y: x * y.max(0), lambda x, y: ad.where(x > y, x, 0.5 * y),
         lambda x, y: x @ (y.T @ x) / x.shape[0], lambda x, y: x[::-1] + y,
         lambda x, y: ad.cumsum(x, 0) / x.shape[0], lambda x, y: x + (x * y).sum(),
         lambda x, y: ad.maximum(x, y) + y.sum(0) / x.shape[0]]


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_and_their_gradients(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 200)), int(rng.integers(1, 40)))
    order = rng.integers(0, len(STEPS), 6)
    x, y = (rng.normal(size=shape).astype([np.float32, np.float64][seed % 2]) for _ in range(2))

    def f(x, y):
        for k in order:
            x, y = y, STEPS[k](x, y)
        return (x * y).sum()
    build = [*BUILDS.values()][seed % len(BUILDS)]
    program, args = traced(lambda x, y: (f(x, y), *ad.grad(f, (0, 1))(x, y)), x, y)
    assert compare(program, args, build)


@pytest.mark.parametrize("seed", range(12))
@quiet
def test_programs_of_the_fuzz(seed):
    drawn = drawing.draw([seed, 9]).program
    if any(not isinstance(v, np.ndarray | float | int | np.generic)
           for v in drawn.leaves.values()):
        return
    xs = [np.asarray(v) for v in drawn.leaves.values()]
    with np.errstate(all="ignore"):
        graph, out = trace(lambda *a: tuple(programs.run(drawn, a)), *map(aval_of, xs))
    if any(n.prim is programs.gather for n in graph.nodes):  # a row of the fuzz only
        return
    graph.outputs = [o.node for o in out if hasattr(o, "node")]
    compare(lowered(graph), [*xs, *graph.closed], {})


def peer():
    """This library, for a workload."""
    return Peer("adjoint", np, lambda x: x, ad.jit, ad.grad, lambda y: y, ad.relu,
                lambda z, y: ad.log_softmax(z)[np.arange(len(y)), y],
                ad.logsumexp, ad.hessian, ad.jacobian)


def leaves(y):
    """The arrays of a result, in order."""
    if isinstance(y, (list, tuple)):
        return [x for part in y for x in leaves(part)]
    return [np.array(y)]


@pytest.mark.parametrize("name", sorted({*WORKLOADS} - {"2", "5"}))  # 5 is 4, for longer
def test_workloads(name):
    with chunks.forced(small=name not in {"4", "6", "7"}), ad.deterministic():
        call = WORKLOADS[name][0](peer())
        want = on(1, lambda: leaves(call()))
        for n in (1, 2, 2, 3, 3):  # by Python, then by machine code
            assert on(n, lambda: leaves(call())) == want


# ---- failures

def test_the_first_chunk_that_fails_is_the_one_that_is_told():
    b = ProgramBuilder()
    x, i = b.input(aval_of(np.ones(5))), b.input(aval_of(np.zeros((300, 2), int)))
    b.program.outputs = [b.elementwise("exp", b.pick(x, [i])).number]
    with chunks.forced(small=True):
        compiled = Compiled(b.program)
    assert cuts_of(compiled.layout)
    for n in (1, 2, 3):
        threads.set_threads(n)
        for bad in (0, 7, 299):
            wrong = np.zeros((300, 2), int)
            wrong[bad:, 1] = 5
            with pytest.raises(IndexingError, match="out of range"):
                compiled(np.ones(5), wrong)
        np.testing.assert_array_equal(compiled(np.zeros(5), np.zeros((300, 2), int))[0], 1.0)


# ---- the workers

def work():
    """A function whose kernel is cut, its argument, and the result."""
    x = np.linspace(0.0, 1.0, 300_000)
    f = ad.jit(lambda x: (ad.exp(ad.sin(x)) * x).sum())
    return f, x, f(x)


def test_workers_begin_when_there_is_something_for_them():
    threads.set_threads(1)
    f, x, want = work()
    runtime = threads.runtime()
    before = runtime.workers()
    assert f(x) == want
    assert runtime.workers() == before
    threads.set_threads(before + 3)
    assert f(x) == want
    assert runtime.workers() == (before + 2 if threads.possible() else 0)


@pytest.mark.skipif(not threads.possible(), reason="this system has no threads of POSIX")
def test_a_process_of_one_thread_that_wants_more():
    """What makes workers is compiled when a second thread is wanted, and old programs use it."""
    code = """
from adjoint.compiler import threads
first = f(x)
runtime = threads.runtime()
print(runtime.several, runtime.workers())
ad.set_threads(3)
print(runtime.several, f(x) == first, runtime.workers())
ad.set_threads(1)
print(f(x) == first, ad.jit(lambda x: (ad.exp(ad.sin(x)) * x).sum())(x) == first)"""
    assert run(code, ADJOINT_THREADS="1") == ["False", "0", "True", "True", "2", "True", "True"]


def test_several_threads_of_python_at_once():
    threads.set_threads(3)
    f, x, want = work()
    wrong = []

    def turns():
        wrong.extend(y for _ in range(30) if (y := f(x)) != want)
    workers = [threading.Thread(target=turns) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_set_threads_while_others_compute():
    f, x, want = work()
    wrong, done = [], threading.Event()

    def turns():
        while not done.is_set():
            wrong.extend(y for y in (f(x),) if y != want)
    worker = threading.Thread(target=turns)
    worker.start()
    for k in range(60):
        threads.set_threads(1 + k % 4)
        f(x)
    done.set()
    worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process")  # of Python 3.12: it is multi-threaded
def test_a_fork_after_compiling():
    threads.set_threads(3)
    f, x, want = work()
    assert f(x) == want
    for _ in range(3):
        child = os.fork()
        if not child:
            runtime = threads.runtime()
            begun = runtime.workers()
            right = all(f(x) == want for _ in range(20))
            os._exit(0 if right and not begun and runtime.workers() == 2 * runtime.several else 1)
        assert f(x) == want
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_while_another_thread_computes():
    threads.set_threads(2)
    f, x, want = work()
    done = threading.Event()

    def turns():
        while not done.is_set():
            f(x)
    worker = threading.Thread(target=turns)
    worker.start()
    for _ in range(5):
        child = os.fork()
        if not child:
            os._exit(0 if all(f(x) == want for _ in range(5)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    worker.join()


def run(code, **env):
    """A process of its own; its output."""
    told = subprocess.run([sys.executable, "-c", "import numpy as np, adjoint as ad, time\n"
                           "x = np.linspace(0.0, 1.0, 300_000)\n"
                           "f = ad.jit(lambda x: (ad.exp(ad.sin(x)) * x).sum())\n" + code],
                          env=os.environ | env, capture_output=True, text=True, check=False,
                          timeout=60)
    assert told.returncode == 0, told.stderr
    assert not told.stderr
    return told.stdout.split()


@pytest.mark.parametrize("pause", [0, 0.01], ids=["awake", "asleep"])
def test_the_end_with_a_worker_that_waits(pause):
    code = f"""
from adjoint.compiler import threads
print(f(x), threads.runtime().workers())
time.sleep({pause})"""
    told = run(code, ADJOINT_THREADS="3")
    assert told[1] == str(2 * threads.possible())
    assert told[0] == run(code, ADJOINT_THREADS="1")[0]


def test_the_end_while_a_daemon_computes():
    run("""
import threading
def turns():
    while True:
        f(x)
f(x)
threading.Thread(target=turns, daemon=True).start()
time.sleep(0.02)""", ADJOINT_THREADS="3")


def test_an_interrupt_reaches_python():
    run("""
import os, signal
f(x)
time.sleep(0.01)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print(f(x))""", ADJOINT_THREADS="3")


# ---- how many

def test_what_is_no_number_of_threads():
    for wrong in (0, -1, 1.5, "2", None, True):
        with pytest.raises(ArgumentError, match=r"no number of threads; .* ad.set_threads\(1\)"):
            ad.set_threads(wrong)
    assert ad.get_threads() >= 1


def test_the_environment(monkeypatch):
    for told, want in (("3", 3), (" 1 ", 1), ("100000", 100000)):
        monkeypatch.setenv(threads.VARIABLE, told)
        assert threads.given() == want
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv(threads.VARIABLE, wrong)
        with pytest.raises(ArgumentError, match=f"{threads.VARIABLE}=.* integer of at least 1"):
            threads.given()
    monkeypatch.setenv(threads.VARIABLE, "")
    if hasattr(os, "sched_getaffinity"):
        assert threads.given() == len(os.sched_getaffinity(0))


def test_more_threads_than_there_may_be():
    threads.set_threads(100_000)
    f, x, want = work()
    assert f(x) == want
    assert threads.runtime().workers() <= workers_ir.MOST


def test_a_system_without_these_threads(monkeypatch):
    monkeypatch.setattr(threads.sys, "platform", "elsewhere")
    runtime = threads.made(2)
    assert not runtime.several
    runtime.limit(4)
    runtime.forget()
    runtime.stop()
    assert runtime.workers() == 0
    _, x, want = work()
    program, args = traced(lambda x: (ad.exp(ad.sin(x)) * x).sum(), x)
    monkeypatch.setitem(native.places, sharing_ir.SHARE, runtime.entry.address(sharing_ir.SHARE))
    native.address_of.cache_clear()
    monkeypatch.setattr("adjoint.compiler.compiled.provide", lambda: None)
    alone = Compiled(program)
    assert cuts_of(alone.layout)
    assert alone(*args)[0] == want
    monkeypatch.undo()
    native.address_of.cache_clear()


def test_a_library_without_a_function_that_workers_need(monkeypatch):
    monkeypatch.setattr(threads, "FUNCTIONS", ("pthread_that_nobody_has",))
    for name in ("STATE", "WORK", "CALLING"):
        monkeypatch.setattr(sharing_ir, name, getattr(sharing_ir, name).replace(
            "pthread_cond_wait", "pthread_that_nobody_has"))
    runtime = threads.made(2)
    assert not runtime.several
    runtime.limit(2)
    assert not runtime.several
