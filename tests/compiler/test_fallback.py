"""Machines without machine code: NumPy runs what was traced, which is said once for each reason."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import blocks, executing, native
from adjoint.compiler.native import AVX2, BASELINE, llvm, target_of
from adjoint.errors import CompileWarning, MissingPackageError, UnsupportedError

X = np.array([0.5, -1.0, 3.0])


def loss(x):
    return (np.sin(x) * x ** 2).sum()


@pytest.fixture
def anew(monkeypatch):
    """Nothing is known of this machine, and nothing has been said; then all as it was."""
    known = [native.llvm, native.this_machine, native.binding_version, executing.available,
             executing.said]
    monkeypatch.setattr(native, "description", str)  # what the cache knows is not asked for
    for function in known:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in known:
        function.cache_clear()


def runs_by_numpy(match):
    """Several compiled functions, called often: the same results, and one warning."""
    f, g = ad.jit(loss), ad.jit(ad.grad(loss))
    with pytest.warns(CompileWarning, match=match) as told:
        assert f(X) == loss(X)
    assert len(told) == 1
    for _ in range(3):  # warnings are errors
        assert f(X) == loss(X)
        np.testing.assert_array_equal(g(X), ad.grad(loss)(X))
    np.testing.assert_array_equal(ad.vmap(ad.jit(np.sin))(X), np.sin(X))
    assert "NumPy runs" in f.show(X, stage="asm")


def test_without_llvmlite(anew, monkeypatch):
    def missing(name):
        raise ImportError(name)
    monkeypatch.setattr(native, "import_module", missing)
    with pytest.raises(MissingPackageError, match="pip install llvmlite"):
        native.llvm()
    runs_by_numpy("llvmlite")


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_library_of_another_machine(anew, monkeypatch, error):
    def broken(name):
        raise error("wrong ELF class")
    right = native.import_module
    monkeypatch.setattr(native, "import_module",
                        lambda name: (broken if "." in name else right)(name))
    runs_by_numpy("cannot be used here: wrong ELF class")


def test_an_old_llvmlite(anew, monkeypatch):
    monkeypatch.setattr(llvm(), "llvm_version_info", (15, 0, 7))
    native.llvm.cache_clear()
    runs_by_numpy("is too old; type: pip install --upgrade llvmlite")


@pytest.mark.parametrize("kind", ["riscv64", "s390x", "powerpc64le", "i686", ""])
def test_an_unknown_kind_of_processor(anew, monkeypatch, kind):
    monkeypatch.setattr(llvm(), "get_process_triple", lambda: f"{kind}-unknown-linux-gnu")
    runs_by_numpy(f"processors of the kind '{kind}'")


def test_a_target_machine_that_cannot_be_made(anew, monkeypatch):
    def failing():
        raise RuntimeError("no such target")
    monkeypatch.setattr(llvm().Target, "from_default_triple", failing)
    runs_by_numpy("it says 'no such target'")


def test_a_target_machine_that_fails_later(anew, monkeypatch):
    """The cache knows the machine, but LLVM fails when it is asked for code."""
    native.host()
    def failing():
        raise RuntimeError("no such target")
    monkeypatch.setattr(llvm().Target, "from_default_triple", failing)
    runs_by_numpy("it says 'no such target'")


def test_a_function_that_the_c_library_lacks(anew, monkeypatch):
    def lacking(name):
        raise UnsupportedError(f"no function {name}")
    monkeypatch.setattr(native, "address_of", lacking)
    runs_by_numpy("no function sin")


def test_a_name_that_llvm_does_not_know(anew, monkeypatch):
    """A processor newer than LLVM is "generic" with features; it gets machine code."""
    monkeypatch.setattr(llvm(), "get_host_cpu_name", lambda: "generic")
    f = ad.jit(loss)
    np.testing.assert_allclose([f(X) for _ in range(3)], loss(X), rtol=1e-15)
    assert native.host().cpu == "generic"
    assert "NumPy runs" not in f.show(X, stage="asm")


@pytest.mark.parametrize("value", ["off", "0", "no", "OFF"])
def test_switched_off(monkeypatch, value):
    """Nothing is said, and nothing compiled."""
    monkeypatch.setenv("ADJOINT_JIT", value)
    f = ad.jit(loss)
    assert [f(X) for _ in range(3)] == [loss(X)] * 3
    assert "NumPy runs" in f.show(X, stage="llvm")


class Features(dict):
    """What LLVM tells of a processor."""

    def flatten(self):
        return ",".join(f"+{k}" for k in self)


@pytest.mark.parametrize(("kind", "features", "size", "fused", "registers"), [
    ("x86_64", "avx512f avx2 fma", 64, True, 32),
    ("x86_64", "avx2 fma", 32, True, 16),
    ("x86_64", "avx2", 32, False, 16),
    ("x86_64", "avx fma fma4", 16, False, 16),  # AMD Piledriver
    ("x86_64", "sse2", 16, False, 16),
    ("aarch64", "neon", 16, True, 32),
    ("arm64", "", 16, True, 32)])  # macOS tells no features
def test_what_processors_get(kind, features, size, fused, registers):
    target = target_of(kind, "name", Features(dict.fromkeys(features.split(), True)))
    assert (target.cpu, target.vector_bytes, target.fused) == ("name", size, fused)
    assert blocks.registers(target.vector_bytes, target.fused) == registers


@pytest.mark.parametrize(("target", "sizes"), [
    (BASELINE, [(16, 4), (16, 2)]), (AVX2, [(16, 8), (16, 4)]),
    (BASELINE._replace(fused=True), [(32, 4), (32, 2)]),
    (AVX2._replace(vector_bytes=64), [(32, 16), (32, 8)])])
def test_tiles_fit_the_registers(target, sizes):
    """The sums of a large product, a vector of each column and a factor: never more than fit."""
    for count, lanes in sizes:
        assert blocks.registers(target.vector_bytes, target.fused) == count
        for far in (False, True):
            rows, vectors = blocks.tile(512, 512, lanes, count, target.fused, far)
            needed = rows * vectors + vectors + 1 + (0 if target.fused else 1)
            assert 0.6 * count <= needed <= count, (rows, vectors)
