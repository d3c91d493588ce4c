"""Vectors of one turn, instruction by instruction: their order, and that nothing depends on it."""

import re
from itertools import pairwise

import numpy as np
import pytest
from compilations import WIDTHS, agree_all, compiled, quiet

from adjoint.compiler.interleave import CYCLES, interleaved
from adjoint.compiler.loops import Loops
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.text import Module
from adjoint.core.node import aval_of

widths = pytest.mark.parametrize("target", WIDTHS.values(), ids=WIDTHS)


# ---- the order

def straight_code(rng, count, prefix):
    """Random instructions of one vector, whose names begin with a prefix; ``%o`` is of outside."""
    names, lines = ["%o"], []
    for k in range(count):
        one, other = (names[i] for i in rng.integers(0, len(names), 2))
        kind = rng.integers(0, 9)
        if kind == 0:
            lines.append(f"  store double {one}, ptr {other}  ; {prefix}{k}")
            continue
        name = f"%{prefix}{k}"
        opcode = [*CYCLES, "select", "fcmp"][rng.integers(0, len(CYCLES) + 2)]
        if kind == 1:
            opcode = "call <4 x double> @llvm.masked.load.v4f64"
        lines.append(f"  {name} = {opcode} {one}, {other}")
        names.append(name)
    return lines


def touches(line):
    """Whether an instruction writes memory, and whether it reads or writes it."""
    writes = " store " in line
    return writes, writes or " load " in line or ".masked." in line


@pytest.mark.parametrize("seed", range(20))
def test_each_line_stands_once_behind_what_it_needs(seed):
    copies = [straight_code(np.random.default_rng(seed), 150, f"v{k}_") for k in range(4)]
    found = [line for line in interleaved(Module(), copies) if "annotation" not in line]
    assert sorted(found) == sorted(line for copy in copies for line in copy)
    defined = {"%o"}
    for line in found:
        name, _, rest = line.rpartition(" = ")
        assert {*re.findall(r"%\w+", rest)} <= defined
        defined.add(name.strip())


@pytest.mark.parametrize("seed", range(20))
def test_memory_is_read_and_written_in_order(seed):
    copies = [straight_code(np.random.default_rng(seed), 80, f"v{k}_") for k in range(4)]
    found = interleaved(Module(), copies)
    for copy in copies:
        at = {line: found.index(line) for line in copy if touches(line)[1]}
        lines = [*at]
        for j, line in enumerate(lines):
            for before in lines[:j]:
                if touches(line)[0] or touches(before)[0]:
                    assert at[before] < at[line]


def test_vectors_are_under_way_at_once():
    copies = [straight_code(np.random.default_rng(3), 60, f"v{k}_") for k in range(4)]
    owners = [line.split("_")[0] for line in interleaved(Module(), copies) if " = " in line]
    assert sum(a != b for a, b in pairwise(owners)) > 60


def test_labels_stand_between_regions():
    module = Module()
    copies = [straight_code(np.random.default_rng(5), 100, f"v{k}_") for k in range(4)]
    assert sum("annotation" in line for line in interleaved(module, copies)) == 6
    assert "annotation" in module.text("")
    assert "annotation" not in Module().text("")


# ---- what is computed

def long_formula(n, dtype, reduced=False):
    """Formulas of one another, in which a result may lie over an operand; also a sum."""
    b = ProgramBuilder()
    x, z = b.input(aval_of(np.zeros(n, dtype))), b.input(aval_of(np.zeros(n, dtype)))
    t = b.elementwise("tanh", x)
    e = b.elementwise("exp", b.elementwise("multiply", t, z))
    y = b.elementwise("log", b.elementwise("add", e, b.elementwise("abs", z)))
    results = [b.elementwise("multiply", y, x), b.elementwise("subtract", e, t)]
    if reduced:
        results.append(b.reduce("add", y, (0,)))
        results.append(b.reduce("maximum", b.elementwise("multiply", e, z), (0,)))
    b.program.outputs = [r.number for r in results]
    return b.program


def arguments(n, dtype):
    rng = np.random.default_rng(n)
    found = [rng.standard_normal(n).astype(dtype) for _ in range(2)]
    found[0][::7], found[1][3::11] = np.nan, np.inf
    return found


@widths
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@quiet
def test_an_element_has_the_same_bits_wherever_it_stands(target, dtype):
    args = arguments(300, dtype)
    whole = compiled(long_formula(300, dtype), target=target)(*args)
    for n in (64, 130, 256):
        for start in (0, 300 - n):
            part = compiled(long_formula(n, dtype), target=target)(
                *[a[start:start + n].copy() for a in args])
            for a, b in zip(part, whole, strict=True):
                np.testing.assert_array_equal(a, b[start:start + n])


@widths
@pytest.mark.parametrize("n", [64, 128, 200, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", [{}, {"checked": True}, {"threads": True}], ids=str)
@quiet
def test_sums_are_carried_through_vectors_side_by_side(target, n, dtype, build):
    program = long_formula(n, dtype, reduced=True)
    args = [np.abs(a) for a in np.random.default_rng(n).standard_normal((2, n)).astype(dtype)]
    with np.errstate(all="ignore"):
        agree_all(compiled(program, target=target, **build)(*args), program(*args),
                  1e-12, 1e-5, 16 * np.finfo(dtype).eps, str(n))


@widths
def test_side_by_side_is_what_the_test_tests(target, monkeypatch):
    program = long_formula(256, np.float32)
    text = compiled(program, target=target).text
    assert "annotation" in text
    monkeypatch.setattr(Loops, "abreast_of", lambda self, inner, carries: inner)
    assert "annotation" not in compiled(program, target=target).text


@widths
def test_a_checked_build_asks_at_each_vector(target):
    program, lanes = long_formula(256, np.float32), target.vector_bytes // 4
    text = compiled(program, target=target, checked=True).text
    assert "annotation" not in text
    assert text.count(f"load <{lanes} x float>") == 8
