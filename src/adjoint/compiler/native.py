"""Text to machine code: the one place that imports llvmlite, when a program is first compiled."""

from __future__ import annotations

import ctypes
import json
from ctypes.util import find_library
from functools import cache as memo
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adjoint.errors import MissingPackageError, UnsupportedError

from . import blas, cache
from .apart import apart, together
from .linking import linked, packed, unpacked
from .llvm import Direct, Whole, direct_place, gate
from .machine import description

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OLDEST = 20  # version of LLVM that reads what is written here
SPEED = 1  # of LLVM's code generator; 0 gives code several times slower, 2 the same
# What each level of x86-64 has more than the one before, by LLVM's names.
LEVELS = {
    "x86-64-v2": {"cx16", "crc32", "popcnt", "sahf", "sse3", "ssse3", "sse4.1", "sse4.2"},
    "x86-64-v3": {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}}
MORE = ("avx", "gfni", "prfchw")  # what begins so is used besides: vectors, and writes soon to come


class Target(NamedTuple):
    """The processor that code is written for, and the bytes of its vectors."""

    cpu: str
    features: str
    vector_bytes: int
    fused: bool  # whether a b + c is rounded once

    @property
    def tables(self) -> bool:
        """Whether it looks coefficients up in registers and scales by powers of two: AVX-512."""
        return self.fused and "+avx512f" in self.features.split(",")

    def told(self) -> tuple[str, str]:
        """Processor and features as LLVM is told them: each feature costs it 20 microseconds.

        The level of x86-64 stands for most. What is not needed to compute with vectors is left out.
        """
        left = {f[1:] for f in self.features.split(",") if f.startswith("+")}
        if "64bit" not in left:  # of another kind, or a level itself
            return self.cpu, self.features
        reached = "x86-64"
        for level, has in LEVELS.items():
            if not has <= left:
                break
            reached, left = level, left - has
        every = set[str]().union(*LEVELS.values())
        more = [f for f in sorted(left) if f in every or f.startswith(MORE)]
        return reached, ",".join(["+" + f for f in more])

    def attributes(self) -> str:
        """What every function says of its processor."""
        cpu, features = self.told()
        told = f'"target-cpu"="{cpu}" "prefer-vector-width"="{8 * self.vector_bytes}"'
        if cpu != self.cpu:
            told += f' "tune-cpu"="{self.cpu}"'  # how long its instructions take
        if features:
            told += f' "target-features"="{features}"'
        # With a frame pointer the stack is aligned: a spilled vector lies in one line of the cache.
        frame = ' "frame-pointer"="all"' if self.vector_bytes == 64 else ""
        return f"attributes #0 = {{ nounwind {told}{frame} }}"


# The levels of x86-64 that any such processor of its time has.
BASELINE = Target("x86-64", "", 16, fused=False)
AVX2 = Target("x86-64-v3", "", 32, fused=True)


@memo
def llvm() -> Direct | Whole:
    """LLVM, ready to compile for this machine."""
    with gate:
        place = direct_place(Path(imported("llvmlite").__path__[0]), binding_version())
        try:
            found = Direct(place) if place else Whole(imported("llvmlite.binding"))
        except (OSError, RuntimeError) as e:  # of a library that does not belong to this machine
            raise UnsupportedError(f"llvmlite cannot be used here: {e}") from e
        if found.version[0] < OLDEST:
            raise UnsupportedError(f"llvmlite {binding_version()} is too old; type: pip install "
                                   "--upgrade llvmlite")
        return found


def imported(name: str) -> Any:
    """A module of llvmlite."""
    try:
        return import_module(name)
    except ImportError:
        raise MissingPackageError("Machine code is made by llvmlite", "llvmlite") from None


@memo
def binding_version() -> str:
    """The version of llvmlite."""
    return imported("llvmlite").__version__


def host() -> Target:
    """This machine, with all that it has."""
    return this_machine()[0]


@memo
def this_machine() -> tuple[Target, str]:
    """This machine, and the version of LLVM: as LLVM told before, or now.

    Whoever finds machine code in the cache does not import llvmlite, which takes longer.
    """
    known = f"machine 1, llvmlite {binding_version()}"
    text = description()
    key = cache.key_of(text, BASELINE, known)
    found = cache.found(key, known) if text else None
    if found is None:
        target, version = asked()
        if text:
            cache.keep(key, known, json.dumps([target, version]).encode())
        return target, version
    told, version = json.loads(found)
    return Target(*told), version


def versions() -> str:
    """The versions that machine code depends on."""
    return cache.versions(binding_version(), this_machine()[1])


def asked() -> tuple[Target, str]:
    """This machine and the version of LLVM, as LLVM tells."""
    known = llvm()
    target = target_of(known.triple().partition("-")[0], known.processor(), known.features())
    with known.machine(*target.told(), SPEED):
        pass  # a failure is noticed before anything is written for it
    return target, ".".join(map(str, known.version))


def target_of(kind: str, cpu: str, features: Any) -> Target:
    """What is written for a processor: its kind, name and features as LLVM tells them.

    Without AVX2 an x86-64 gets vectors of 128 bits and no fused operations, whatever else it has.
    UnsupportedError for a kind that nobody has tried.
    """
    if kind in {"aarch64", "arm64"}:
        return Target(cpu, features.flatten(), 16, fused=True)
    if kind != "x86_64":
        raise UnsupportedError(f"no machine code is written for processors of the kind {kind!r}, "
                               "only for x86_64 and aarch64")
    size = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    return Target(cpu, features.flatten(), size, fused=size > 16 and bool(features.get("fma")))


places: dict[str, int] = {}  # of functions of our own that compiled code calls


@memo
def address_of(name: str) -> int:
    """The address of a function of the C library, of BLAS, or of what we have provided."""
    if found := places.get(name) or blas.address(name):
        return found
    for library in (None, "m"):  # in this process, or in the mathematical library
        place = ctypes.CDLL(find_library(library) if library else None)
        if hasattr(place, name):
            return ctypes.cast(getattr(place, name), ctypes.c_void_p).value or 0
    raise UnsupportedError(f"the C library of this machine has no function {name}, which the "
                           "compiled program calls; run it without compiling")


class Library:
    """Compiled functions of one module; they live as long as this object.

    The code is that of the cache, if it has an entry for this text. ``speed`` is that of LLVM's
    code generator; at most so many ``threads`` compile a long text. ``beside`` provides what it
    calls: that is done before it is loaded, by a thread of its own if there may be several.
    """

    def __init__(self, text: str, externals: Iterable[str], target: Target, speed: int = SPEED,
                 threads: int = 1, beside: Callable[[], Any] | None = None) -> None:
        self.text, self.target, self.speed, self.threads = text, target, speed, threads
        self.externals, known = externals, versions()
        self.key = cache.key_of(text, target, f"{known}, speed {speed}")
        code = cache.found(self.key, known)
        if beside and (code is not None or threads == 1):
            beside()
            beside = None
        self.beside = [beside] if beside else []
        if code is None:
            code = self.compiled()
            cache.keep(self.key, known, code)
        self.load(code)

    @classmethod
    def kept(cls, key: str, externals: Iterable[str], target: Target) -> Library | None:
        """The functions of an entry of the cache; None if it is gone."""
        code = cache.found(key, versions())
        if code is None:
            return None
        library = object.__new__(cls)
        library.key, library.externals, library.target = key, externals, target
        library.speed, library.beside = SPEED, []
        library.load(code)
        return library

    def compiled(self) -> bytes:
        """The code: an object file, or several."""
        parts = apart(self.text, self.threads)
        jobs = [partial(llvm().emitted, part, self.machine()) for part in parts]
        return packed(together([*jobs, *self.beside])[:len(parts)])

    def machine(self) -> tuple[str, str, int]:
        """What LLVM writes for."""
        return *self.target.told(), self.speed

    def load(self, code: bytes) -> None:
        """Make the functions of an object file callable."""
        self.linked = linked(code, address_of)
        if self.linked is not None:
            return
        binding = imported("llvmlite.binding")
        Whole(binding)  # which prepares it
        for name in self.externals:
            binding.add_symbol(name, address_of(name))
        empty = binding.parse_assembly("")
        empty.triple = binding.get_process_triple()
        machine = binding.Target.from_default_triple().create_target_machine(
            cpu=self.machine()[0], features=self.machine()[1], opt=self.speed, jit=True)
        self.engine = binding.create_mcjit_compiler(empty, machine)  # which owns it from then on
        for part in unpacked(code):
            self.engine.add_object_file(binding.ObjectFileRef.from_data(part))
        self.engine.finalize_object()

    def function(self, name: str) -> Any:
        """A function of two pointers that returns 0 or a failure code."""
        make = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        return make(self.address(name))

    def address(self, name: str) -> int:
        """Where a function is."""
        if self.linked is not None:
            return self.linked.addresses[name]
        return self.engine.get_function_address(name)

    def assembly(self) -> str:
        """The machine code as text."""
        return llvm().emitted(self.text, self.machine(), readable=True).decode()
