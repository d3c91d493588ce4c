"""The loop language: what each statement does on NumPy arrays, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.maths import MATHS
from adjoint.compiler.numpy_builder import NumpyBuilder, Ref, lowered
from adjoint.core.node import aval, aval_of
from adjoint.core.primitive import REGISTRY
from adjoint.core.symbol import trace
from adjoint.errors import RuleError
from adjoint.ops import loops

STATEMENTS = [name for name in vars(loops.Builder) if not name.startswith("_")]
MATRIX = np.arange(6.0).reshape(2, 3)


def refs(*values):
    return [Ref(np.asarray(v)) for v in values]


def test_every_statement_is_there():
    assert len(STATEMENTS) == 19  # eighteen, and cast, which is a scalar function with a parameter
    for name in STATEMENTS:
        assert callable(getattr(NumpyBuilder, name))


def test_every_scalar_function_has_its_arity():
    for name, scalar in MATHS.items():
        nin = getattr(scalar.numpy, "nin", 1)
        assert nin == scalar.arity, name


def test_rows_name_functions_of_the_table():
    """What rows lower to is read off by a builder that writes the names down."""
    class Spy(NumpyBuilder):
        def elementwise(self, function, *xs):
            used.add(function)
            return super().elementwise(function, *xs)
    used: set[str] = set()
    rng = np.random.default_rng(0)
    for row in REGISTRY.values():
        if row.cases is None or row.name == "item":
            continue
        for case in row.cases(rng):
            lowered(row, case.args, case.params, Spy(*case.args))
    assert used == set(MATHS), "a scalar function that no row needs, or the reverse"


def test_input_is_what_was_announced():
    b = NumpyBuilder(MATRIX)
    assert b.input(aval((2, 3), float)).value is MATRIX
    with pytest.raises(RuleError, match=r"got float64\[2, 3\] where float32\[2, 3\]"):
        NumpyBuilder(MATRIX).input(aval((2, 3), np.dtype("float32")))


def test_iota():
    y = NumpyBuilder().iota((2, 3), 0, np.dtype(np.intp))
    np.testing.assert_array_equal(y.value, [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("index, shape, expected", [
    (((0, ((1, 1),)), (0, ((0, 1),))), (3, 2), MATRIX.T),
    (((1, ()), (2, ((0, -1),))), (3,), MATRIX[1, ::-1]),
    (((0, ((0, 1),)), (0, ((0, 1),))), (2,), np.diagonal(MATRIX)),
    (((0, ()), (0, ((0, 1), (1, 1)))), (2, 2), [[0.0, 1.0], [1.0, 2.0]]),  # windows
    (((0, ((1, 1),)), (0, ())), (4, 2), np.broadcast_to(MATRIX[:, 0], (4, 2))),
    (((5, ()), (0, ((0, 1),))), (0,), np.zeros(0)),  # nothing is read, so nothing leaves
], ids=["transpose", "flip", "diagonal", "windows", "broadcast", "empty"])
def test_view(index, shape, expected):
    y = NumpyBuilder().view(*refs(MATRIX), index, shape)
    np.testing.assert_array_equal(y.value, expected)
    assert not y.value.size or np.shares_memory(y.value, MATRIX)


@pytest.mark.parametrize("index, shape, why", [
    (((0, ((0, 1),)), (1, ((1, 1),))), (2, 3), "reads 1 to 3 along an axis of size 3"),
    (((0, ((0, -1),)), (0, ())), (2,), "reads -1 to 0"),
    (((0, ((0, 1),)),), (2,), "has an index of 1 axes"),
])
def test_view_stays_inside(index, shape, why):
    with pytest.raises(RuleError, match=why):
        NumpyBuilder().view(*refs(MATRIX), index, shape)


def test_pad():
    b = NumpyBuilder()
    y = b.pad(*refs([1.0, 2.0]), ((1, ((0, 2),)),), (5,), 9.0)
    np.testing.assert_array_equal(y.value, [9, 1, 9, 2, 9])
    assert b.pad(*refs(1.5), (), (), 0.0).value == 1.5
    with pytest.raises(RuleError, match="twice"):
        b.pad(*refs([1.0, 2.0]), ((1, ()),), (5,), 0.0)


def test_elementwise_and_select_want_one_shape_and_one_dtype():
    b = NumpyBuilder()
    x, z, f, c = refs(MATRIX, MATRIX[0], MATRIX.astype(np.float32), MATRIX > 1)
    with pytest.raises(RuleError, match=r"\(2, 3\), \(3,\)"):
        b.elementwise("add", x, z)
    with pytest.raises(RuleError, match="float64, float32"):
        b.elementwise("add", x, f)
    with pytest.raises(RuleError, match="has 1 operands, not 2"):
        b.elementwise("add", x)
    with pytest.raises(RuleError, match="condition of float64"):
        b.select(x, x, x)
    with pytest.raises(RuleError, match="float64, float32"):
        b.select(c, x, f)
    np.testing.assert_array_equal(b.select(c, x, x).value, MATRIX)


def test_pick_and_scatter_add():
    b = NumpyBuilder()
    x, i, j = refs(MATRIX, [1, 1], [0, 2])
    np.testing.assert_array_equal(b.pick(x, [i, j]).value, [3.0, 5.0])
    y = b.scatter_add(*refs([1.0, 2.0]), refs([1, 1]), (3,))
    np.testing.assert_array_equal(y.value, [0, 3, 0])
    for indices, why in ((refs([0], [3]), "outside 0 to 2"), (refs([-1], [0]), "outside"),
                         (refs([0]), "1 index arrays"), (refs([0.0], [0]), "dtypes|float64")):
        with pytest.raises(RuleError, match=why):
            b.pick(x, indices)


@pytest.mark.parametrize("op, expected", [
    ("add", [3, 5, 7]), ("multiply", [0, 4, 10]), ("maximum", [3, 4, 5]), ("minimum", [0, 1, 2]),
    ("argmax", [1, 1, 1]), ("argmin", [0, 0, 0])])
def test_reduce(op, expected):
    np.testing.assert_array_equal(NumpyBuilder().reduce(op, *refs(MATRIX), (0,)).value, expected)


def test_reduce_keeps_the_dtype():
    b = NumpyBuilder()
    assert b.reduce("add", *refs(np.ones(3, np.int8)), (0,)).dtype == np.int8
    assert b.reduce("logical_or", *refs(np.array([False, True])), (0,)).value
    with pytest.raises(RuleError, match="over booleans, not float64"):
        b.reduce("logical_and", *refs(MATRIX), (0,))


def test_scan_and_dot():
    b = NumpyBuilder()
    np.testing.assert_array_equal(b.scan("add", *refs(MATRIX), 1).value, MATRIX.cumsum(1))
    x, z = refs(MATRIX, MATRIX.T)
    np.testing.assert_array_equal(b.dot(((x, z), (x, z))).value, 2 * MATRIX @ MATRIX.T)
    with pytest.raises(RuleError, match="dot"):
        b.dot(((x, x),))
    with pytest.raises(RuleError, match="float64 and float32"):
        b.dot(((x, b.cast(z, np.float32)),))


def test_only_copy_merges_axes():
    """A reshape that splits axes is a view, one that merges them is stored."""
    class Spy(NumpyBuilder):
        copies = 0

        def copy(self, x, shape):
            self.copies += 1
            return super().copy(x, shape)
    for old, new, copies in (((2, 3), (6,), 1), ((6,), (2, 3), 0), ((2, 3), (2, 1, 3), 0),
                             ((2, 1, 3), (2, 3), 0), ((2, 6), (2, 2, 3), 0), ((4, 3), (2, 6), 1),
                             ((1,), (), 0), ((0, 3), (3, 0), 1), ((2, 3), (3, 2), 1)):
        x, b = np.arange(float(np.prod(old))).reshape(old), Spy()
        y = loops.reshaped(b, Ref(x), new)
        np.testing.assert_array_equal(y.value, x.reshape(new))
        assert b.copies == copies, (old, new)
        if copies and x.size:
            assert not np.shares_memory(y.value, x)
    with pytest.raises(RuleError, match=r"makes shape \(5,\)"):
        NumpyBuilder().copy(*refs(MATRIX), (5,))


def test_loop_and_item():
    body, out = trace(lambda c, x: (c * 2.0 + x, c), aval((), float), aval((), float))
    body.outputs = [o.node for o in out]
    b = NumpyBuilder()
    y = b.loop(body, 3, refs(1.0), refs([1.0, 2.0, 3.0]))
    assert b.item(y, 0).value == 19.0
    np.testing.assert_array_equal(b.item(y, 1).value, [1, 3, 8])


def test_item_lowers_to_item():
    y = REGISTRY["item"].lower(NumpyBuilder(), Ref((np.ones(2), np.zeros(3))), index=1)
    np.testing.assert_array_equal(y.value, np.zeros(3))


def test_call_gives_what_was_announced():
    b = NumpyBuilder()
    assert b.call(np.sum, refs(MATRIX), aval((), np.dtype(float))).value == 15.0
    with pytest.raises(RuleError, match="announced"):
        b.call(np.sum, refs(MATRIX), aval((2,), np.dtype(float)))


@pytest.mark.parametrize("name", [
    "add", "multiply", "divide", "power", "maximum", "arctan2", "where"])
def test_python_numbers_adopt_the_dtype_they_meet(name):
    x = np.array([1.0, 2.0], np.float32)
    args = (x > 1, x, 2.0) if name == "where" else (x, 2.0)
    y = lowered(REGISTRY[name], args, {})
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, getattr(np, name)(*args), rtol=1e-6)


def test_aval_of_a_number_is_weak():
    assert aval_of(2.0).weak
    assert not aval_of(np.float64(2.0)).weak
    assert ad.add(np.float32(1.0), 2.0).dtype == np.float32
