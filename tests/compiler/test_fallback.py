"""Machines without machine code: NumPy runs what was traced, which is said once for each reason."""

import importlib
from pathlib import Path

import llvmlite
import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import blocks, executing, native
from adjoint.compiler.llvm import Direct, Whole, unknown
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
    monkeypatch.setattr(native, "Direct", broken)
    runs_by_numpy("cannot be used here: wrong ELF class")


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_library_of_another_machine_that_llvmlite_loads(anew, monkeypatch, error):
    def broken(name):
        raise error("wrong ELF class")
    right = native.import_module
    monkeypatch.setattr(native, "direct_place", lambda *_: None)
    monkeypatch.setattr(native, "import_module",
                        lambda name: (broken if "." in name else right)(name))
    runs_by_numpy("cannot be used here: wrong ELF class")


def test_an_old_llvmlite(anew, monkeypatch):
    monkeypatch.setattr(native, "OLDEST", 1 + llvm().version[0])
    native.llvm.cache_clear()
    runs_by_numpy("is too old; type: pip install --upgrade llvmlite")


@pytest.mark.parametrize("kind", ["riscv64", "s390x", "powerpc64le", "i686", ""])
def test_an_unknown_kind_of_processor(anew, monkeypatch, kind):
    monkeypatch.setattr(llvm(), "triple", lambda: f"{kind}-unknown-linux-gnu")
    runs_by_numpy(f"processors of the kind '{kind}'")


def no_machine(*_):
    raise unknown("no such target")


def test_a_target_machine_that_cannot_be_made(anew, monkeypatch):
    monkeypatch.setattr(llvm(), "machine", no_machine)
    runs_by_numpy("it says 'no such target'")


def test_a_target_machine_that_fails_later(anew, monkeypatch):
    """The cache knows the machine, but LLVM fails when it is asked for code."""
    native.host()
    monkeypatch.setattr(llvm(), "machine", no_machine)
    runs_by_numpy("it says 'no such target'")


def test_a_function_that_the_c_library_lacks(anew, monkeypatch):
    def lacking(name):
        raise UnsupportedError(f"no function {name}")
    monkeypatch.setattr(native, "address_of", lacking)
    runs_by_numpy("no function sin")


def test_a_name_that_llvm_does_not_know(anew, monkeypatch):
    """A processor newer than LLVM is "generic" with features; it gets machine code."""
    monkeypatch.setattr(llvm(), "processor", lambda: "generic")
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


def features(*levels, more=()):
    """What LLVM tells of a processor of some levels of x86-64."""
    has = {"64bit", *more}.union(*[native.LEVELS[f"x86-64-v{k}"] for k in levels])
    return ",".join([*["+" + f for f in sorted(has)], "-sse4a"])


@pytest.mark.parametrize(("given", "told"), [
    (features(2, 3, 4, more=["avx512vbmi", "aes"]), ("x86-64-v4", "+avx512vbmi")),
    (features(2, 3), ("x86-64-v3", "")),
    (features(2, 4, more=["prfchw"]), (  # no level is reached over a gap
        "x86-64-v2", "+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl,+prfchw")),
    (features(), ("x86-64", "")),
    ("+neon,-sve", ("name", "+neon,-sve"))])
def test_processors_are_told_in_few_words(given, told):
    target = native.Target("name", given, 16, fused=True)
    assert target.told() == told
    assert ('"tune-cpu"="name"' in target.attributes()) == (told[0] != "name")


def test_few_words_give_the_same_code(monkeypatch):
    """As all that LLVM tells of the processor."""
    codes: list[bytes] = []
    for full in (False, True):
        if full:
            monkeypatch.setattr(native.Target, "told", lambda self: (self.cpu, self.features))
        f = ad.jit(lambda x, z: (np.exp(x @ z) + np.tanh(x.sum(1))[:, None]).sum(1))
        text = f.show(np.ones((9, 33)), np.ones((33, 20)), stage="llvm")
        codes.append(llvm().emitted(text, (*native.host().told(), native.SPEED)))
    assert codes[0] == codes[1]


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


# ---- the two ways to call LLVM

TEXT = "define i64 @f(i64 %a) {\n  %b = add i64 %a, 1\n  ret i64 %b\n}\n"


@pytest.fixture
def both():
    """LLVM called directly, and through llvmlite."""
    place = native.direct_place(Path(llvmlite.__path__[0]), llvmlite.__version__)
    if place is None:
        pytest.skip("this llvmlite is of no version whose functions are called directly")
    return Direct(place), Whole(importlib.import_module("llvmlite.binding"))


def test_both_ways_say_and_write_the_same(both):
    for ask in ("triple", "processor", "features"):
        mine, theirs = (getattr(way, ask)() for way in both)
        assert mine == theirs
    assert both[0].features().flatten() == both[1].features().flatten()
    assert both[0].version == both[1].version
    for speed in (0, 1):
        machine = (native.host().cpu, native.host().features, speed)
        mine, theirs = (way.emitted(TEXT, machine) for way in both)
        assert mine == theirs
        assert mine.startswith(b"\x7fELF") or native.llvm().triple().find("linux") < 0
        mine, theirs = (way.emitted(TEXT, machine, readable=True) for way in both)
        assert mine == theirs
        assert b"ret" in mine


@pytest.mark.parametrize(("text", "told"), [
    ("define i64 @f(", "expected"), ("define i64 @f() {\n  ret i32 1\n}\n", "doesn't match"),
    ("define void @f() {\n  %a = add i64 %b, 1\n  %b = add i64 %a, 1\n  ret void\n}\n",
     "does not dominate")])
def test_what_llvm_does_not_take_raises(both, text, told):
    for way in both:
        with pytest.raises(RuntimeError, match=told):
            way.emitted(text, ("", "", 1))


def test_a_processor_without_a_code_generator(both, monkeypatch):
    monkeypatch.setattr(both[0], "triple", lambda: "nothing-unknown-linux")
    with pytest.raises(UnsupportedError, match="LLVM writes no machine code"):
        both[0].emitted(TEXT, ("", "", 1))


def test_programs_run_through_llvmlite_too(anew, monkeypatch):
    monkeypatch.setattr(native, "direct_place", lambda *_: None)
    monkeypatch.setenv("ADJOINT_CACHE", "off")
    f = ad.jit(lambda x: (np.cos(x) * 3.25).sum())
    np.testing.assert_allclose([f(X) for _ in range(3)], (np.cos(X) * 3.25).sum(), rtol=1e-15)
    assert type(native.llvm()) is Whole
    assert "ret" in f.show(X, stage="asm")


@pytest.mark.parametrize("version", ["0.44.0", "0.999.0", "1.2.3", "0.45rc1", "main"])
def test_versions_that_are_not_called_directly(version):
    folder = Path(llvmlite.__path__[0])
    assert native.direct_place(folder, version) is None or version == "0.45rc1"
