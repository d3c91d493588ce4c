"""The kernel of a ``dot`` statement: tiles of the result in registers, and what is made of them.

Interface (for who plans and drives kernels)

``suits(program, n) -> bool``
    Whether statement ``n`` is a dot that is written here (float32 or float64); others keep plain
    loops.
``workspace(program, n, stored, vector_bytes, fused, roots) -> int``
    The bytes of scratch memory that one run of the kernel needs, on top of what is stored; often 0.
``write(kernel, n, roots, vector_bytes, span=None)``
    Write the loops of statement ``n`` into ``kernel``, an Evaluator whose ``stored`` has neither
    ``n`` nor the roots. Each of ``roots`` is a statement of the shape of ``n`` (or ``n`` itself)
    that is stored at each index; its value there is ``kernel.value(root, place)`` with the value of
    ``n`` bound to registers, so bias, relu, tanh, masks and ``w - rate * product`` are no special
    cases. Or it is a sum of such statements over axes of the batch, which is added up in memory.
    What lies between ``n`` and a root reads ``n`` at the same index (elementwise, cast, select);
    all else that it reads is stored, or inlined, with any index.
    An operand of the dot is stored, or a view of what is stored, or any expression (then it is
    packed first, so that it is computed once for a block).
``PACK``
    The scratch memory is ``kernel.buffer(PACK)``: a kernel that needs it has ``PACK`` among its
    ``buffers``, and the driver finds ``workspace`` bytes, aligned to 64, as ``layout.packs[n]``.
    Of a kernel that threads share each has some of its own.
``units(program, n, stored, vector_bytes, fused, roots) -> int`` and ``span``
    The result falls apart into so many parts that may be computed apart, in any order and by any
    thread: with ``span = ("%first", "%last")``, the names of two i64 parameters, the kernel
    computes the parts first <= u < last only. The bits of the result do not depend on the spans.
    A kernel with a span takes the two parameters behind its pointers.
``fewest(program, n, stored, vector_bytes, fused, roots) -> int``
    How many parts a span should have at least; 0 where the product should not fall apart.

Each sum runs over k in a fixed order. The decisions are made in ``blocks.py`` (start there); the
loops are in ``schemes.py``, ``inner.py`` and ``external.py``, what they are made of in ``tiles.py``
and ``packing.py``. BLAS takes part as `calibration.prepare` has measured, never inside
`blas.generated`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .blocks import planned
from .external import External
from .inner import Inner
from .schemes import Large, Small, Sweep, parts
from .schemes import fewest as fewest_of
from .tiles import PACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evaluator import Evaluator
    from .program import Program

SCHEMES = {"small": Small, "large": Large, "inner": Inner, "sweep": Sweep, "external": External}
__all__ = ["PACK", "fewest", "suits", "units", "workspace", "write"]


def suits(program: Program, n: int) -> bool:
    """Whether a statement is a product of float32 or float64.

    >>> from adjoint.compiler.gemm import suits
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x, i = b.input(aval_of(np.eye(2))), b.input(aval_of(np.eye(2, dtype=int)))
    >>> [suits(b.program, b.dot([(m, m)]).number) for m in (x, i)]
    [True, False]
    """
    s = program.statements[n]
    return s.name == "dot" and s.known.dtype.name in {"float32", "float64"}


def workspace(program: Program, n: int, stored: set[int], vector_bytes: int, fused: bool,
              roots: Sequence[int] = ()) -> int:
    """The bytes of scratch memory of the kernel of statement ``n``."""
    plan = planned(program, n, stored, vector_bytes, fused, roots)
    return plan.elements * program.statements[n].known.dtype.itemsize


def units(program: Program, n: int, stored: set[int], vector_bytes: int, fused: bool,
          roots: Sequence[int] = ()) -> int:
    """The number of parts of the result that may be computed apart."""
    return parts(planned(program, n, stored, vector_bytes, fused, roots))[1]


def fewest(program: Program, n: int, stored: set[int], vector_bytes: int, fused: bool,
           roots: Sequence[int] = ()) -> int:
    """How many of these parts should be computed together; 0 where BLAS computes the product."""
    plan = planned(program, n, stored, vector_bytes, fused, roots)
    return 0 if plan.scheme == "external" else fewest_of(plan, parts(plan)[0])


def write(kernel: Evaluator, n: int, roots: Sequence[int], vector_bytes: int,
          span: tuple[str, str] | None = None) -> None:
    """Write the loops of statement ``n`` and of the roots that are stored with it."""
    module, inlined = kernel.writer.module, kernel.writer.module.inlined
    plan = planned(kernel.program, n, kernel.stored, vector_bytes, module.fused, roots)
    kernel.vector, kernel.width, kernel.active = "column", plan.lanes, 0
    kernel.reader, kernel.inlining = n, inlined
    module.inlined = False  # a long formula would stand here once for each register of a tile
    if prod(kernel.known(n).shape):
        SCHEMES[plan.scheme](kernel, n, roots, plan, span).write()
    module.inlined, kernel.vector = inlined, ""


