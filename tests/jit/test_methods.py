"""What may be compiled: methods of all sorts, copies of objects that have them; what may not."""

import copy
import fractions
import pickle

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, CompileWarning

X = np.arange(6.0).reshape(2, 3)


class Model:
    offset = 2.0

    def __init__(self):
        self.scale = 3.0

    @ad.jit
    def method(self, x):
        return x * self.scale

    @ad.jit
    @staticmethod
    def inner_static(x):
        return x + 1.0

    @staticmethod
    @ad.jit
    def outer_static(x):
        return x + 1.0

    @classmethod
    @ad.jit
    def outer_class(cls, x):
        return x + cls.offset

    @ad.jit
    @classmethod
    def inner_class(cls, x):
        return x + cls.offset


class Child(Model):
    offset = 5.0


@ad.jit
def double(x):
    return x * 2.0


def test_methods_of_all_sorts():
    model = Model()
    for _ in range(3):
        np.testing.assert_array_equal(model.method(X), 3.0 * X)
        for owner in (Model, model):
            np.testing.assert_array_equal(owner.inner_static(X), X + 1.0)
            np.testing.assert_array_equal(owner.outer_static(X), X + 1.0)
            np.testing.assert_array_equal(owner.outer_class(X), X + 2.0)
            np.testing.assert_array_equal(owner.inner_class(X), X + 2.0)
        np.testing.assert_array_equal(Child.inner_class(X), X + 5.0)
        np.testing.assert_array_equal(Child().outer_class(X), X + 5.0)
    assert Model.outer_class == Model.outer_class  # traced once; bound anew by CPython 3.13


@pytest.mark.parametrize("copied", [
    copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_an_object_have_methods_of_their_own(copied):
    model = Model()
    for _ in range(3):
        model.method(X)
    other = copied(model)
    other.scale = 7.0
    for _ in range(3):
        np.testing.assert_array_equal(other.method(X), 7.0 * X)
        np.testing.assert_array_equal(model.method(X), 3.0 * X)


def test_a_compiled_function_is_copied_and_pickled_as_functions_are():
    double(X)
    assert pickle.loads(pickle.dumps(double)) is double
    np.testing.assert_array_equal(copy.deepcopy(double)(X), 2.0 * X)


def test_an_object_that_keeps_nothing_is_warned_of():
    class Slots:
        __slots__ = ("scale",)

        def __init__(self):
            self.scale = 3.0

        @ad.jit
        def method(self, x):
            return x * self.scale
    with pytest.warns(CompileWarning, match="no __dict__"):
        np.testing.assert_array_equal(Slots().method(X), 3.0 * X)


def generator(x):
    yield x


async def coroutine(x):
    return x


async def asynchronous(x):
    yield x


@pytest.mark.parametrize("f", [generator, coroutine, asynchronous])
def test_what_runs_after_the_call_is_refused(f):
    with pytest.raises(ArgumentError, match=f"{f.__name__} is a generator or async function"):
        ad.jit(f)


@pytest.mark.parametrize(("x", "message"), [
    (np.ma.masked_array(X, X > 2), r"a MaskedArray of float64.*np\.asarray"),
    (np.array([1, "a"], object), "ndarray of object.*no arithmetic"),
    (np.array(["a"]), "ndarray of <U1"), (np.datetime64("2020"), "datetime64"),
    (fractions.Fraction(1, 2), r"Fraction\(1, 2\) \(Fraction\).*static_argnums"),
    ("x" * 1000, r"\.\.\.x*' \(str\)")])
def test_arguments_that_are_no_arrays_are_told_apart(x, message):
    with pytest.raises(ArgumentError, match=message):
        ad.jit(lambda x: x)(x)
