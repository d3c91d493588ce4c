"""Text to machine code: the one place that imports llvmlite, when a program is first compiled."""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from adjoint.errors import MissingPackageError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

SPEED = 2  # of LLVM's code generator; 0 gives code several times slower


class Target(NamedTuple):
    """The processor that code is written for, and the bytes of its vectors."""

    cpu: str
    features: str
    vector_bytes: int
    fused: bool  # whether a b + c is rounded once

    def attributes(self) -> str:
        """What every function says of its processor."""
        told = f'"target-cpu"="{self.cpu}" "prefer-vector-width"="{8 * self.vector_bytes}"'
        features = f' "target-features"="{self.features}"' if self.features else ""
        return f"attributes #0 = {{ nounwind {told}{features} }}"


# The levels of x86-64 that any such processor of its time has.
BASELINE = Target("x86-64", "", 16, fused=False)
AVX2 = Target("x86-64-v3", "", 32, fused=True)


@cache
def llvm() -> Any:
    """``llvmlite.binding``, ready to compile for this machine."""
    try:
        binding = import_module("llvmlite.binding")
    except ImportError:
        raise MissingPackageError("Machine code is made by llvmlite", "llvmlite") from None
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def host() -> Target:
    """This machine, with all that it has."""
    features = llvm().get_host_cpu_features()
    size = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    # Every processor that is not an x86-64 and has 64-bit vectors at all has it.
    fused = features.get("fma", not llvm().get_process_triple().startswith("x86_64"))
    return Target(llvm().get_host_cpu_name(), features.flatten(), size, bool(fused))


@cache
def c_library() -> tuple[ctypes.CDLL, ...]:
    """Where the functions of the C library are: in this process, or in the mathematical library."""
    found = [None, find_library("m")]
    return tuple([ctypes.CDLL(name) for name in dict.fromkeys(found)])


@cache
def provide(name: str) -> None:
    """Tell LLVM the address of a function of the C library."""
    for library in c_library():
        if hasattr(library, name):
            llvm().add_symbol(name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
            return
    raise UnsupportedError(f"the C library of this machine has no function {name}, which the "
                           "compiled program calls; run it without compiling")


class Library:
    """Compiled functions of one module; they live as long as this object."""

    def __init__(self, text: str, externals: Iterable[str], target: Target) -> None:
        binding = llvm()
        for name in externals:
            provide(name)
        self.module = binding.parse_assembly(text)
        self.module.verify()
        self.machine = binding.Target.from_default_triple().create_target_machine(
            cpu=target.cpu, features=target.features, opt=SPEED)
        self.engine = binding.create_mcjit_compiler(self.module, self.machine)
        self.engine.finalize_object()

    def function(self, name: str) -> Any:
        """A function of two pointers that returns 0 or a failure code."""
        make = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        return make(self.address(name))

    def address(self, name: str) -> int:
        """Where a function is."""
        return self.engine.get_function_address(name)

    def assembly(self) -> str:
        """The machine code as text."""
        return self.machine.emit_assembly(self.module)
