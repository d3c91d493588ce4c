"""The scalar functions of the closed table as LLVM IR on vectors of any length, and of scalars.

A function is one formula on `Value`s; `define` writes it as an internal function of its own, and
`inline` into the caller's text. Finite results of float32 and float64 are within 1 ulp (`power`:
2), special values are NumPy's, and NaN propagates. Nothing but sin, cos and tan of arguments
beyond 2^20 calls the C library.

>>> from adjoint.compiler.vector_maths import define
>>> print(define("relu", "f32", 4).text)
define internal <4 x float> @relu_f32_4(<4 x float> %x0) nounwind {
entry:
  %v1 = fcmp ole <4 x float> %x0, zeroinitializer
  %v2 = select <4 x i1> %v1, <4 x float> zeroinitializer, <4 x float> %x0
  ret <4 x float> %v2
}
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from . import exponentials, logarithms, powers, trigonometry
from .lanes import Block, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def maximum(x: Value, z: Value) -> Value:
    """The larger; NaN where either is NaN."""
    return x.compare("uno", x).choose(x, (x > z).choose(x, z))


def minimum(x: Value, z: Value) -> Value:
    """The smaller; NaN where either is NaN."""
    return x.compare("uno", x).choose(x, (x < z).choose(x, z))


def relu(x: Value) -> Value:
    """``max(x, 0)``; NaN stays."""
    return x.compare("ole", 0.0).choose(x.like(0.0), x)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "exp": exponentials.exp, "exp2": exponentials.exp2, "expm1": exponentials.expm1,
    "tanh": exponentials.tanh, "sigmoid": exponentials.sigmoid, "erf": exponentials.erf,
    "erfc": exponentials.erfc,
    "log": logarithms.log, "log2": logarithms.log2, "log10": logarithms.log10,
    "log1p": logarithms.log1p, "softplus": logarithms.softplus,
    "log_sigmoid": logarithms.log_sigmoid, "power": powers.power,
    "sin": trigonometry.sin, "cos": trigonometry.cos, "tan": trigonometry.tan,
    "maximum": maximum, "minimum": minimum, "relu": relu}
BINARY = {"power", "maximum", "minimum"}


class Definition(NamedTuple):
    """A function of vectors: its name in the module and its text.

    ``declarations`` and ``helpers`` (name: text) go into the module once each.
    """

    name: str
    text: str
    declarations: tuple[str, ...]
    helpers: dict[str, str]


class Inlined(NamedTuple):
    """Instructions for the caller's block; ``label`` is the block in which they end."""

    lines: list[str]
    result: str
    label: str
    declarations: tuple[str, ...]
    helpers: dict[str, str]


def inline(function: str, kind: str, lanes: int, operands: Sequence[str], *, fused: bool = True,
           prefix: str = "v", label: str = "entry", tables: bool = False) -> Inlined:
    """The instructions of a function of the table on registers of the caller.

    Args:
        function: its name in the table.
        kind: "f32" or "f64".
        lanes: the length of the vectors; 1 stands for scalars.
        operands: registers or constants, as text.
        fused: whether the processor has fused multiply-add; it need not then be imitated.
        prefix: what the names of new registers and labels begin with, unique in the caller.
        label: the block in which the caller stands.
        tables: whether the processor has AVX-512.
    """
    block = Block(lanes, fused, prefix, label, tables=tables)
    y = FUNCTIONS[function](*[Value(block, kind, x) for x in operands])
    return Inlined(block.lines, y.name, block.label, tuple(block.declarations), block.helpers)


@lru_cache(maxsize=1024)
def define(function: str, kind: str, lanes: int, fused: bool = True,
           attributes: str = "nounwind", tables: bool = False) -> Definition:
    """A function of the table as an internal function ``@<function>_<kind>_<lanes>``.

    Args:
        function: its name in the table.
        kind: "f32" or "f64".
        lanes: the length of the vectors; 1 stands for scalars.
        fused: whether the processor has fused multiply-add.
        attributes: LLVM function attributes, or a group like ``#0``.
        tables: whether the processor has AVX-512.
    """
    xs = [f"%x{i}" for i in range(2 if function in BINARY else 1)]
    body = inline(function, kind, lanes, xs, fused=fused, tables=tables)
    type_ = Block(lanes, fused).type(kind)
    name = f"{function}_{kind}_{lanes}"
    head = f"define internal {type_} @{name}({', '.join(f'{type_} {x}' for x in xs)}) {attributes}"
    text = "\n".join([f"{head} {{", "entry:", *body.lines, f"  ret {type_} {body.result}", "}"])
    return Definition(name, text, body.declarations, body.helpers)
