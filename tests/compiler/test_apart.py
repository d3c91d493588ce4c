"""Texts that several threads compile."""

import threading
from functools import partial

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import apart, linking, native, sharing_ir
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.llvm import Gate
from adjoint.compiler.native import Library, host
from adjoint.compiler.program import lowered
from adjoint.compiler.simplify import simplified
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Every text is worth it, and none is in the cache."""
    monkeypatch.setattr(apart, "WORTH", 1)
    monkeypatch.setenv("ADJOINT_CACHE", "off")
    native.cache.clear()


def several(program, threads=3):
    """A program, compiled by several threads."""
    found = Compiled(program)
    found.library = Library(found.text + f"\n; {threads}\n", found.externals, found.target,
                            threads=threads)
    found.functions = {name: found.library.function(name) for name, _ in found.segments if name}
    return found


def network(w, v, x):
    h = np.tanh(x @ w)
    return ((ad.softmax(h @ v) - 0.1) ** 2).sum() + np.cos(1e7 * h).sum()


def example():
    """A Program, and its arguments."""
    rng = np.random.default_rng(3)
    args = [rng.standard_normal(shape) for shape in ((9, 17), (17, 5), (12, 9))]
    graph, out = trace(ad.grad(network, argnums=(0, 1)), *map(aval_of, args))
    graph.outputs = [o.node for o in out]
    return simplified(lowered(graph)), [*args, *graph.closed]


def test_the_parts_have_all_functions_once():
    text = Compiled(example()[0]).text
    whole = sorted(map(apart.name_of, apart.FUNCTION.findall(text)))
    for most in (2, 3, 100):
        parts = apart.apart(text, most)
        names = [sorted(map(apart.name_of, apart.FUNCTION.findall(p))) for p in parts]
        assert sorted(name for part in names for name in part) == whole
        assert len(parts) == min(most, len(whole)) and all(names)
        assert not any("define internal" in p for p in parts)
    assert apart.apart(text, 1) == [text]


def test_what_has_variables_stays_whole():
    text = sharing_ir.text("x86_64", host().attributes(), several=True)
    assert apart.apart(text, 4) == [text]


@pytest.mark.parametrize("threads", [2, 3, 100])
def test_the_same_bits(threads):
    program, args = example()
    want, found = Compiled(program)(*args), several(program, threads)
    assert len(linking.unpacked(found.library.compiled())) > 1
    for a, c in zip(want, found(*args), strict=True):
        np.testing.assert_array_equal(a, c)


def test_llvm_links_them_too(monkeypatch):
    program, args = example()
    want = Compiled(program)(*args)
    monkeypatch.setattr(native, "linked", lambda *_: None)
    found = several(program)
    assert found.library.engine
    for a, c in zip(want, found(*args), strict=True):
        np.testing.assert_array_equal(a, c)


def test_several_files_are_one_entry():
    files = [b"\x7fELF" + bytes(k) for k in (0, 7, 300)]
    assert linking.unpacked(linking.packed(files)) == files
    assert linking.packed(files[1:2]) == files[1]
    assert linking.unpacked(files[2]) == [files[2]]
    program, _ = example()
    code = several(program).library.compiled()
    assert linking.linked(code, native.address_of) is not None
    assert linking.linked(code + bytes(8), native.address_of) is None  # with an empty file


def test_an_error_of_a_thread_is_raised():
    def fails(k):
        raise ValueError(k)
    assert apart.together([partial(int, k) for k in range(4)]) == [0, 1, 2, 3]
    for k in range(3):
        jobs = [partial(fails if j == k else int, j) for j in range(3)]
        with pytest.raises(ValueError, match=str(k)):
            apart.together(jobs)
    with pytest.raises(RuntimeError, match="expected"):
        Library("define i64 @f() {\n ret i64 0\n}\n\ndefine i64 @g( {\n}\n", (), host(), threads=2)


def test_where_no_thread_begins(monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert apart.together([partial(int, k) for k in range(4)]) == [0, 1, 2, 3]


def test_a_fork_waits_for_who_compiles():
    gate, order = Gate(), []
    inside, leave = threading.Event(), threading.Event()

    def compiles():
        with gate:
            inside.set()
            leave.wait(30)
            order.append("compiled")
    thread = threading.Thread(target=compiles)
    thread.start()
    assert inside.wait(30)
    closing = threading.Thread(target=lambda: (gate.close(), order.append("forked"), gate.open()))
    closing.start()
    leave.set()
    closing.join(30)
    thread.join(30)
    assert order == ["compiled", "forked"]
    with gate:
        gate.close()  # a signal's handler that forks
        gate.open()
