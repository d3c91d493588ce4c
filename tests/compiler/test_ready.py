"""What the cache keeps of a program: found by its Graph, called without a stage, without LLVM."""

import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import cache, jit_row, keys, linking, machine, native, ready
from adjoint.compiler.native import Library, host
from adjoint.core.primitive import Primitive
from adjoint.core.symbol import trace
from adjoint.errors import IndexingError, UnsupportedError

SOURCE = str(Path(cache.__file__).parents[2])
pytestmark = pytest.mark.skipif(os.name != "posix", reason="there is no cache without owners")
linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells of its memory")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of this test's own, and a library that nobody is editing."""
    host()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "state", cache.State())
    monkeypatch.setattr(ready, "sources", lambda: "as they are")
    return tmp_path / "cache"


@pytest.fixture
def stages(monkeypatch):
    """A list that grows when a Graph goes through the stages."""
    seen, real = [], jit_row.lowered
    monkeypatch.setattr(jit_row, "lowered", lambda g: seen.append(g) or real(g))
    return seen


def text(f, *args):
    graph, out = trace(f, *[ad.core.node.aval_of(a) for a in args])
    graph.outputs = [y.node for y in (out if isinstance(out, tuple) else (out,))]
    return keys.text_of(graph)


def test_equal_programs_have_equal_texts_and_others_have_not():
    x, small, whole = np.ones((3, 4)), np.ones((3, 4), np.float32), np.ones((4, 3))
    programs = [(ad.sin, x), (ad.cos, x), (ad.sin, small),
                (ad.sin, whole), (ad.sin, 1.0),
                (ad.sin, np.float64(1.0)), (lambda a: a + 0.0, x),
                (lambda a: a + -0.0, x), (lambda a: a + np.nan, x), (lambda a: 0.0 + a, x),
                (lambda a: a + np.float64(0.0), x), (lambda a: a + np.zeros(4), x),
                (lambda a: a + np.arange(4.0), x), (lambda a: ad.sum(a, axis=0), x),
                (lambda a: ad.sum(a, axis=1), x), (lambda a: ad.sum(a, axis=(0, 1)), x),
                (lambda a: ad.sum(a, axis=(0, 1), keepdims=True), x), (lambda a: a[0], x),
                (lambda a: a[1], x), (lambda a: a[:2], x), (lambda a: a[:2:1], x),
                (lambda a: (ad.sin(a), a), x), (lambda a: (a, ad.sin(a)), x)]
    texts = [text(f, a) for f, a in programs]
    assert all(texts) and len({*texts}) == len(texts)
    assert texts == [text(f, a) for f, a in programs]


def test_a_function_of_the_users_has_no_text():
    row = Primitive("mine", np.sin, aval=lambda a: a, lower=lambda b, x: b.elementwise("sin", x))
    with pytest.raises(keys.Unsayable):
        keys.of_row(row)
    plain = Primitive("mine", np.sin, aval=lambda a: a)
    with pytest.raises(keys.Unsayable):
        keys.of_row(plain)
    for thing in (object(), lambda: 0, np.array([object()]), np.dtype("U3"), {1}):
        with pytest.raises(keys.Unsayable):
            keys.told(thing)


def test_what_a_lowering_closes_over_belongs_to_a_row():
    rows = {r.name: keys.of_row(r) for r in ad.core.primitive.REGISTRY.values() if r.lower}
    assert len({*rows.values()}) == len(rows)


def step(x, w):
    return ad.tanh(x @ w).sum(0), 3.0 * x, x, np.float64(2.5)


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b) and np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_second_process_only_traces(stages):
    x, w = np.linspace(-1.0, 1.0, 12).reshape(3, 4), np.linspace(0.0, 1.0, 8).reshape(4, 2)
    first = ad.jit(step)
    want = first(x, w)
    assert len(stages) == 1
    again = ad.jit(step)
    for _ in range(4):  # the fourth is a builtin
        same(again(x, w), want)
        same(again(x * 0.5, w), first(x * 0.5, w))
    assert len(stages) == 1
    same(ad.jit(step)(x[:2], w), step(x[:2], w))
    assert len(stages) == 2


def test_numbers_stay_numbers(stages):
    for _ in range(2):
        f = ad.jit(ad.grad(lambda a, b: ad.log(a) + a * b, (0, 1)))
        for _ in range(3):
            assert f(2.0, 5.0) == (5.5, 2.0)
            assert [type(g) for g in f(2.0, 5.0)] == [float, float]
    assert len(stages) == 1


def test_a_training_step_writes_where_it_wrote(stages):
    ends = []
    for _ in range(2):
        w = ad.tensor(np.ones(3), requires_grad=True)

        def train(w=w):
            loss = (w * w).sum()
            loss.backward()
            with ad.no_grad():
                w -= 0.1 * w.grad
            w.grad = None
            return loss
        train = ad.jit(train)
        ends.append([[float(train()) for _ in range(5)], w.value.copy()])
    assert ends[0][0] == ends[1][0] and (ends[0][1] == ends[1][1]).all()
    assert ends[0][0][1] == pytest.approx(3 * 0.64) and len(stages) == 1


def test_a_loop_and_its_stacks(stages):
    def f(x):
        ys = []
        for _ in range(40):
            x = ad.sin(x) * 1.01
            ys.append(x)
        return x, ad.stack(ys)
    x = np.linspace(0.0, 1.0, 5)
    for _ in range(2):
        got, want = ad.jit(f)(x), f(x)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    assert len(stages) == 1


def test_an_index_out_of_range_names_its_line(stages):
    def f(x, i):
        return x[i] * 2.0
    x = np.arange(5.0)
    for _ in range(2):
        compiled = ad.jit(f)
        np.testing.assert_array_equal(compiled(x, np.array([1, 2])), [2.0, 4.0])
        for _ in range(3):
            with pytest.raises(IndexError) as e:
                compiled(x, np.array([1, 9]))
            assert isinstance(e.value, IndexingError) and "test_ready.py" in str(e.value)
    assert len(stages) == 2  # the error asked for the second


def test_what_is_shown_is_the_whole_program():
    shown = [ad.jit(lambda x: ad.sin(x) * 2.0).show(1.0, stage=s)
             for _ in range(2) for s in ("kernels", "memory", "llvm")]
    assert shown[:3] == shown[3:] and "elementwise" in shown[0] and "define" in shown[2]


def test_deterministic_programs_are_others(stages):
    with ad.deterministic():
        ad.jit(lambda x: x + 1.0)(1.0)
    ad.jit(lambda x: x + 1.0)(1.0)
    ad.jit(lambda x: x + 1.0)(1.0)
    assert len(stages) == 2


def test_a_changed_library_compiles_again(stages, monkeypatch):
    ad.jit(lambda x: x + 1.0)(1.0)
    monkeypatch.setattr(ready, "sources", lambda: "otherwise")
    assert ad.jit(lambda x: x + 1.0)(1.0) == 2.0
    monkeypatch.setattr(ready, "sources", lambda: "")  # one was written after it was imported
    assert [ad.jit(lambda x: x + 1.0)(1.0) for _ in range(2)] == [2.0, 2.0]
    assert len(stages) == 4


def test_sources_that_are_newer_than_the_process_are_told_apart(monkeypatch):
    machine.sources.cache_clear()
    monkeypatch.setattr(ad, "_imported", max(
        p.stat().st_ctime for p in Path(ad.__file__).parent.rglob("*.py")) + machine.RECENT + 1.0)
    try:
        before = machine.sources()
        assert "keys.py" in before
        machine.sources.cache_clear()
        monkeypatch.setattr(ad, "_imported", ad._imported - machine.RECENT - 1.0)
        assert machine.sources() == ""
    finally:
        machine.sources.cache_clear()


def test_other_limits_of_blas_compile_again(stages, monkeypatch):
    ad.jit(lambda x: x + 1.0)(1.0)
    monkeypatch.setattr(ready.calibration, "as_before", lambda told, target: False)
    assert ad.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert len(stages) == 2


def test_an_entry_without_its_code_is_made_again(stages, folder):
    ad.jit(lambda x: x + 1.0)(1.0)
    for entry in folder.iterdir():
        if b"\x7fELF" in entry.read_bytes():
            entry.unlink()
    assert ad.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert len(stages) == 2
    assert ad.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert len(stages) == 2


def test_code_that_calls_what_is_gone_is_made_again(stages, monkeypatch):
    def gone(*_):
        raise UnsupportedError("no such function")
    ad.jit(lambda x: x + 1.0)(1.0)
    monkeypatch.setattr(Library, "kept", gone)
    assert ad.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert len(stages) == 2


@pytest.mark.parametrize("home", [True, False])
def test_without_a_folder_nothing_is_kept(home, stages, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")
    if home:
        monkeypatch.setenv(cache.VARIABLE, "off")
    else:
        monkeypatch.setattr(cache, "wanted", homeless)
        monkeypatch.setattr(cache, "say", lambda place, e: None)  # it is said once
    assert [ad.jit(lambda x: x + 1.0)(1.0) for _ in range(2)] == [2.0, 2.0]
    assert len(stages) == 2


def test_a_call_in_python_is_compiled_each_time(stages):
    def f(x):
        return ad.sin(ad.sort(x * (1.0 + 2.0j)).real)
    for _ in range(2):
        np.testing.assert_allclose(ad.jit(f)(np.ones(3)), np.sin(np.ones(3)))
    assert len(stages) == 2


def test_llvm_is_not_loaded_for_what_is_in_the_cache(folder):
    body = textwrap.dedent("""
        import sys
        import numpy as np
        import adjoint as ad
        from adjoint.compiler import native, ready
        ready.sources = lambda: "as they are"
        def f(x):
            return ad.sin(x[::-1]) @ x
        g = ad.jit(ad.grad(f))
        for _ in range(3):
            y = g(np.linspace(0.0, 1.0, 5))
        print(y.tolist(), native.llvm.cache_info().misses > 0, "numpy.random" in sys.modules)
        """)

    def ran():
        done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": SOURCE}, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout
    first, second = ran(), ran()
    assert first.endswith("True False\n") and second.endswith("False False\n")
    assert first[:-12] == second[:-13]


# ---- linking

def answers():
    return Library(f"define i64 @f(ptr %a, ptr %b) #0 {{\n  ret i64 7\n}}\n{host().attributes()}\n",
                   (), host())


def test_llvm_links_what_is_not_known_here(monkeypatch):
    assert answers().function("f")(0, 0) == 7
    monkeypatch.setattr(native, "linked", lambda code, address_of: None)
    other = answers()
    assert other.linked is None and other.function("f")(0, 0) == 7
    kept = Library.kept(other.key, (), host())
    assert kept is not None and kept.function("f")(0, 0) == 7


CALLS = """
@number = internal global i64 40
@table = internal constant [3 x double] [double 1.0, double 2.0, double 3.0]
declare double @cos(double)
define i64 @f(ptr %a, ptr %b) #0 {
  %n = load i64, ptr @number
  %more = add i64 %n, 1
  store i64 %more, ptr @number
  %k = and i64 %n, 1
  %p = getelementptr double, ptr @table, i64 %k
  %x = load double, ptr %p
  %y = call double @cos(double %x)
  %z = fmul double %y, 1.0e6
  %r = fptosi double %z to i64
  ret i64 %r
}
"""


@pytest.fixture
def calls():
    """A library that calls the C library, reads constants, and writes to memory of its own."""
    return Library(f"{CALLS}{host().attributes()}\n", ["cos"], host())


def test_constants_functions_and_memory_of_a_module(calls):
    f = calls.function("f")
    for _ in range(2):
        assert f(0, 0) == int(np.cos(1.0) * 1e6)
        assert f(0, 0) == int(np.cos(2.0) * 1e6)


@linux
def test_code_cannot_be_written_to(calls):
    place, rights = calls.address("f"), []
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= place < end:
            rights.append(line.split()[1])
    assert rights == ["r-xp"]


@pytest.mark.parametrize("how", ["empty", "short", "other machine", "relocation"])
def test_a_file_that_is_not_understood_is_not_linked(how, calls):
    code = calls.compiled()
    assert linking.linked(code, native.address_of) is not None
    file = linking.File(code)
    kind = 8 + next(s.offset for s in file.sections
                    if s.kind == linking.ADDENDS and s.info in file.offsets)
    relative = struct.pack("<I", 9)
    bad = {"empty": b"", "short": code[:40], "other machine": code[:18] + b"\xb7" + code[19:],
           "relocation": code[:kind] + relative + code[kind + 4:]}[how]
    assert linking.linked(bad, native.address_of) is None
