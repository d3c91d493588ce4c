"""The last stage of the compiler: a compiled program as a builtin function of Python."""

import ctypes
import gc
import pickle
import sys
import threading
import weakref
from contextvars import Context as NoContext
from contextvars import ContextVar
from pathlib import Path
from types import CellType

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import abi as abi_module
from adjoint.compiler import call, callables, jitted, pool
from adjoint.compiler.call import entry, why_not
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.estimate import seconds_of
from adjoint.compiler.looking import Looking
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.sources import (
    ARRAY,
    FLOAT,
    SCALAR,
    STATE,
    Argument,
    Attribute,
    Cell,
    Constant,
    Context,
    Element,
    Guard,
    Held,
    Input,
    Item,
    New,
    Slot,
    into,
)
from adjoint.compiler.text import TYPES
from adjoint.core.node import aval_of
from adjoint.errors import IndexingError, RuleError
from adjoint.tensors import Tensor

STATUS = Path("/proc/self/statm")
MATRIX = np.arange(6.0).reshape(2, 3)


def built(write, *args):
    """A Compiled of inputs like ``args``, whose outputs ``write`` returns."""
    b = ProgramBuilder()
    out = write(b, *[b.input(aval_of(a)) for a in args])
    b.program.outputs = [o.number for o in (out if isinstance(out, (tuple, list)) else [out])]
    return Compiled(b.program)


SLOW = "slow"


def slow(*args, **keywords):
    """The slow path of the tests says what it was given."""
    return SLOW, args, keywords


def double(b, x):
    return b.elementwise("add", x, x)


def total(b, x):
    return b.reduce("add", x, tuple(range(len(x.shape))))


def pair(b, x, z):
    return b.elementwise("add", x, z), b.elementwise("multiply", x, z)


def function(write, *args, outputs=(ARRAY,), **more):
    """The entry of a program of its arguments."""
    inputs = [Input(Argument(k)) for k in range(len(args))]
    return entry(built(write, *args), inputs, outputs, slow, arguments=len(args), **more)


def is_slow(result):
    return isinstance(result, tuple) and len(result) == 3 and result[0] is SLOW


def resident():
    """Bytes of memory that this process has."""
    return int(STATUS.read_text().split()[1]) * 4096


def counts(*objects):
    """How many hold each object, beside this list of arguments."""
    return [sys.getrefcount(o) for o in objects]


# ---- arguments and results

def test_a_builtin_function_computes():
    f = function(double, MATRIX, name="double")
    assert type(f) is type(len)
    assert f.__name__ == "double"
    np.testing.assert_array_equal(f(MATRIX), 2 * MATRIX)


@pytest.mark.parametrize("name", TYPES)
def test_every_dtype_is_read_and_given(name):
    x = np.array([[1, 0, 3]]).astype(name)
    f = function(lambda b, x: (b.copy(x, (3, 1)), b.view(x, ((0, ()), (2, ())), ())), x,
                 outputs=[ARRAY, SCALAR])
    array, scalar = f(x)
    np.testing.assert_array_equal(array, x.T)
    assert array.dtype == x.dtype and type(scalar) is x.dtype.type and scalar == x[0, 2]
    number = entry(built(lambda b, x: b.view(x, (), (2,)), x[0, 0]),
                   [Input(Argument(0), "number")], [ARRAY], slow, arguments=1)
    np.testing.assert_array_equal(number(x[0, 2]), [x[0, 2]] * 2)
    assert number(x[0, 2]).dtype == x.dtype
    assert is_slow(number("1")) and is_slow(number(np.array(1, name)))
    assert is_slow(number(np.complex128(1)))


def test_a_number_is_a_python_float_or_a_numpy_scalar():
    f = entry(built(pair, 1.0, 1.0), [Input(Argument(k), "number") for k in range(2)],
              [FLOAT, SCALAR], slow, arguments=2)
    found = f(0.1, np.float64(0.2))
    assert [type(v) for v in found] == [float, np.float64]
    assert found == (0.1 + 0.2, 0.1 * 0.2)
    assert is_slow(f(1, 2.0)) and is_slow(f(np.float32(1), 2.0)) and is_slow(f(True, 2.0))


def test_a_python_float_of_single_precision():
    f = function(total, np.float32([0.1, 0.2]), outputs=[FLOAT])
    found = f(np.float32([0.1, 0.2]))
    assert type(found) is float and found == np.float32(0.1) + np.float32(0.2)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4, 5, 6)])
def test_every_rank(shape):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    f = function(double, x)
    found = f(x)
    assert found.shape == shape and type(found) is np.ndarray
    np.testing.assert_array_equal(found, 2 * x)


def test_outputs_that_are_inputs_constants_or_twice_the_same():
    constant, number = np.arange(3.0), np.array(7.0)

    def write(b, x):
        y = b.elementwise("exp", x)
        return y, x, b.const(constant), y, b.const(number), x
    x = np.ones((2, 2))
    f = function(write, x, outputs=[ARRAY] * 4 + [FLOAT, ARRAY])
    y, x1, c, y1, seven, x2 = f(x)
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-15)
    np.testing.assert_array_equal(y, y1)
    np.testing.assert_array_equal(c, constant)
    np.testing.assert_array_equal(x1, x)
    np.testing.assert_array_equal(x2, x)
    assert seven == 7.0
    arrays = [y, x1, c, y1, x2, x, constant]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(arrays) for b in arrays[:k])


def test_the_result_of_a_loop_lies_in_the_workspace():
    body = ProgramBuilder()
    carry = body.input(aval_of(np.ones(3)))
    body.program.outputs = [body.elementwise("add", carry, carry).number]
    from adjoint.core.symbol import trace
    graph, out = trace(lambda x: (x + x,), aval_of(np.ones(3)))
    graph.outputs = [o.node for o in out]
    f = function(lambda b, x: b.item(b.loop(graph, 5, [x], []), 0), np.ones(3))
    np.testing.assert_array_equal(f(np.ones(3)), [32.0] * 3)
    np.testing.assert_array_equal(f(np.ones(3) * 2), [64.0] * 3)


def test_no_output_is_none():
    x = np.ones(3)
    f = entry(built(double, x), [Input(Argument(0), holders=3)], [into(0)], slow, arguments=1)
    before = sys.getrefcount(None)
    for _ in range(1000):
        assert f(x) is None
        x[:] = 1
    assert abs(sys.getrefcount(None) - before) < 100


def test_the_function_of_a_programs_inputs():
    f = call.direct(built(lambda b, x, r: (total(b, x), double(b, x)), MATRIX, 1.0), slow)
    number, array = f(MATRIX, 2.0)
    assert type(number) is np.float64 and number == 15
    np.testing.assert_array_equal(array, 2 * MATRIX)
    assert sys.getrefcount(array) == 2 and is_slow(f(MATRIX, 2))
    (one,) = call.direct(built(double, MATRIX), slow)(MATRIX)
    np.testing.assert_array_equal(one, 2 * MATRIX)
    assert call.direct(built(lambda b, x: (), MATRIX), slow)(MATRIX) == ()
    assert call.direct(built(double, MATRIX + 1j), slow) is slow


TREES = {
    "pair": ((0, 1), lambda a, b: (a, b)), "nested": ((0, (1, [0])), lambda a, b: (a, (b, [a]))),
    "list": ([1, 0], lambda a, b: [b, a]), "one": ([1], lambda a, b: [b]),
    "dict": ({"a": 0, 3: {"b": (1,)}}, lambda a, b: {"a": a, 3: {"b": (b,)}}),
    "twice": ((0, 0, {"x": 0, "y": 0}), lambda a, b: (a, a, {"x": a, "y": a})),
    "constants": ((Constant(None), 1, Constant("text")), lambda a, b: (None, b, "text")),
    "none": (Constant(None), lambda a, b: None), "empty": (((), [], {}), lambda a, b: ((), [], {})),
    "single": (1, lambda a, b: b)}


@pytest.mark.parametrize("tree, expected", TREES.values(), ids=TREES)
def test_results_in_a_tree(tree, expected):
    f = function(lambda b, x: (total(b, x), b.reduce("multiply", x, (0,))), np.array([2.0, 5.0]),
                 outputs=[FLOAT, SCALAR], result=tree)
    x = np.array([2.0, 5.0])
    assert f(x) == expected(7.0, 10.0)
    watched = [tree, None, "a", "text", x, float, np.float64]
    before = counts(*watched)
    for _ in range(1000):
        found = f(x)
    assert gc.is_tracked(found) or not isinstance(found, (tuple, list))
    assert np.abs(np.subtract(counts(*watched), before)).max() < 50
    kept = [f(x) for _ in range(3)]
    gc.collect()
    assert kept == [expected(7.0, 10.0)] * 3


def test_results_that_are_new_objects():
    x = np.ones(3)
    known = aval_of(x)
    part = New(Tensor, (("value", 0), ("aval", Constant(known)), ("level", Constant(0)),
                        ("node", Constant(None))))
    f = function(double, x, outputs=[STATE], result=(part, {"same": part}))
    t, other = f(x)
    assert type(t) is Tensor and t is not other["same"] and t.value is other["same"].value
    assert t.aval is known and t.node is None and t.grad is None
    (t * 3.0).sum()
    value = t.value
    held, base = counts(value), counts(np.ones(3))
    assert held[0] == base[0] + 3  # two objects and a name
    watch, before = weakref.ref(t), counts(Tensor, known)
    for _ in range(1000):
        f(x)
    after = counts(Tensor, known)
    assert after == before
    del t, other
    assert watch() is None


def test_a_failure_while_results_are_built_releases_them():
    class Key:
        hashed = 1

        def __hash__(self):
            if self.hashed:
                return 3
            raise ZeroDivisionError
    key, x = Key(), np.ones(3)
    f = function(double, x, outputs=[STATE], result=[(0, 0), {key: (0, [0])}, {"b": 0}])
    (one, _), two, _ = f(x)
    assert two[key] == (one, [one])
    key.hashed = 0
    before = counts(key, x)
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            f(x)
    after = counts(key, x)
    assert np.abs(np.subtract(after, before)).max() <= 2


def test_a_tree_that_cannot_be_built_is_an_error():
    for tree, said in ((1, "no result 1"), ((0, -1), "no result -1"), ("a", r"Constant\('a'\)"),
                       (New(Tensor, (("colour", 0),)), "Tensor.colour is no member"),
                       ([{"x": (0, 3)}], "no result 3")):
        with pytest.raises(RuleError, match=said):
            function(double, MATRIX, result=tree)


# ---- what does not fit

class Sub(np.ndarray):
    pass


UNFIT = {
    "list": [[0.0]], "dtype": MATRIX.astype(np.float32), "rank": MATRIX[None], "shape": MATRIX.T,
    "size": MATRIX[:1], "Fortran": np.asfortranarray(MATRIX), "strided": np.ones((2, 6))[:, ::2],
    "byte order": MATRIX.astype(">f8"), "subclass": MATRIX.view(Sub), "None": None, "int": 3,
    "unaligned": np.frombuffer(b"x" * 49, np.uint8)[1:].view(np.float64).reshape(2, 3),
    "scalar": np.float64(1), "class": np.ndarray, "bool": True}


@pytest.mark.parametrize("value", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_goes_to_the_slow_path(value):
    f = function(pair, MATRIX, MATRIX, outputs=[ARRAY, ARRAY])
    for args in ((value, MATRIX), (MATRIX, value)):
        said, given, keywords = f(*args)
        assert said == "slow" and not keywords
        assert all(a is b for a, b in zip(given, args, strict=True))


def test_other_numbers_of_arguments_and_keywords_go_to_the_slow_path():
    f = function(double, MATRIX)
    assert f() == ("slow", (), {})
    assert f(MATRIX, 1)[1] == (MATRIX, 1)
    assert f(x=MATRIX)[2] == {"x": MATRIX}
    assert f(MATRIX, y=2)[1:] == ((MATRIX,), {"y": 2})
    assert is_slow(f(*[1] * 100, **{str(k): k for k in range(100)}))


def test_an_equal_dtype_that_is_another_object_fits():
    x = pickle.loads(pickle.dumps(MATRIX))
    if x.dtype is MATRIX.dtype:
        x = MATRIX.astype(np.dtype([("a", float)]).fields["a"][0].newbyteorder("="))
    other = np.ndarray(3, np.dtype(float, metadata={"unit": "m"}))
    other[:] = 1
    assert other.dtype is not np.dtype(float)
    np.testing.assert_array_equal(function(double, MATRIX)(x), 2 * MATRIX)
    np.testing.assert_array_equal(function(double, np.ones(3))(other), [2.0] * 3)


def test_an_exception_of_the_slow_path_is_the_callers():
    def angry(*args):
        raise KeyError(args)
    f = entry(built(double, MATRIX), [Input(Argument(0))], [ARRAY], angry, arguments=1)
    before = counts(angry, MATRIX)
    for _ in range(100):
        with pytest.raises(KeyError):
            f("wrong")
    assert counts(angry, MATRIX) == before
    np.testing.assert_array_equal(f(MATRIX), 2 * MATRIX)


def test_a_failure_code_goes_to_the_slow_path_or_raises():
    x, i = np.arange(5.0), np.array([1, 9])
    f = function(lambda b, x, i: b.pick(x, [i]), x, i)
    assert is_slow(f(x, i))
    np.testing.assert_array_equal(f(x, np.array([1, 2])), [1, 2])
    inputs = [Input(Argument(0), holders=9), Input(Argument(1))]
    g = entry(built(lambda b, x, i: (b.pick(x, [i]), b.elementwise("add", x, x)), x, i), inputs,
              [ARRAY, into(0)], slow, arguments=2)
    for _ in range(10):
        with pytest.raises(IndexingError, match="out of range"):
            g(x, i)


def test_a_call_that_does_not_fit_its_program_is_an_error():
    c, x = built(double, MATRIX), Input(Argument(0))
    for inputs, outputs, said in [
            ([], [ARRAY], "one Input and one Output"), ([x], [], "one Input and one Output"),
            ([Input(Argument(0), "number")], [ARRAY], 'kind="array"'),
            ([x], [SCALAR], "no scalar"), ([x], [FLOAT], "no float"),
            ([x], [into(3)], "no array input 3"),
            ([Input(Slot(Held(3), int, "real"))], [ARRAY], "__slots__")]:
        with pytest.raises(RuleError, match=said):
            entry(c, inputs, outputs, slow, arguments=1)
    with pytest.raises(RuleError, match='"scalar"'):
        function(total, np.arange(3), outputs=[FLOAT])
    with pytest.raises(RuleError, match="written over"):
        function(total, np.ones(3), outputs=[into(0)])


# ---- references

def test_no_reference_is_lost_or_kept():
    f = function(pair, MATRIX, MATRIX, outputs=[STATE, STATE])
    before = counts(f, MATRIX, MATRIX.dtype, np.ndarray, slow)
    for _ in range(1000):
        f(MATRIX, MATRIX)
        f(MATRIX, 3)
        f()
    kept = f(MATRIX, MATRIX)
    assert counts(*kept) == counts(np.ones(3), np.ones(3))
    del kept
    after = counts(f, MATRIX, MATRIX.dtype, np.ndarray, slow)
    assert np.abs(np.subtract(after, before)).max() < 10


@pytest.mark.skipif(not STATUS.exists(), reason="the kernel does not say what a process has")
@pytest.mark.parametrize("output", [ARRAY, STATE, SCALAR, FLOAT, into(0)], ids=lambda o: o.kind)
def test_a_hundred_thousand_calls_take_no_memory(output):
    x = np.ones(())
    f = entry(built(lambda b, x: b.copy(x, ()), x), [Input(Argument(0), holders=9)], [output],
              slow, arguments=1)
    for _ in range(1000):
        f(x), f(1)
    before = resident()
    for _ in range(100_000):
        f(x)
    for _ in range(10_000):
        f(1)
    assert resident() - before < 2 << 20


def test_a_function_that_is_gone_lets_go():
    x = np.ones(3)

    class Owner:
        def __call__(self, *args):
            return "slow"
    owner = Owner()
    f = entry(built(double, x), [Input(Argument(0))], [ARRAY], owner, arguments=1)
    owner.entry = f  # a cycle through the function
    watch = weakref.ref(owner)
    reserved = pool.state.held()
    assert f(x)[0] == 2
    del f, owner
    gc.collect()
    assert watch() is None
    assert pool.state.held() < reserved


# ---- other sources

class Box:
    __slots__ = ("inner", "other", "value")


def test_cells_dictionaries_and_slots():
    cell = CellType()
    cell.cell_contents = np.ones(3)
    names, box, outer = {"w": np.full(3, 2.0)}, Box(), Box()
    box.value, outer.inner = np.full(3, 3.0), box
    sources = [Cell(cell), Item(names, "w"), Slot(Held(box), Box, "value"),
               Slot(Slot(Argument(0), Box, "inner"), Box, "value")]

    def write(b, *xs):
        return [b.copy(x, (3,)) for x in xs]
    f = entry(built(write, *[np.ones(3)] * 4), [Input(s) for s in sources], [STATE] * 4, slow,
              arguments=1)
    np.testing.assert_array_equal(np.stack(f(outer))[:, 0], [1, 2, 3, 3])
    held = cell.cell_contents = np.full(3, 4.0)
    names["w"], box.value = np.full(3, 5.0), np.full(3, 6.0)
    np.testing.assert_array_equal(np.stack(f(outer))[:, 0], [4, 5, 6, 6])
    before = counts(held, names["w"], box.value)
    for _ in range(100):
        f(outer), f(3), f(box)
    after = counts(held, names["w"], box.value)
    assert after == before
    assert is_slow(f(box))  # its slot is empty
    names["w"] = np.ones(4)
    assert is_slow(f(outer))
    del names["w"]
    assert is_slow(f(outer))
    names["w"] = held
    del box.value
    assert is_slow(f(outer))
    box.value = held
    assert not is_slow(f(outer))
    del cell.cell_contents
    assert is_slow(f(outer))


def test_a_key_whose_comparison_raises_goes_to_the_slow_path():
    class Key:
        def __hash__(self):
            return hash("w")

        def __eq__(self, other):
            raise ZeroDivisionError
    names = {Key(): 1}
    f = entry(built(double, MATRIX), [Input(Item(names, "w"))], [ARRAY], slow, arguments=0)
    assert f() == ("slow", (), {})


def test_guards():
    mode, names = object(), {"mode": None}
    names["mode"] = mode
    f = function(double, MATRIX, guards=[(Item(names, "mode"), mode)])
    assert not is_slow(f(MATRIX))
    names["mode"] = None
    assert is_slow(f(MATRIX))
    static = entry(built(double, MATRIX), [Input(Argument(0))], [ARRAY], slow, arguments=2,
                   guards=[(Argument(1), None)])
    assert not is_slow(static(MATRIX, None)) and is_slow(static(MATRIX, 0))


def test_a_number_from_a_cell():
    rate = 0.5
    (cell,) = (lambda: rate).__closure__
    f = entry(built(lambda b, x, r: b.elementwise("multiply", x, b.view(r, (), (3,))),
                    np.ones(3), 1.0),
              [Input(Argument(0)), Input(Cell(cell), "number")], [ARRAY], slow, arguments=1)
    np.testing.assert_array_equal(f(np.ones(3)), [0.5] * 3)
    rate = 2.0
    np.testing.assert_array_equal(f(np.ones(3)), [2.0] * 3)


class Part:
    """An object with attributes: plain, of the class, and computed."""

    shared = np.full(3, 3.0)

    def __init__(self):
        self.own = np.full(3, 1.0)

    @property
    def computed(self):
        return self.own * 2


class Named(tuple):
    __slots__ = ()


def test_attributes_elements_and_context_variables():
    part, variable = Part(), ContextVar("variable")
    parts, named = [0, [part]], Named([0, part])
    variable.set(np.full(3, 9.0))
    sources = [Attribute(Held(part), "own"), Attribute(Held(part), "computed"),
               Attribute(Element(Element(Held(parts), list, 1), list, 0), "shared"),
               Attribute(Element(Argument(0), Named, 1), "own"), Context(variable)]

    def write(b, *xs):
        return [b.copy(x, (3,)) for x in xs]
    f = entry(built(write, *[np.ones(3)] * 5), [Input(s) for s in sources], [STATE] * 5, slow,
              arguments=1)
    np.testing.assert_array_equal(np.stack(f(named))[:, 0], [1, 2, 3, 1, 9])
    part.own = np.full(3, 5.0)
    part.shared = np.full(3, 7.0)
    variable.set(np.full(3, 8.0))
    np.testing.assert_array_equal(np.stack(f(named))[:, 0], [5, 10, 7, 5, 8])
    own = part.own
    before = counts(own, part, parts, parts[1], named, variable)
    for _ in range(100):
        f(named), f(3), f((0, part)), f(Named([0])), f(Named([0, 1]))
    after = counts(own, part, parts, parts[1], named, variable)
    assert after == before
    assert all(is_slow(f(x)) for x in (3, (0, part), Named([0]), Named([0, 1])))
    parts[1].clear()
    assert is_slow(f(named))
    parts[1] = (part,)
    assert is_slow(f(named))
    parts[1] = [part]
    assert not is_slow(f(named))
    assert is_slow(NoContext().run(f, named))
    del part.own
    assert is_slow(f(named))


def test_what_python_finds_cannot_go_away_before_it_is_used():
    class Fleeting:
        def __init__(self):
            self.deep = Part()

        @property
        def next(self):
            self.deep = Part()  # the one that was read before has no other holder
            gc.collect()
            return self.deep.own
    x = Fleeting()
    deep = Attribute(Held(x), "deep")
    sources = [Attribute(deep, "own"), Attribute(Held(x), "next")]
    f = entry(built(pair, np.ones(3), np.ones(3)),
              [Input(s) for s in sources], [STATE] * 2, slow, arguments=0)
    for _ in range(5):
        total, product = f()
        assert (total == 2).all() and (product == 1).all()


def test_an_attribute_whose_property_raises_goes_to_the_slow_path():
    class Angry:
        @property
        def value(self):
            raise ZeroDivisionError
    f = entry(built(double, MATRIX), [Input(Attribute(Held(Angry()), "value"))], [ARRAY], slow,
              arguments=0)
    assert f() == ("slow", (), {})


VALUES = {"int": (3, 3.0), "float": (0.5, 1), "text": ("train", "eval"), "bytes": (b"a", "a"),
          "bool": (True, 1), "tuple": ((1, "a", (2,)), (1, "a", (3,))), "None": (None, False),
          "dtype": (np.dtype(float), np.dtype(np.float32)), "big": (10**30, 10**30 + 1),
          "zero": (0.0, -0.0), "imaginary": (complex(-1.0, 0.0), complex(-1.0, -0.0)),
          "nan": (float("nan"), 0.0), "truth": (0.0, False),
          "slice": (slice(1, 2), slice(1, 3))}


@pytest.mark.parametrize("value, other", VALUES.values(), ids=VALUES)
def test_guards_of_equality(value, other):
    names = {"mode": value}
    f = function(double, MATRIX, guards=[Guard(Item(names, "mode"), value, "==")])
    assert not is_slow(f(MATRIX))
    names["mode"] = pickle.loads(pickle.dumps(value))  # equal, and another object
    assert not is_slow(f(MATRIX))
    names["mode"] = other
    assert is_slow(f(MATRIX))


def test_guards_of_types_keys_and_arrays():
    names, array = {"a": 1.0, "b": 2.0}, np.ones((2, 3)).T
    f = function(double, MATRIX, guards=[
        Guard(Item(names, "a"), float, "type"), Guard(Held(names), ("a", "b"), "keys"),
        Guard(Argument(0), aval_of(MATRIX), "array")])
    assert not is_slow(f(MATRIX))
    names["a"] = 1
    assert is_slow(f(MATRIX))
    names["a"] = names.pop("a") * 1.0
    assert is_slow(f(MATRIX))
    names["b"] = names.pop("b")
    assert not is_slow(f(MATRIX))
    g = entry(built(double, MATRIX), [Input(Argument(0))], [ARRAY], slow, arguments=2,
              guards=[Guard(Argument(1), aval_of(array), "array")])
    assert not is_slow(g(MATRIX, array))
    assert is_slow(g(MATRIX, array.T)) and is_slow(g(MATRIX, array.astype(np.float32)))


def test_a_comparison_that_raises_goes_to_the_slow_path():
    class Angry:
        def __eq__(self, other):
            raise ZeroDivisionError
        __hash__ = None
    f = function(double, MATRIX, guards=[Guard(Argument(0), Angry(), "==")])
    assert f(Angry())[0] == "slow"


def test_guards_of_length_difference_and_holders():
    items, names, box = [1, 2], {"a": 1}, Box()
    box.value = None
    f = function(double, MATRIX, guards=[
        Guard(Held(items), (list, 2), "len"), Guard(Held(names), (dict, 1), "len"),
        Guard(Slot(Held(box), Box, "value"), 3, "is not")])
    assert not is_slow(f(MATRIX))
    items.append(3)
    assert is_slow(f(MATRIX))
    items.pop()
    names["b"] = 2
    assert is_slow(f(MATRIX))
    del names["b"]
    box.value = 3
    assert is_slow(f(MATRIX))
    box.value = object()
    g = function(double, MATRIX, guards=[Guard(Slot(Held(box), Box, "value"), 1, "held")])
    assert not is_slow(g(MATRIX))
    other = box.value
    assert is_slow(g(MATRIX)) and other is box.value
    h = entry(built(double, MATRIX), [Input(Argument(0))], [ARRAY], slow, arguments=2,
              guards=[Guard(Argument(1), (tuple, 2), "len")])
    assert not is_slow(h(MATRIX, (1, 2)))
    assert is_slow(h(MATRIX, [1, 2])) and is_slow(h(MATRIX, (1,)))
    for guard in (Guard(Held(3), (set, 1), "len"), Guard(Element(Held(3), dict, 0), 1),
                  Guard(Element(Held(()), tuple, -1), 1)):
        with pytest.raises(RuleError, match=r"length of a set|no element"):
            function(double, MATRIX, guards=[guard])


def test_python_ints_and_bools():
    def write(b, k, flag):
        return k, flag
    f = entry(built(write, 3, True), [Input(Argument(0), "int"), Input(Argument(1), "bool")],
              [SCALAR, SCALAR], slow, arguments=2, seconds=1.0)
    for k in (0, -1, 7, 2**63 - 1, -2**63):
        for flag in (True, False):
            found = f(k, flag)
            assert found == (k, flag)
            assert type(found[0]) is np.int64 and type(found[1]) is np.bool
    for args in ((2**63, True), (True, True), (1.0, True), (1, 1), (np.int64(1), True)):
        assert is_slow(f(*args))
    assert f(1, True) == (1, True)  # the workspace is not busy
    for kind in ("int", "bool", "float"):
        with pytest.raises(RuleError, match="no Python"):
            entry(built(lambda b, x: x, np.float32(1)), [Input(Argument(0), kind)], [SCALAR], slow,
                  arguments=1)


# ---- in place

def test_an_output_in_place_of_an_input():
    box = Box()
    box.value = np.ones(3)
    memory = box.value.ctypes.data
    f = entry(built(double, np.ones(3)), [Input(Slot(Held(box), Box, "value"), holders=1)],
              [into(0)], slow, arguments=0)
    assert f() is None and f() is None
    np.testing.assert_array_equal(box.value, [4.0] * 3)
    assert box.value.ctypes.data == memory


SHARED = {"the array": lambda a: a, "a view": lambda a: a[:2], "a buffer": memoryview,
          "its transpose": lambda a: a.T, "a pointer": lambda a: a.ctypes.data_as(ctypes.c_void_p)}


@pytest.mark.parametrize("make", [np.ones, lambda n: pool.fresh((n,), np.dtype(float))],
                         ids=["NumPy's", "ours"])
@pytest.mark.parametrize("share", SHARED.values(), ids=SHARED)
def test_what_somebody_else_holds_is_not_written(make, share):
    box = Box()
    box.value = make(3)
    box.value[:] = 1
    f = entry(built(double, np.ones(3)), [Input(Slot(Held(box), Box, "value"), holders=1)],
              [into(0)], slow, arguments=0)
    other = share(box.value)
    assert is_slow(f())
    np.testing.assert_array_equal(box.value, [1.0] * 3)
    del other
    gc.collect()
    assert f() is None
    np.testing.assert_array_equal(box.value, [2.0] * 3)


def test_what_cannot_be_written_or_is_a_view_is_not():
    box = Box()
    f = entry(built(double, np.ones(3)), [Input(Slot(Held(box), Box, "value"), holders=1)],
              [into(0)], slow, arguments=0)
    owner = np.ones(6)
    for value in (owner[:3], np.frombuffer(bytearray(24), float), np.ones(3)):
        box.value = value
        value.flags.writeable = value.base is not None
        del value
        assert is_slow(f())


def test_a_swap_in_place_and_old_values_given_out():
    x, z = np.ones(3), np.full(3, 2.0)
    inputs = [Input(Argument(0), holders=9), Input(Argument(1), holders=9)]
    swap = entry(built(lambda b, x, z: (z, x), x, z), inputs, [into(0), into(1)], slow, arguments=2)
    assert swap(x, z) is None
    assert (x[0], z[0]) == (2, 1)
    step = entry(built(lambda b, x, z: (b.elementwise("add", x, z), x, z), x, z), inputs,
                 [into(0), ARRAY, into(1)], slow, arguments=2)
    np.testing.assert_array_equal(step(x, z), [2.0] * 3)
    assert (x[0], z[0]) == (3, 1)


def test_reads_elsewhere_come_before_the_write():
    x = np.arange(5.0)
    f = entry(built(lambda b, x: b.elementwise("add", x, b.view(x, ((4, ((0, -1),)),), (5,))), x),
              [Input(Argument(0), holders=9)], [into(0)], slow, arguments=1)
    f(x)
    np.testing.assert_array_equal(x, [4.0] * 5)


@pytest.mark.parametrize("turned", [False, True])
def test_a_program_that_is_told_writes_over_its_input_itself(turned):
    """Where it cannot, because it reads elsewhere later, the result is copied at the end."""
    x = np.arange(3000.0)
    b = ProgramBuilder()
    given = b.input(aval_of(x))
    other = b.view(given, ((2999, ((0, -1),)),), (3000,)) if turned else given
    b.program.outputs = [b.elementwise("add", given, other).number]
    b.program.into = {0: 0}
    compiled = Compiled(b.program)
    assert compiled.overwrites == ({} if turned else {0: 0})
    f = entry(compiled, [Input(Argument(0), holders=9)], [into(0)], slow, arguments=1)
    want = x + (x[::-1] if turned else x)
    assert f(x) is None
    np.testing.assert_array_equal(x, want)


# ---- threads, re-entrance, collection

def test_a_long_program_lets_other_threads_run():
    x = np.ones(50_000)

    def write(b, x):
        for _ in range(100):
            x = b.elementwise("sin", x)
        return x
    c = built(write, x)
    f = entry(c, [Input(Argument(0))], [ARRAY], lambda x: c(x)[0], arguments=1, seconds=1.0)
    want, going, beats = c(x)[0], True, []

    def beat():
        while going:
            beats.append(1)

    def work():
        for _ in range(3):
            found.append(f(x).copy())
    found, workers = [], [threading.Thread(target=t) for t in (work, work, beat)]
    for w in workers:
        w.start()
    for w in workers[:2]:
        w.join()
    going = False
    workers[2].join()
    assert len(found) == 6 and beats
    for y in found:
        np.testing.assert_array_equal(y, want)


def test_a_long_program_holds_what_it_reads():
    box, stop = Box(), threading.Event()
    box.value = np.ones(100_000)

    def write(b, x):
        for _ in range(50):
            x = b.elementwise("cos", x)
        return x
    c = built(write, box.value)
    f = entry(c, [Input(Slot(Held(box), Box, "value"))], [ARRAY], slow, arguments=0, seconds=1.0)
    want = f().copy()

    def replace():
        while not stop.is_set():
            box.value = np.ones(100_000)
    other = threading.Thread(target=replace)
    other.start()
    try:
        for _ in range(20):
            np.testing.assert_array_equal(f(), want)
    finally:
        stop.set()
        other.join()
    (after,) = counts(box.value)
    assert after == counts(np.ones(3))[0] + 1


def test_a_call_within_the_slow_path_of_the_same_function():
    def again(x):
        return f(np.asarray(x))
    f = entry(built(double, MATRIX), [Input(Argument(0))], [ARRAY], again, arguments=1)
    np.testing.assert_array_equal(f(MATRIX.tolist()), 2 * MATRIX)


def test_a_collection_within_a_call():
    class Calls:
        def __init__(self):
            self.self = self

        def __del__(self):
            seen.append(f(other, other))
    x, other, seen = np.ones(3), np.full(3, 5.0), []
    f = function(pair, x, x, outputs=[ARRAY, ARRAY])
    gc.collect()
    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Calls()
            y, z = f(x, x)
            assert (y == 2).all() and (z == 1).all()
    finally:
        gc.set_threshold(*old)
    gc.collect()
    assert len(seen) == 200 and all((y == 10).all() for y, _ in seen[-2:])


def test_the_time_of_a_program_is_about_right():
    def chain(b, x):
        for _ in range(10):
            x = b.elementwise("exp", x)
        return x
    small, large = np.ones(10), np.ones(10_000)
    assert seconds_of(built(chain, small).program) < call.LONG < seconds_of(
        built(chain, large).program)
    a = np.ones((300, 400))
    product = built(lambda b, x, z: b.dot([(x, z)]), a, np.ones((400, 500)))
    assert 1e-4 < seconds_of(product.program) < 1e-2
    assert seconds_of(built(lambda b, x: x, large).program) == 0
    picked = built(lambda b, x, i: b.pick(x, [i]), large, np.zeros(10**6, np.int64))
    assert 1e-4 < seconds_of(picked.program) < 1e-2


def test_a_long_program_lets_go_of_the_interpreter_by_itself():
    for x, released in ((np.ones(3), False), (np.ones(10**6), True)):
        assert function(double, x).__self__.released is released


# ---- the pool

def test_a_result_that_nobody_holds_is_used_again():
    f = function(double, MATRIX)
    seen = {f(MATRIX).ctypes.data for _ in range(100)}
    assert len(seen) == 1
    y, addresses = f(MATRIX), set()
    for _ in range(100):
        y = f(MATRIX)
        addresses.add(y.ctypes.data)
    assert len(addresses) == 2


USES = {"itself": lambda y: y, "a view": lambda y: y[1:], "a view of a view": lambda y: y[1:].T[1:],
        "another dtype": lambda y: y.view(np.int64), "a buffer": memoryview,
        "an iterator": lambda y: y.flat, "raveled": lambda y: y.ravel(),
        "a subclass": lambda y: y.view(Sub), "strided": lambda y: np.broadcast_to(y, (2, *y.shape)),
        "ctypes": lambda y: y.ctypes}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("size", [3, 40_000 // 8, (8 << 20) // 8])
def test_a_result_in_use_is_not_written(size, use):
    x = np.arange(float(2 * size)).reshape(2, size)
    f = function(double, x)
    y = f(x)
    kept, address, want = use(y), y.ctypes.data, y.tobytes()
    del y
    zeros = np.zeros_like(x)
    results = [f(zeros) for _ in range(4)] + [f(zeros)]
    assert all(r.ctypes.data != address for r in results)
    assert ctypes.string_at(address, len(want)) == want and kept is not None


def test_a_result_with_a_weak_reference_is_not_used_again():
    f = function(double, MATRIX)
    y = f(MATRIX)
    watch = weakref.ref(y)
    del y
    for _ in range(4):
        z = f(MATRIX)
        assert watch() is not z
    assert watch() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy's, of setting a shape
def test_a_result_that_was_changed_is_not_used_again():
    f = function(double, MATRIX)
    for change in (lambda y: setattr(y, "shape", (3, 2)), lambda y: y.setflags(write=False),
                   lambda y: setattr(y, "dtype", np.int64)):
        y = f(MATRIX)
        change(y)
        del y
        for _ in range(3):
            y = f(MATRIX)
            assert y.shape == (2, 3) and y.dtype == float and y.flags.writeable
            np.testing.assert_array_equal(y, 2 * MATRIX)


def test_no_reference_stays_with_the_pool_for_a_state():
    f = function(double, MATRIX, outputs=[STATE])
    y = f(MATRIX)
    assert sys.getrefcount(y) == 2
    g = function(double, MATRIX)
    z = g(MATRIX)
    assert sys.getrefcount(z) == 3
    kept = [g(MATRIX) for _ in range(3)]
    assert sys.getrefcount(z) == 2 and len(kept) == 3


def test_a_collection_while_the_pools_are_counted():
    class Owner(pool.Share):
        def __del__(self):
            pool.reserve(pool.Share(), 8)
    before = pool.state.held()
    with pool.state.lock:  # which a thread has that comes back
        owner = Owner()
        assert pool.reserve(owner, 100)
        assert pool.state.held() == before + 100
        del owner
    assert pool.state.held() == before


def test_the_pools_are_bounded(monkeypatch):
    monkeypatch.setattr(pool, "LIMIT", pool.state.held() + 3 * MATRIX.nbytes)
    first, second = function(double, MATRIX), function(double, MATRIX)
    y, z = first(MATRIX), second(MATRIX)
    assert (sys.getrefcount(y), sys.getrefcount(z)) == (3, 2)


@pytest.mark.parametrize("size", [1, 100, 5000, 4 << 20, 9 << 20])
def test_fresh_arrays_are_aligned_and_alone(size):
    x = pool.fresh((size,), np.dtype(np.uint8))
    assert x.ctypes.data % 64 == 0 and x.shape == (size,)
    base = x.base
    assert type(base) is pool.Memory
    assert sys.getrefcount(base) == 3  # the array, the name and the argument
    assert x[:1].base is x  # a view refers to the array, which the pool asks for holders
    x[:] = 7
    assert x.sum(dtype=int) == 7 * size
    if size >= pool.HUGE:
        assert x.ctypes.data % pool.PAGE == 0


# ---- tuples of floats

def floats(*more):
    """A builtin that gives x + y and x y, and whatever more is asked for, as Python floats."""
    return entry(built(pair, 1.0, 1.0), [Input(Argument(k), "number") for k in range(2)],
                 [FLOAT, *(more or [FLOAT])], slow, arguments=2)


def test_a_tuple_that_nobody_has_is_used_again():
    f = floats()
    seen = {id(f(1.0, float(k))) for k in range(100)}
    assert len(seen) <= pool.AGAIN
    assert [f(1.0, float(k)) for k in range(50)] == [(1.0 + k, float(k)) for k in range(50)]


@pytest.mark.parametrize("keep", [
    lambda r: r, lambda r: r[0], lambda r: r[1], lambda r: [*r], lambda r: (r, *r),
    lambda r: {r: 1}, iter, lambda r: r[::-1], lambda r: dict(enumerate(r))], ids=range(9))
def test_what_somebody_has_does_not_change(keep):
    f = floats()
    kept, told = [], []
    for k in range(60):
        kept.append(keep(f(1.5, float(k))))
        told.append(keep((1.5 + k, 1.5 * k)))
        for drop in range(k % 7):  # others go away, in some order
            kept[-drop - 1] = told[-drop - 1] = None

    def plain(x):
        return list(x) if hasattr(x, "__next__") else x
    assert [plain(x) for x in kept] == [plain(x) for x in told]


def test_a_call_inside_of_what_uses_the_last_result():
    f = floats()
    f(1.0, 2.0)
    assert [(a, f(a, b), b) for a, b in (f(1.0, 2.0), f(3.0, 4.0))] == [
        (3.0, (5.0, 6.0), 2.0), (7.0, (19.0, 84.0), 12.0)]
    assert max(*f(1.0, 2.0), *f(3.0, 4.0), f(5.0, 6.0)[1]) == 30.0
    assert f(*f(*f(1.0, 2.0))) == (11.0, 30.0)
    for a, b in [f(1.0, 2.0)] * 3:
        assert f(9.0, 9.0) == (18.0, 81.0) and (a, b) == (3.0, 2.0)


def test_tuples_of_floats_are_collected_and_counted():
    f = floats()
    blocks = []
    for _ in range(5):
        kept = [f(1.0, float(k)) for k in range(500)]
        gc.collect()
        assert kept == [(1.0 + k, float(k)) for k in range(500)]
        del kept
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert blocks[-1] - blocks[1] < 50
    held = f.__self__.held
    lists = [x for x in held if type(x) is list and len(x) == pool.AGAIN and type(x[0]) is tuple]
    other = [(blocks[0], k) for k in range(2)]
    assert [counts(*x) for x in lists] == [counts(*other)] and gc.is_tracked(lists[0])
    watch = weakref.ref(f.__self__)
    del f, held, lists
    gc.collect()
    assert watch() is None


def test_other_results_are_made_anew():
    for more in (SCALAR, ARRAY):
        f = floats(more)
        found = [f(1.0, float(k)) for k in range(5)]
        assert [(float(a), float(b)) for a, b in found] == [(1.0 + k, float(k)) for k in range(5)]
    single = np.float32([0.1, 0.2])
    g = entry(built(lambda b, x: [b.reduce("add", x, (0,)), b.reduce("maximum", x, (0,))], single),
              [Input(Argument(0))], [FLOAT, FLOAT], slow, arguments=1)
    for _ in range(3):
        assert g(single) == (float(single.sum()), float(single[1]))
        assert [type(v) for v in g(single)] == [float, float]


@pytest.mark.parametrize("items", [24, 32])
def test_a_tuple_with_more_than_its_length_is_made_anew(items, monkeypatch):
    monkeypatch.setattr(call, "TUPLE_ITEMS", items)
    f = floats()
    kept = [f(1.0, float(k)) for k in range(50)]
    assert kept == [(1.0 + k, float(k)) for k in range(50)]
    reused = any(type(x) is list and x == [None, None] for x in f.__self__.held) or any(
        type(x) is list and x and type(x[0]) is tuple for x in f.__self__.held)
    assert reused == (items == call.abi().tuple_items)


# ---- without a trampoline

def test_an_unknown_layout_means_no_trampoline(monkeypatch):
    monkeypatch.setattr(abi_module, "TESTS", (*abi_module.TESTS, lambda: False))
    abi_module.abi.cache_clear()
    try:
        assert function(double, MATRIX) is slow
        assert "otherwise" in why_not(built(double, MATRIX))
    finally:
        monkeypatch.undo()
        abi_module.abi.cache_clear()
    assert function(double, MATRIX) is not slow


@pytest.mark.parametrize("change", [
    lambda m: m.setattr(abi_module, "BINARY_VERSION", 0x03000000),
    lambda m: m.setattr(abi_module, "import_module", lambda name: None),
    lambda m: m.setattr(abi_module, "PYTHON", ("Py_NoSuchFunction",)),
    lambda m: m.setattr(abi_module, "DESCR", 48),
    lambda m: m.setattr(abi_module, "CONTENTS", 24),
    lambda m: m.setattr(sys, "version_info", (4, 0, 0)),
    lambda m: m.setattr(abi_module, "KIND_MASK", 0xFF),
    lambda m: m.setattr(abi_module.sysconfig, "get_config_var", lambda name: 1),
    lambda m: m.setattr(sys.implementation, "name", "pypy"),
    lambda m: m.setattr(sys, "byteorder", "big")],
    ids=["NumPy 3", "no NumPy core", "no function", "dtype", "number", "Python 4", "dtypes",
         "no GIL", "PyPy", "big-endian"])
def test_each_check_is_able_to_fail(change, monkeypatch):
    abi_module.abi.cache_clear()
    change(monkeypatch)
    try:
        assert abi_module.abi() is None
    finally:
        monkeypatch.undo()
        abi_module.abi.cache_clear()
    assert abi_module.abi() is not None


def test_a_compiled_function_needs_no_trampoline(monkeypatch):
    monkeypatch.setattr(abi_module, "TESTS", (lambda: False,))
    abi_module.abi.cache_clear()
    try:
        monkeypatch.setattr(jitted, "kind", callables.kind.__wrapped__)
        f = ad.jit(lambda x: np.sin(x) * 2.0)
        for _ in range(4):
            np.testing.assert_allclose(f(MATRIX), np.sin(MATRIX) * 2.0, rtol=1e-15)
            assert f(0.5) == np.sin(0.5) * 2.0
        assert type(f) not in callables.entries and isinstance(f, jitted.Jitted)
    finally:
        monkeypatch.undo()
        abi_module.abi.cache_clear()


def test_a_program_that_calls_python_has_none():
    x = np.ones(3) + 1j
    assert "calls Python" in why_not(built(double, x)) or "machine code" in why_not(
        built(double, x))
    assert function(double, x) is slow


def test_one_text_serves_many_functions():
    count = len(call.trampolines)
    first, second = function(double, np.ones(3)), function(double, np.ones((4, 5), np.float32))
    assert len(call.trampolines) <= count + 1
    assert first(np.ones(3)).shape == (3,) and second(np.ones((4, 5), np.float32)).shape == (4, 5)


def test_one_place_is_read_once():
    """Sources are equal by what they look at: the dictionary, not what it holds."""
    looking, first, second = Looking(24), {"a": 1}, {"a": 1}
    for mapping in (first, first, second, first):
        looking.look_up(Attribute(Item(mapping, "a"), "real"))
    for cell in (CellType(1), CellType(1)):
        looking.object(Element(Cell(cell), list, 0))
        looking.object(Element(Cell(cell), list, 0))
    text = "\n".join(looking.lines)
    words = len(looking.record.words)
    assert looking.made == 4 and text.count("call ptr") == 4
    looking.object(Held(first))
    looking.object(Held(second))
    assert len(looking.record.words) == words + 2


def test_default_values_of_functions_are_read_where_they_are_kept():
    def f(x, y=2.5, z=None):
        return x, y, z

    def bare(x):
        return x
    place = Attribute(Held(f), "__defaults__")
    guards = [Guard(place, (tuple, 2), "len"), Guard(Element(place, tuple, 0), 2.5, "=="),
              Guard(Element(place, tuple, 1), None), Guard(Attribute(Held(bare), "__defaults__"),
                                                           None)]
    run, x = function(double, np.ones(3), guards=guards), np.ones(3)
    before = [sys.getrefcount(a) for a in (f.__defaults__, f)]
    for _ in range(3):
        assert not is_slow(run(x))
    assert [sys.getrefcount(a) for a in (f.__defaults__, f)] == before
    for changed in ((2.5,), (2.0, None), (2.5, 1), None, (2.5, None, 3)):
        f.__defaults__ = changed
        assert is_slow(run(x)), changed
    f.__defaults__ = (5.0 / 2.0, None)
    assert not is_slow(run(x))
    bare.__defaults__ = (1,)
    assert is_slow(run(x))
    looking = Looking(24)
    looking.look_up(place)
    looking.object(place)
    assert not looking.made
