"""Machine code for aarch64, run by an emulator, against NumPy on the same statements.

What runs: every scalar function on every dtype with special values, casts, every kind of statement
over rows of 1 to 33 elements, reductions of every dtype, products of many shapes, all cases of all
rows, re-rolled loops and random programs with their gradients, kernels that threads share, an index
out of range. A program with parts that Python computes has no code of its own and is left out.
`python3 go.py hosts` installs what is needed (`tools/emulated.py`); without it these are skipped.
"""

import re

import numpy as np
import pytest
from compilations import (
    DTYPES,
    MATHS,
    ROWS,
    TRANSPOSED,
    agree_all,
    built,
    cases_of,
    casts,
    compare,
    drawn,
    exposed,
    forced,
    function_on_dtypes,
    is_rounded,
    looped,
    of_size,
    quiet,
    reductions,
    simplified,
)

from adjoint.compiler.reroll import rerolled
from adjoint.compiler.text import is_native
from adjoint.compiler.threads import SHARE
from adjoint.errors import IndexingError
from tools import emulated

pytestmark = [quiet, pytest.mark.skipif(bool(emulated.lacking()), reason=emulated.lacking())]
APART = {"fuse": False, "plan": False}
# Operations without complex numbers and sorting, whose programs are machine code alone.
NATIVE = ("sin", "exp", "tanh", "multiply", "add", "subtract", "divide", "matmul", "sum", "mean",
          "where", "maximum", "minimum", "logsumexp", "softmax", "transpose", "reshape", "sqrt",
          "relu", "sigmoid", "log1p", "square", "dot", "cumsum", "getitem", "concatenate", "max",
          "broadcast_to", "erf", "power", "hypot", "softplus")
BUILDS = {"fused": {}, "apart": APART, "checked": {"checked": True}}
builds = pytest.mark.parametrize("build", BUILDS)


def ran(cases, **build):
    """The outputs of Programs and their arguments; None for one that is not machine code alone."""
    with forced(whole=True):  # the runtime of the threads is this machine's
        made = [emulated.Emulated(program, **build) for program, _ in cases]
    native = [(c, args) for c, (_, args) in zip(made, cases, strict=True) if c.whole]
    found = emulated.run(native)
    assert [code for code, _ in found] == [0] * len(native)
    outputs = iter([out for _, out in found])
    return [next(outputs) if c.whole else None for c in made]


def stated(cases, least, **build):
    """Each statement of each Program agrees, of at least a number of Programs."""
    cases = [(exposed(program), args) for program, args in cases if program.outputs]
    count = 0
    for (program, args), outputs in zip(cases, ran(cases, **build), strict=True):
        if outputs is not None:
            compare(program, args, outputs)
            count += 1
    assert count >= least


def test_every_function_on_every_dtype():
    cases = [casts()]
    for function in MATHS:
        program, args = function_on_dtypes(function)
        program.outputs = [n for n in program.outputs  # Python makes what has half precision
                           if is_native(program.statements[n].known.dtype)]
        cases.append((program, args))
    stated(cases, 0.85 * len(MATHS))  # those of SciPy (gammaln, ...) run by Python everywhere


@builds
def test_every_kind_of_statement(build):
    sizes = {"fused": (1, 3, 17, 33), "apart": (2, 7), "checked": (4, 19)}[build]
    stated([of_size(n, t) for n in sizes for t in (np.float32, np.float64)], 2 * len(sizes),
           **BUILDS[build])


def test_reductions():
    stated([reductions(t.type) for t in DTYPES], len(DTYPES), checked=True)


@builds
def test_products(build):
    rng = np.random.default_rng(0)
    shapes = [(1 + 7 * s % 33, s, 1 + (13 * s + 4) % 33) for s in range(1, 34, 5)]
    shapes += [(3, 40, 1), (1, 40, 50), (50, 20, 70)]
    cases = []
    for k, (m, n, r) in enumerate(shapes):
        x, z = (rng.normal(size=s).astype([np.float32, np.float64][k % 2])
                for s in ((m, n), (n, r)))
        def write(b, x, z):
            y = b.dot([(x, z)])
            return y, b.elementwise("tanh", y), b.reduce("add", y, (1,))
        cases.append((built(write, x, z), [x, z]))
    stated(cases, len(cases), **BUILDS[build])


def test_every_row():
    cases = [cases_of(row) for row in ROWS]
    count = 0
    for row, (program, args), outputs in zip(ROWS, cases, ran(cases), strict=True):
        if outputs is not None:
            agree_all(outputs, program(*args), 1e-12, 1e-5, 1e-13, row.name)
            count += 1
    assert count > 0.6 * len(ROWS)


def test_loops_that_were_found():
    cases = [looped(seed) for seed in range(6)]
    rolled = [(rerolled(simplified(program)), args) for program, args in cases]
    assert sum(any(s.name == "loop" for s in p.statements) for p, _ in rolled) > 3
    for seed, ((program, args), outputs) in enumerate(zip(cases, ran(rolled), strict=True)):
        agree_all(outputs, program(*args), 1e-9, 2e-4, 2e-4 if seed % 2 else 1e-9, f"loop {seed}")


def test_random_programs_and_their_gradients():
    cases = [found for found in (drawn([n, 9], NATIVE) for n in range(12)) if found]
    outcomes = ran([(rerolled(simplified(program)), args) for program, args in cases])
    for (program, args), outputs in zip(cases, outcomes, strict=True):
        if outputs is not None:
            agree_all(outputs, program(*args), 1e-2 if is_rounded(program) else 1e-7, 1e-2, 1e-8,
                      program.show())
    assert sum(o is not None for o in outcomes) > 6


def test_kernels_that_threads_share():
    rng = np.random.default_rng(0)
    def write(b, x):
        yield b.elementwise("exp", x)
        yield from (b.reduce("add", x, (axis,)) for axis in (0, 1))
        yield b.dot([(x, b.view(x, TRANSPOSED, (200, 70)))])
    x = rng.normal(size=(70, 200))
    cases = [of_size(33, np.float32), (built(lambda b, x: [*write(b, x)], x), [x])]
    with forced(small=True):
        made = [(emulated.Emulated(program), args) for program, args in cases]
    assert all(SHARE in c.externals for c, _ in made)
    alone, shared = (emulated.run(made, threads) for threads in (1, 3))
    for (program, args), (code, one), (other, three) in zip(cases, alone, shared, strict=True):
        assert (code, other) == (0, 0)
        agree_all(one, program(*args), 1e-11, 1e-4, 1e-5)
        agree_all(three, one, 0, 0, 0)  # the same bits


def test_an_index_out_of_range_is_an_error():
    x, i = np.arange(5.0), np.array([0, 3, 5])
    compiled = emulated.Emulated(built(lambda b, x, i: b.pick(x, [i]), x, i))
    ((code, _),) = emulated.run([(compiled, [x, i])])
    with pytest.raises(IndexingError, match="an index is out of range of %"):
        compiled.failed(code)


def test_the_code_uses_more_vector_registers_than_x86_has():
    x = np.ones((64, 64), np.float32)
    text = emulated.Emulated(built(lambda b, x: b.dot([(x, x)]), x)).text
    module = emulated.llvm.parse_assembly(text)
    code = emulated.machine().emit_assembly(module)
    assert "fmla" in code
    assert len({*re.findall(r"\b[vq](\d+)\b", code)}) > 16
