"""Functions of vector_maths compiled into loops over arrays, for tests and measurements."""

import ctypes
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from adjoint.compiler.vector_maths import BINARY, define

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
KINDS = {"f32": np.float32, "f64": np.float64}
HOST = llvm.get_host_cpu_features()
# What each setting tells LLVM of the processor: its name, its features, fused multiply-add,
# AVX-512.
SETTINGS = {
    "host": (llvm.get_host_cpu_name(), HOST.flatten(), bool(HOST.get("fma")),
             bool(HOST.get("avx512f"))),
    "avx2": ("x86-64-v3", "", True, False),
    "sse2": ("x86-64", "", False, False)}
LOOP = """
define void @loop({args}, ptr noalias %out, i64 %n) nounwind {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
{loads}
  %y = call {V} @{name}({values})
  %q = getelementptr {T}, ptr %out, i64 %i
  store {V} %y, ptr %q, align {align}
  %next = add nuw nsw i64 %i, {lanes}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %head, label %done
done:
  ret void
}}
"""


def loop(definition, kind, lanes, arity):
    """A module with the function and a loop over arrays, whose length is a multiple of lanes."""
    T = {"f32": "float", "f64": "double"}[kind]
    V, align = T if lanes == 1 else f"<{lanes} x {T}>", 4 if kind == "f32" else 8
    loads = "\n".join(f"  %p{i} = getelementptr {T}, ptr %a{i}, i64 %i\n"
                      f"  %v{i} = load {V}, ptr %p{i}, align {align}" for i in range(arity))
    text = LOOP.format(args=", ".join(f"ptr noalias %a{i}" for i in range(arity)), loads=loads, V=V,
                       T=T, name=definition.name, align=align, lanes=lanes,
                       values=", ".join(f"{V} %v{i}" for i in range(arity)))
    return "\n".join([*definition.declarations, *definition.helpers.values(), definition.text,
                      text])


def described(function, kind, lanes, setting):
    """The function for a processor."""
    *_, fused, tables = SETTINGS[setting]
    return define(function, kind, lanes, fused, tables=tables)


def machine(setting):
    name, features, *_ = SETTINGS[setting]
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=2)


@cache
def compiled(function, kind, lanes, setting="host"):
    """``f(*arrays)``: the function on contiguous arrays of one length."""
    arity = 2 if function in BINARY else 1
    definition = described(function, kind, lanes, setting)
    module = llvm.parse_assembly(loop(definition, kind, lanes, arity))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine(setting))
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)(
        engine.get_function_address("loop"))

    def run(*xs, out=None):
        n = len(xs[0])
        assert all(x.dtype == KINDS[kind] and x.flags.c_contiguous and len(x) == n for x in xs)
        whole = -(-n // lanes) * lanes
        if whole != n:
            xs = [np.concatenate([x, np.ones(whole - n, x.dtype)]) for x in xs]
        y = np.empty(whole, KINDS[kind]) if out is None else out
        assert len(y) == whole
        call(*[x.ctypes.data for x in xs], y.ctypes.data, whole)
        return y[:n]
    run.engine = engine
    return run


def assembly(function, kind, lanes, setting="host"):
    """The machine code as text."""
    definition = described(function, kind, lanes, setting)
    arity = 2 if function in BINARY else 1
    module = llvm.parse_assembly(loop(definition, kind, lanes, arity))
    return machine(setting).emit_assembly(module)
