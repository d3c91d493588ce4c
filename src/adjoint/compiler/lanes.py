"""Vectors of LLVM IR as Python values: a formula written with operators becomes text.

A `Value` is a register (or a constant) of ``lanes`` elements, one for a scalar. Its operators
append instructions to the `Block` that it belongs to, so a function of vectors reads as its
formula. Numbers beside a Value become constants of its kind.

What LLVM would turn into a call of the C library on some processors does not occur here: rounding
adds and subtracts a large number, and a fused multiplication is asked for only where ``fused``
says that the processor has one.
"""

from __future__ import annotations

import struct
from functools import cache as memo
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Format(NamedTuple):
    """A binary floating-point format, and the integers of its size."""

    name: str
    bits: int
    mantissa: int
    bias: int
    whole: str

    @property
    def split(self) -> float:
        """What a product with it cuts a number into halves by (Veltkamp, 1968)."""
        return 2.0 ** ((self.mantissa + 2) // 2) + 1.0

    @property
    def shift(self) -> float:
        """Added to a number below 2^(mantissa - 2), it leaves the nearest integer in its bits."""
        return 1.5 * 2.0 ** self.mantissa

    @property
    def smallest_normal(self) -> float:
        """2^(1 - bias)."""
        return 2.0 ** (1 - self.bias)


FORMATS = {"f32": Format("float", 32, 23, 127, "i32"), "f64": Format("double", 64, 52, 1023, "i64")}
PACKED = {"f32": "ps", "f64": "pd"}  # in the names of instructions
LETTERS = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "i1": "i1"}


def word(kind: str, number: float) -> int:
    """The bits of a number in its format."""
    code, whole = {"f32": "fI", "f64": "dQ"}[kind]
    return struct.unpack(whole, struct.pack(code, number))[0]


def literal(kind: str, number: float) -> str:
    """A number as LLVM reads it exactly; a float32 is written as the double that it equals."""
    if kind[0] == "i":
        return str(int(number))
    if kind == "f32":
        number = struct.unpack("f", struct.pack("f", number))[0]
    return f"0x{struct.unpack('Q', struct.pack('d', number))[0]:016X}"


class Block:
    """Instructions in the order in which they were written; ``label`` is where they now stand.

    ``declarations`` and ``helpers`` (name: text) are what the module must have besides. ``tables``
    says that the processor has AVX-512: `masked` and `looked_up`.
    """

    def __init__(self, lanes: int, fused: bool, prefix: str = "v", label: str = "entry", *,
                 tables: bool = False) -> None:
        self.lanes, self.fused, self.prefix, self.label = lanes, fused, prefix, label
        self.tables = tables
        self.whole: dict[str, list[str]] = {}  # Values as registers of 64 bytes
        self.lines: list[str] = []
        self.declarations: dict[str, None] = {}
        self.helpers: dict[str, str] = {}
        self.count = 0

    def type(self, kind: str) -> str:
        """The LLVM type of a Value of this kind."""
        return LETTERS[kind] if self.lanes == 1 else f"<{self.lanes} x {LETTERS[kind]}>"

    def suffix(self, kind: str) -> str:
        """The end of an intrinsic's name on such Values."""
        return kind if self.lanes == 1 else f"v{self.lanes}{kind}"

    def fresh(self) -> str:
        """A register's name that is not taken."""
        self.count += 1
        return f"%{self.prefix}{self.count}"

    def emit(self, kind: str, instruction: str) -> Value:
        """Append an instruction whose result is of this kind."""
        name = self.fresh()
        self.lines.append(f"  {name} = {instruction}")
        return Value(self, kind, name)

    def constant(self, kind: str, number: float) -> Value:
        """A number in every lane."""
        text, one = literal(kind, number), LETTERS[kind]
        if self.lanes > 1 and text in {"0", "0x0000000000000000"}:
            text = "zeroinitializer"
        elif self.lanes > 1:  # a constant expression: LLVM 15 does not read `splat (...)`
            many = self.type(kind)
            text = (f"shufflevector ({many} insertelement ({many} poison, {one} {text}, i32 0), "
                    f"{many} poison, <{self.lanes} x i32> zeroinitializer)")
        return Value(self, kind, text)

    def call(self, name: str, kind: str, *xs: Value) -> Value:
        """A call of a function, declared for the module."""
        result = self.type(kind)
        types = [self.type(x.kind) for x in xs]
        self.declarations[f"declare {result} @{name}({', '.join(types)})"] = None
        args = ", ".join(f"{t} {x.name}" for t, x in zip(types, xs, strict=True))
        return self.emit(kind, f"call {result} @{name}({args})")

    def intrinsic(self, name: str, *xs: Value) -> Value:
        """``llvm.name`` on Values of one kind."""
        return self.call(f"llvm.{name}.{self.suffix(xs[0].kind)}", xs[0].kind, *xs)

    # ---- what only AVX-512 has, on its registers

    def put(self, instruction: str) -> str:
        """Append an instruction; the register of its result."""
        name = self.fresh()
        self.lines.append(f"  {name} = {instruction}")
        return name

    def registers(self, x: Value) -> list[str]:
        """A Value in registers of 64 bytes; what is beyond its lanes is anything."""
        if x.name not in self.whole:
            self.whole[x.name] = self.divided(x)
        return self.whole[x.name]

    def divided(self, x: Value) -> list[str]:
        """``registers``, written."""
        whole, size = register(x.kind)
        if self.lanes == 1:
            return [self.put(f"insertelement {whole} poison, {x.type} {x.name}, i32 0")]
        if self.lanes == size:
            return [x.name]
        starts = range(0, self.lanes, size)
        return [self.shuffled(x.type, x.name, "poison", [
            i if i < self.lanes else -1 for i in range(k, k + size)]) for k in starts]

    def shuffled(self, type_: str, x: str, z: str, order: Sequence[int]) -> str:
        """Lanes of two vectors, one after the other; -1 is anything."""
        lanes = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in order)
        return self.put(f"shufflevector {type_} {x}, {type_} {z}, <{len(order)} x i32> <{lanes}>")

    def joined(self, kind: str, parts: list[str]) -> Value:
        """The Value that those registers are."""
        whole, size = register(kind)
        if self.lanes == 1:
            return self.emit(kind, f"extractelement {whole} {parts[0]}, i32 0")
        while len(parts) > 1:
            parts = [self.shuffled(f"<{size} x {LETTERS[kind]}>", a, z, range(2 * size))
                     for a, z in zip(parts[::2], [*parts[1::2], "poison"], strict=False)]
            size *= 2
        if size == self.lanes:
            return Value(self, kind, parts[0])
        return Value(self, kind, self.shuffled(
            f"<{size} x {LETTERS[kind]}>", parts[0], "poison", range(self.lanes)))

    def masked(self, name: str, *xs: Value, options: str = "") -> Value:
        """``llvm.x86.avx512.mask.name`` in all lanes; ``options`` is what its byte says."""
        kind = xs[0].kind
        whole, size = register(kind)
        byte = [f"i32 {options}"] if options else []
        full = f"llvm.x86.avx512.mask.{name}.{PACKED[kind]}.512"
        types = [*[whole] * len(xs), *["i32"] * len(byte), whole, f"i{size}", "i32"]
        self.declarations[f"declare {whole} @{full}({', '.join(types)})"] = None
        parts: list[str] = []
        for operands in zip(*map(self.registers, xs), strict=True):
            given = [*[f"{whole} {x}" for x in operands], *byte, f"{whole} zeroinitializer",
                     f"i{size} -1", "i32 4"]  # 4: rounded as the processor is told to
            parts.append(self.put(f"call {whole} @{full}({', '.join(given)})"))
        return self.joined(kind, parts)

    def looked_up(self, index: Value, table: Sequence[float]) -> Value:
        """The entries of a table that fills two registers, by the low bits of an index."""
        kind = f"f{index.kind[1:]}"
        (whole, size), (wide, _) = register(kind), register(index.kind)
        full = f"llvm.x86.avx512.vpermi2var.{PACKED[kind]}.512"
        self.declarations[f"declare {whole} @{full}({whole}, {wide}, {whole})"] = None
        low, high = [f"{whole} <{listed(kind, struct.pack(f'{len(part)}d', *part))}>"
                     for part in (table[:size], table[size:])]
        return self.joined(kind, [self.put(f"call {whole} @{full}({low}, {wide} {i}, {high})")
                                  for i in self.registers(index)])


@memo
def listed(kind: str, numbers: bytes) -> str:
    """Doubles, told by their bytes, as the elements of a vector: tables are written often."""
    return ", ".join(f"{LETTERS[kind]} {literal(kind, x)}"
                     for x in struct.unpack(f"{len(numbers) // 8}d", numbers))


def register(kind: str) -> tuple[str, int]:
    """The type of a register of 64 bytes, and its lanes."""
    size = 512 // int(kind[1:])
    return f"<{size} x {LETTERS[kind]}>", size


class Value:
    """A register of a Block, or a constant."""

    __slots__ = ("block", "kind", "name")

    def __init__(self, block: Block, kind: str, name: str) -> None:
        self.block, self.kind, self.name = block, kind, name

    @property
    def format(self) -> Format:
        """The floating-point format of its kind."""
        return FORMATS[self.kind if self.kind[0] == "f" else f"f{self.kind[1:]}"]

    @property
    def type(self) -> str:
        """Its LLVM type."""
        return self.block.type(self.kind)

    def like(self, other: Any) -> Value:
        """``other``, a number made a Value of this kind."""
        return other if isinstance(other, Value) else self.block.constant(self.kind, other)

    def do(self, operation: str, other: Any, swapped: bool = False) -> Value:
        """An instruction on this Value and another of its kind."""
        x, z = (self.like(other), self) if swapped else (self, self.like(other))
        return self.block.emit(self.kind, f"{operation} {self.type} {x.name}, {z.name}")

    def compare(self, predicate: str, other: Any) -> Value:
        """A comparison; of floats, ``o..`` is false and ``u..`` true where one is NaN."""
        code = "fcmp" if self.kind[0] == "f" else "icmp"
        z = self.like(other)
        return self.block.emit("i1", f"{code} {predicate} {self.type} {self.name}, {z.name}")

    def choose(self, x: Any, z: Any) -> Value:
        """``x`` in the lanes where this condition holds, else ``z``; one of them is a Value."""
        x, z = (x, x.like(z)) if isinstance(x, Value) else (z.like(x), z)
        return self.block.emit(x.kind, f"select {self.type} {self.name}, {x.type} {x.name}, "
                                       f"{z.type} {z.name}")

    def convert(self, operation: str, kind: str) -> Value:
        """``fpext``, ``fptrunc``, ``zext``, ... to another kind."""
        to = self.block.type(kind)
        return self.block.emit(kind, f"{operation} {self.type} {self.name} to {to}")

    @property
    def bits(self) -> Value:
        """The same bits as an integer."""
        return self.convert("bitcast", self.format.whole)

    @property
    def number(self) -> Value:
        """The same bits as a floating-point number."""
        return self.convert("bitcast", f"f{self.kind[1:]}")

    def __add__(self, z: Any) -> Value:
        return self.do("fadd" if self.kind[0] == "f" else "add", z)

    def __radd__(self, x: Any) -> Value:
        return self.do("fadd" if self.kind[0] == "f" else "add", x, swapped=True)

    def __sub__(self, z: Any) -> Value:
        return self.do("fsub" if self.kind[0] == "f" else "sub", z)

    def __rsub__(self, x: Any) -> Value:
        return self.do("fsub" if self.kind[0] == "f" else "sub", x, swapped=True)

    def __mul__(self, z: Any) -> Value:
        return self.do("fmul", z)

    def __rmul__(self, x: Any) -> Value:
        return self.do("fmul", x, swapped=True)

    def __truediv__(self, z: Any) -> Value:
        return self.do("fdiv", z)

    def __rtruediv__(self, x: Any) -> Value:
        return self.do("fdiv", x, swapped=True)

    def __neg__(self) -> Value:
        return self.block.emit(self.kind, f"fneg {self.type} {self.name}")

    def __and__(self, z: Any) -> Value:
        return self.do("and", z)

    def __or__(self, z: Any) -> Value:
        return self.do("or", z)

    def __xor__(self, z: Any) -> Value:
        return self.do("xor", z)

    def __lshift__(self, n: int) -> Value:
        return self.do("shl", n)

    def __rshift__(self, n: int) -> Value:
        return self.do("lshr", n)

    def __lt__(self, z: Any) -> Value:
        return self.compare("olt", z)

    def __gt__(self, z: Any) -> Value:
        return self.compare("ogt", z)

    def __abs__(self) -> Value:
        return self.block.intrinsic("fabs", self)


# ---- arithmetic that keeps what rounding loses

Pair = tuple[Value, Value]
"""An unevaluated sum, the larger term first."""


def multiply_add(x: Value, z: Any, addend: Any) -> Value:
    """``x z + addend``, rounded once where the processor can do so, else twice."""
    if not x.block.fused:
        return x * z + addend
    return x.block.intrinsic("fma", x, x.like(z), x.like(addend))


def polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """``c0 + c1 x + c2 x^2 + ...`` by Horner's rule."""
    y: Any = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = multiply_add(y, x, c)
    return y


def by_pairs(x: Value, z: Value, c: tuple[Any, ...]) -> Value:
    """A polynomial by two terms at a time, for ``z = x^2``: half as many steps after another."""
    parts = [multiply_add(x, c[k + 1], c[k]) if k + 1 < len(c) else x.like(c[k])
             for k in range(0, len(c), 2)]
    y = parts[-1]
    for part in reversed(parts[:-1]):
        y = multiply_add(z, y, part)
    return y


def ordered_sum(x: Any, z: Value) -> Pair:
    """``x + z`` and its rounding error, exactly, where ``|x| >= |z|`` or x = 0 (Dekker, 1971)."""
    y = x + z
    return y, z - (y - x)


def exact_sum(x: Value, z: Value) -> Pair:
    """``x + z`` and its rounding error, exactly (Knuth and Moeller)."""
    y = x + z
    part = y - x
    return y, (x - (y - part)) + (z - part)


def halves(x: Value) -> Pair:
    """``x`` as a sum of two numbers of half as many digits (Veltkamp)."""
    c = x * x.format.split
    high = c - (c - x)
    return high, x - high


def exact_product(x: Value, z: Any) -> Pair:
    """``x z`` and its rounding error, exactly unless it underflows (Dekker)."""
    z = x.like(z)
    y = x * z
    if x.block.fused:
        return y, multiply_add(x, z, -y)
    (a, b), (c, d) = halves(x), halves(z)
    return y, ((a * c - y) + a * d + b * c) + b * d


def times_constant(x: Value, constant: tuple[float, ...]) -> Pair:
    """``x`` times a constant of two parts."""
    product, error = exact_product(x, constant[0])
    return product, multiply_add(x, constant[1], error)


def quotient(x: Pair, z: Pair) -> Value:
    """``x / z`` of two sums, rounded about once; z is normalised: its second term is rounding."""
    inverse = 1.0 / z[0]
    y = x[0] * inverse
    if y.block.fused:
        left = multiply_add(-y, z[0], x[0]) + multiply_add(-y, z[1], x[1])
    else:
        product, error = exact_product(y, z[0])
        left = ((x[0] - product) - error) + (x[1] - y * z[1])
    return multiply_add(left, inverse, y)


def at_most(x: Value, bound: float) -> Value:
    """``min(x, bound)``, where NaN stays: one instruction on x86."""
    b = x.like(bound)
    return b.compare("olt", x).choose(b, x)


def at_least(x: Value, bound: float) -> Value:
    """``max(x, bound)``, where NaN stays."""
    b = x.like(bound)
    return b.compare("ogt", x).choose(b, x)
