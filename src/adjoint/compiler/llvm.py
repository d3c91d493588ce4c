"""LLVM as the library of llvmlite has it: what it says of this machine, and text to machine code.

`Direct` calls the library without llvmlite's modules for Python, whose import takes longer than a
small program needs to compile. The functions are called as the versions in `KNOWN` declare them;
`Whole` is the same through ``llvmlite.binding``, for any other version and elsewhere than Linux.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, get_ident
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from adjoint.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Generator

KNOWN = frozenset((0, k) for k in range(45, 51))  # versions of llvmlite
POINTER, TEXT, NUMBER = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
OUT = ctypes.POINTER(POINTER)
# The functions of the library that are called: results, and parameters.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "InitializeNativeTarget": (NUMBER,), "InitializeNativeAsmPrinter": (NUMBER,),
    "GetVersionInfo": (ctypes.c_uint,), "DisposeString": (None, POINTER),
    "GetProcessTriple": (None, OUT), "GetHostCPUName": (None, OUT),
    "GetHostCPUFeatures": (NUMBER, OUT), "GetTargetFromTriple": (POINTER, TEXT, OUT),
    "CreateTargetMachine": (POINTER, POINTER, TEXT, TEXT, TEXT, NUMBER, TEXT, TEXT, NUMBER, NUMBER,
                            TEXT),
    "DisposeTargetMachine": (None, POINTER), "ContextCreate": (POINTER,),
    "ContextDispose": (None, POINTER), "ParseAssembly": (POINTER, POINTER, TEXT, OUT),
    "VerifyModule": (NUMBER, POINTER, OUT), "DisposeModule": (None, POINTER),
    "TargetMachineEmitToMemory": (POINTER, POINTER, POINTER, NUMBER, OUT),
    "GetBufferSize": (ctypes.c_size_t, POINTER), "GetBufferStart": (POINTER, POINTER),
    "DisposeMemoryBuffer": (None, POINTER)}


class Features(dict[str, bool]):
    """What a processor has, by LLVM's names."""

    def flatten(self) -> str:
        """As text: ``+avx,-avx512f``."""
        return ",".join([("+" if has else "-") + name for name, has in sorted(self.items())])


def unknown(told: str) -> UnsupportedError:
    """The error for a processor that LLVM has no code generator for."""
    return UnsupportedError("LLVM writes no machine code for this machine: it says "
                            f"{told.strip()!r}")


def functions(place: Path) -> Any:
    """The functions of the library, by their names."""
    library, found = ctypes.CDLL(str(place)), SimpleNamespace()
    for name, (result, *parameters) in FUNCTIONS.items():
        function = library[f"LLVMPY_{name}"]
        function.restype, function.argtypes = result, parameters
        setattr(found, name, function)
    return found


class Gate:
    """What threads go through to LLVM, several at a time; who forks lets none in, and waits.

    A thread that forks within LLVM, as a signal's handler may, does not wait for itself.
    """

    def __init__(self) -> None:
        self.condition, self.inside = Condition(), list[int]()

    def __enter__(self) -> None:
        with self.condition:
            self.inside.append(get_ident())

    def __exit__(self, *_: object) -> None:
        with self.condition:
            self.inside.remove(get_ident())
            self.condition.notify_all()

    def close(self) -> None:
        """Wait until no other thread is inside."""
        self.condition.acquire()
        while {*self.inside} - {get_ident()}:
            self.condition.wait()

    def open(self) -> None:
        """Let others in again."""
        self.condition.release()


gate = Gate()
if hasattr(os, "register_at_fork"):  # a lock of LLVM's that somebody holds would stay shut
    os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=gate.open)


class Direct:
    """The functions of a shared library that is of a version in `KNOWN`; RuntimeError if one fails.

    Threads may call it at a time: each call has a context and a code generator of its own.
    """

    def __init__(self, place: Path) -> None:
        self.call = functions(place)
        if self.call.InitializeNativeTarget() or self.call.InitializeNativeAsmPrinter():
            raise RuntimeError("LLVM does not know the processor of this machine")
        packed = self.call.GetVersionInfo()
        self.version = packed >> 16 & 255, packed >> 8 & 255, packed & 255

    def told(self, out: Any) -> str:
        """A text that a function gave, which is ours to free."""
        text = ctypes.string_at(out.value).decode() if out.value else ""
        self.call.DisposeString(out)
        return text

    def asked(self, function: Any) -> str:
        """The text that a function gives."""
        out = POINTER()
        function(ctypes.byref(out))
        return self.told(out)

    def triple(self) -> str:
        """What runs this process: processor, maker, system."""
        return self.asked(self.call.GetProcessTriple)

    def processor(self) -> str:
        """The name of the processor."""
        return self.asked(self.call.GetHostCPUName)

    def features(self) -> Features:
        """What the processor has."""
        told = self.asked(self.call.GetHostCPUFeatures)
        return Features((f[1:], f[0] == "+") for f in told.split(",") if f)

    @contextmanager
    def machine(self, cpu: str, features: str, speed: int) -> Generator[Any]:
        """A code generator for a processor; UnsupportedError if there is none."""
        triple, out = self.triple().encode(), POINTER()
        kind = self.call.GetTargetFromTriple(triple, ctypes.byref(out))
        if not kind:
            raise unknown(self.told(out))
        made = self.call.CreateTargetMachine(kind, triple, cpu.encode(), features.encode(), speed,
                                             b"default", b"jitdefault", 0, 1, b"")
        if not made:
            raise unknown("Cannot create target machine")
        try:
            yield made
        finally:
            self.call.DisposeTargetMachine(made)

    @contextmanager
    def module(self, text: str) -> Generator[Any]:
        """A module, in a context of its own."""
        context = self.call.ContextCreate()
        try:
            made = self.parsed(context, text)
            try:
                yield made
            finally:
                self.call.DisposeModule(made)
        finally:
            self.call.ContextDispose(context)

    def parsed(self, context: Any, text: str) -> Any:
        """A module that was read and verified."""
        out = POINTER()
        made = self.call.ParseAssembly(context, text.encode(), ctypes.byref(out))
        if not made:
            raise RuntimeError(f"LLVM IR parsing error\n{self.told(out)}")
        if self.call.VerifyModule(made, ctypes.byref(out)):
            self.call.DisposeModule(made)
            raise RuntimeError(self.told(out))
        return made

    def emitted(self, text: str, machine: tuple[str, str, int], *, readable: bool = False) -> bytes:
        """A module as an object file, or as readable assembly, for a processor."""
        with gate, self.machine(*machine) as generator, self.module(text) as module:
            out = POINTER()
            buffer = self.call.TargetMachineEmitToMemory(generator, module, not readable,
                                                         ctypes.byref(out))
            if not buffer:
                raise RuntimeError(self.told(out))
            try:
                return ctypes.string_at(self.call.GetBufferStart(buffer),
                                        self.call.GetBufferSize(buffer))
            finally:
                self.call.DisposeMemoryBuffer(buffer)


class Whole:
    """The same through ``llvmlite.binding``."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        self.version = binding.llvm_version_info
        self.triple, self.processor, self.features = (
            binding.get_process_triple, binding.get_host_cpu_name, binding.get_host_cpu_features)

    @contextmanager
    def machine(self, cpu: str, features: str, speed: int) -> Generator[Any]:
        """A code generator for a processor; UnsupportedError if there is none."""
        try:
            made = self.binding.Target.from_default_triple().create_target_machine(
                cpu=cpu, features=features, opt=speed, jit=True)
        except RuntimeError as e:
            raise unknown(str(e)) from e
        yield made

    def emitted(self, text: str, machine: tuple[str, str, int], *, readable: bool = False) -> bytes:
        """A module as an object file, or as readable assembly, for a processor."""
        with gate, self.machine(*machine) as generator:
            module = self.binding.parse_assembly(text)
            module.verify()
            if readable:
                return generator.emit_assembly(module).encode()
            return generator.emit_object(module)


def direct_place(folder: Path, version: str) -> Path | None:
    """The library that `Direct` may call: of a known version, and where it is expected."""
    place = folder / "binding" / "libllvmlite.so"
    numbers = tuple(version.split(".")[:2])
    known = all(n.isdecimal() for n in numbers) and tuple(map(int, numbers)) in KNOWN
    return place if known and sys.platform == "linux" and place.exists() else None
