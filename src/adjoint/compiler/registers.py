"""Arithmetic on the lanes of one dtype, as LLVM IR: the one place that knows its instructions.

A `Lanes` stands at one place of a function (a Writer and a depth) for one dtype and one number of
lanes (0: a plain number). Its methods take names of values and return the name of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .text import constant, register_type, suffix
from .vector_maths import define, inline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .text import Writer
    from .vector_maths import Definition, Inlined

BOOL, INT32, INT64 = np.dtype(np.bool_), np.dtype(np.int32), np.dtype(np.int64)
BLOCK = 16  # bytes of a vector inside which processors exchange elements at no cost
C_FUNCTIONS = {"sin", "cos", "tan", "sinf", "cosf", "tanf"}  # of arguments beyond 2^20
ORDERED = {"less": "olt", "less_equal": "ole", "greater": "ogt", "greater_equal": "oge",
           "equal": "oeq", "not_equal": "une"}  # a comparison with NaN is false, but for !=
WHOLE = {"less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
         "equal": "eq", "not_equal": "ne"}


class Lanes:
    """Operations on values of one dtype."""

    def __init__(self, writer: Writer, depth: int, width: int, dtype: Any) -> None:
        self.writer, self.depth, self.width, self.dtype = writer, depth, width, dtype
        self.type = register_type(dtype, width)
        self.floating, self.boolean = dtype.kind == "f", dtype.kind == "b"
        self.signed = dtype.kind == "i"

    def of(self, dtype: Any) -> Lanes:
        """The lanes of another dtype at the same place."""
        return Lanes(self.writer, self.depth, self.width, dtype)

    def put(self, text: str) -> str:
        """A new value."""
        return self.writer.put(self.depth, text)

    def constant(self, x: Any) -> str:
        """A number in every lane."""
        return constant(x, self.dtype, self.width)

    def binary(self, instruction: str, a: str, b: str) -> str:
        """One instruction on two values."""
        return self.put(f"{instruction} {self.type} {a}, {b}")

    # ---- arithmetic; of truth values, + is or and * is and, as in NumPy

    def add(self, a: str, b: str) -> str:
        """The sum."""
        return self.binary("fadd" if self.floating else "or" if self.boolean else "add", a, b)

    def subtract(self, a: str, b: str) -> str:
        """The difference."""
        return self.binary("fsub" if self.floating else "sub", a, b)

    def multiply(self, a: str, b: str) -> str:
        """The product."""
        return self.binary("fmul" if self.floating else "and" if self.boolean else "mul", a, b)

    def divide(self, a: str, b: str) -> str:
        """The quotient; of integers towards 0, for a divisor that is not 0 or -1."""
        return self.binary("fdiv" if self.floating else "sdiv" if self.signed else "udiv", a, b)

    def rest(self, a: str, b: str) -> str:
        """What the quotient of integers leaves."""
        return self.binary("srem" if self.signed else "urem", a, b)

    def accumulate(self, a: str, b: str, c: str) -> str:
        """The sum a b + c, rounded once where the processor can."""
        if self.floating:
            return self.intrinsic("fmuladd", a, b, c)
        return self.add(self.multiply(a, b), c)

    def negative(self, a: str) -> str:
        """The opposite."""
        if self.floating:
            return self.put(f"fneg {self.type} {a}")
        return self.subtract(self.constant(0), a)

    def invert(self, a: str) -> str:
        """All bits turned over."""
        ones = True if self.boolean else -1 if self.signed else np.iinfo(self.dtype).max
        return self.binary("xor", a, self.constant(ones))

    def maximum(self, a: str, b: str) -> str:
        """The larger; NaN if one is."""
        return self.intrinsic(self.extreme("max"), a, b)

    def minimum(self, a: str, b: str) -> str:
        """The smaller; NaN if one is."""
        return self.intrinsic(self.extreme("min"), a, b)

    def larger(self, a: str, b: str) -> str:
        """The larger; NaN if one is. Of 0 and -0 either, as of NumPy's reductions."""
        return self.intrinsic(self.extreme("max"), a, b, flags="nsz ")

    def smaller(self, a: str, b: str) -> str:
        """The smaller; NaN if one is. Of 0 and -0 either."""
        return self.intrinsic(self.extreme("min"), a, b, flags="nsz ")

    def extreme(self, which: str) -> str:
        """The intrinsic for the dtype."""
        return f"{which}imum" if self.floating else ("s" if self.signed else "u") + which

    # ---- truth

    def compare(self, name: str, a: str, b: str) -> str:
        """Truth values."""
        if self.floating:
            return self.put(f"fcmp {ORDERED[name]} {self.type} {a}, {b}")
        sign = "" if name in {"equal", "not_equal"} else "s" if self.signed else "u"
        return self.put(f"icmp {sign}{WHOLE[name]} {self.type} {a}, {b}")

    def unordered(self, a: str) -> str:
        """Whether it is NaN."""
        return self.put(f"fcmp uno {self.type} {a}, {a}")

    def truth(self, a: str) -> str:
        """Whether it is not 0."""
        return a if self.boolean else self.compare("not_equal", a, self.constant(0))

    def select(self, condition: str, a: str, b: str) -> str:
        """``a`` where the condition holds, else ``b``."""
        truth = register_type(BOOL, self.width)
        return self.put(f"select {truth} {condition}, {self.type} {a}, {self.type} {b}")

    # ---- functions

    def intrinsic(self, name: str, *arguments: str, flags: str = "") -> str:
        """A function that LLVM knows for every width; ``flags`` are what floats need not keep."""
        full = f"llvm.{name}.{suffix(self.type)}"
        self.writer.module.declare(full, self.type, *[self.type] * len(arguments))
        return self.called(full, arguments, flags if self.floating else "")

    def library(self, name: str, *arguments: str) -> str:
        """A function of the C library, lane by lane."""
        symbol = name + ("f" if self.dtype.itemsize == 4 else "")
        one, module = register_type(self.dtype), self.writer.module
        module.declare(symbol, one, *[one] * len(arguments))
        module.externals.add(symbol)
        if not self.width:
            return self.called(symbol, arguments)
        outlined = f"{symbol}.{self.width}"
        module.define(outlined, self.laned(outlined, symbol, one, len(arguments)))
        return self.called(outlined, arguments)

    def formula(self, name: str, *arguments: str) -> str:
        """A function of `vector_maths`: here, or as a function of its own that all calls share."""
        module = self.writer.module
        kind = suffix(register_type(self.dtype))
        if module.inlined:
            block = self.writer.blocks[self.depth]
            here = inline(name, kind, max(self.width, 1), arguments, fused=module.fused,
                          prefix=self.writer.name("f") + "_", label=block.label,
                          tables=module.tables)
            self.needs(here)
            block.lines += here.lines
            block.label = here.label
            return here.result
        found = define(name, kind, max(self.width, 1), module.fused, "#0", module.tables)
        self.needs(found)
        module.define(found.name, found.text)
        return self.called(found.name, arguments)

    def needs(self, found: Definition | Inlined) -> None:
        """Declare and define what a formula uses."""
        module = self.writer.module
        for text in found.declarations:
            module.declared(text)
            module.externals.update(C_FUNCTIONS & {text.partition("@")[2].partition("(")[0]})
        for helper, text in found.helpers.items():
            module.define(helper, text)

    def called(self, name: str, arguments: tuple[str, ...], flags: str = "") -> str:
        """A call of a function of values of this type."""
        return self.put(f"call {flags}{self.type} @{name}("
                        + ", ".join(f"{self.type} {a}" for a in arguments) + ")")

    def laned(self, name: str, symbol: str, one: str, arity: int) -> str:
        """A function that calls another for each lane."""
        inputs = ", ".join(f"{self.type} %a{j}" for j in range(arity))
        lines, last = [f"define internal {self.type} @{name}({inputs}) #0 {{"], "poison"
        for k in range(self.width):
            lines += [f"  %x{j}_{k} = extractelement {self.type} %a{j}, i64 {k}"
                      for j in range(arity)]
            given = ", ".join(f"{one} %x{j}_{k}" for j in range(arity))
            lines += [f"  %y{k} = call {one} @{symbol}({given})",
                      f"  %r{k} = insertelement {self.type} {last}, {one} %y{k}, i64 {k}"]
            last = f"%r{k}"
        return "\n".join([*lines, f"  ret {self.type} {last}", "}"])

    # ---- lanes

    def splat(self, a: str) -> str:
        """A plain number in every lane."""
        one = register_type(self.dtype)
        first = self.put(f"insertelement {self.type} poison, {one} {a}, i64 0")
        return self.put(f"shufflevector {self.type} {first}, {self.type} poison, "
                        f"<{self.width} x i32> zeroinitializer")

    def folded(self, combine: str, a: str) -> str:
        """One number from all lanes, by halves: the order is a tree."""
        lanes = self
        while lanes.width > 1:
            half = lanes.width // 2
            low, high = (lanes.shuffled(a, range(k, k + half)) for k in (0, half))
            lanes = Lanes(self.writer, self.depth, half, self.dtype)
            a = getattr(lanes, combine)(low, high)
        return self.put(f"extractelement {lanes.type} {a}, i64 0")

    def shuffled(self, a: str, order: range) -> str:
        """Some of the lanes."""
        where = ", ".join(f"i32 {k}" for k in order)
        return self.put(f"shufflevector {self.type} {a}, {self.type} poison, "
                        f"<{len(order)} x i32> <{where}>")

    def chosen(self, a: str, b: str, order: Sequence[int]) -> str:
        """Lanes of two vectors, those of ``b`` counted behind those of ``a``."""
        if a == b == "poison":
            return a
        where = ", ".join([f"i32 {k}" for k in order])
        return self.put(f"shufflevector {self.type} {a}, {self.type} {b}, "
                        f"<{len(order)} x i32> <{where}>")

    def transposed(self, rows: Sequence[str], count: int) -> list[str]:
        """Vectors as rows of a square matrix, transposed: the first ``count`` of its columns.

        Rows that are not given, behind the others, are poison. Each step exchanges one bit of the
        number of a vector with one of the places in it: inside blocks of 16 bytes by taking chunks
        of two vectors in turns, of blocks by taking every other one. Processors have instructions
        for just that, which LLVM finds quickly. What has less to exchange comes last or first.
        """
        n = self.width
        block = min(max(BLOCK // self.dtype.itemsize, 1), n)
        near, bits = block.bit_length() - 1, range(n.bit_length() - 1)
        order = [*bits] if count == n else [*bits[near:], *bits[:near]]
        column = [sum([(i >> j & 1) << (near - 1 - j if j < near else j) for j in bits])
                  for i in range(n)]
        wanted = [{i for i in range(n) if column[i] < count}]  # after each step, the last one first
        for j in reversed(order[1:]):
            wanted.append({i ^ flip for i in wanted[-1] for flip in (0, 1 << j)})
        done = [*rows, *["poison"] * (n - len(rows))]
        for j in order:
            made = wanted.pop()
            takes = [self.in_turns(1 << j, block, odd) if j < near else self.every_other(block, odd)
                     for odd in (0, 1)]
            done = [self.chosen(done[i & ~(1 << j)], done[i | 1 << j], takes[i >> j & 1])
                    if i in made else "poison" for i in range(n)]
            if wanted:
                done = [self.fenced(a) for a in done]
        return [done[column.index(c)] for c in range(count)]

    def fenced(self, a: str) -> str:
        """The same: what LLVM makes of exchanges does not look behind it, which takes it long."""
        return a if a == "poison" or not self.floating else self.intrinsic("arithmetic.fence", a)

    def in_turns(self, size: int, block: int, odd: int) -> list[int]:
        """Chunks of half of each block, the upper one if ``odd``, of two vectors in turns."""
        half = block // 2
        return [vector + base + chunk + k for base in range(odd * half, self.width, block)
                for chunk in range(0, half, size) for vector in (0, self.width)
                for k in range(size)]

    def every_other(self, block: int, odd: int) -> list[int]:
        """Every other block of one vector, then of another."""
        return [vector + base + k for vector in (0, self.width)
                for base in range(odd * block, self.width, 2 * block) for k in range(block)]

    # ---- other dtypes

    def cast(self, a: str, dtype: Any) -> str:
        """The same numbers in another dtype; out of range as NumPy's loops on x86 do."""
        if dtype == self.dtype:
            return a
        other = self.of(dtype)
        if dtype.kind == "b":
            return self.truth(a)
        if self.floating:
            return self.from_float(a, other)
        if other.floating:
            how = "sitofp" if self.signed else "uitofp"
            return self.put(f"{how} {self.type} {a} to {other.type}")
        return self.resized(a, other)

    def resized(self, a: str, other: Lanes) -> str:
        """Integers of another size."""
        mine, its = (0 if x.boolean else x.dtype.itemsize for x in (self, other))
        if mine == its:
            return a
        how = "trunc" if its < mine else "sext" if self.signed else "zext"
        return self.put(f"{how} {self.type} {a} to {other.type}")

    def from_float(self, a: str, other: Lanes) -> str:
        """Floats as other floats or integers."""
        if other.floating:
            how = "fptrunc" if other.dtype.itemsize < self.dtype.itemsize else "fpext"
            return self.put(f"{how} {self.type} {a} to {other.type}")
        if other.dtype.itemsize < 4:  # by way of a wider integer, whose low bits stay
            return self.of(INT32).resized(self.whole(a, INT32), other)
        signed = INT64 if other.dtype.itemsize == 8 else INT32
        if other.signed:
            return self.whole(a, signed)
        half, to = self.constant(2.0 ** (8 * signed.itemsize - 1)), self.of(signed)
        large = self.compare("greater_equal", a, half)
        lowered = self.whole(self.subtract(a, half), signed)
        top = to.binary("xor", lowered, to.constant(np.iinfo(signed).min))
        return to.select(large, top, self.whole(a, signed))

    def whole(self, a: str, signed: Any) -> str:
        """The signed integer towards 0; the smallest one where there is none, NaN included.

        LLVM leaves a value out of range undefined, so none reaches its conversion.
        """
        to, limit = self.of(signed), 2.0 ** (8 * signed.itemsize - 1)
        fits = self.compare("less", a, self.constant(limit))
        # What is cut to the smallest integer gives it too, as all that is out of range does.
        above = self.compare("greater", a, self.constant(-limit))
        inside = self.of(BOOL).binary("and", fits, above)
        safe = self.select(inside, a, self.constant(0))
        number = self.put(f"fptosi {self.type} {safe} to {to.type}")
        return to.select(inside, number, to.constant(np.iinfo(signed).min))
