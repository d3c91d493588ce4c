"""What a function reaches besides its arguments is changed between calls, and each call sees it.

A case is a generator: it yields the function once, then after each change. Every state is asked
three times, because the third call goes the quick way.
"""

from __future__ import annotations

import math
import types

import numpy as np
import pytest

import adjoint as ad

X = np.array([0.5, -1.5, 2.5])
CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


def agrees(got, wanted):
    """The same kind, dtype and shape, and equal with the sign of a zero."""
    assert type(got) is type(wanted)
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-13)
    for part in (np.real, np.imag):
        np.testing.assert_array_equal(np.signbit(part(got)), np.signbit(part(wanted)))


def same_error(f, error):
    with pytest.raises(type(error)):
        f(X)


@case
def what_an_unused_array_is():
    o = types.SimpleNamespace(a=np.ones(3))
    yield lambda x: x.astype(o.a.dtype) / len(o.a) + o.a.ndim
    for o.a in (np.ones(4), np.ones((2, 4)), np.ones(3, np.float32), np.ones((3, 2)).T):
        yield


@case
def what_an_unused_number_is():
    o = {"a": 1.0}
    yield lambda x: x if o["a"] is None else 2.0 * x
    o["a"] = None
    yield
    o["a"] = 2.0
    yield


@case
def the_order_of_keys():
    d = {"a": 1.0, "bb": 2.0}
    yield lambda x: x * len(next(iter(d))) + next(iter(d.values()))
    d["a"] = d.pop("a")
    yield
    d["ccc"] = d.pop("bb")
    yield


@case
def another_key_where_no_value_is_used():
    d = {"a": 1.0, "b": 2.0}
    yield lambda x: x * ("a" in d)
    d["c"] = d.pop("a")
    yield


@case
def the_sign_of_a_zero():
    o = {"s": 0.0, "c": complex(-1.0, 0.0), "a": np.zeros(1)}
    yield lambda x: x * math.copysign(1.0, o["s"]) * np.sqrt(o["c"]) + math.copysign(1, o["a"][0])
    o["s"] = -0.0
    yield
    o["c"] = complex(-1.0, -0.0)
    yield
    o["a"][0] = -0.0
    yield
    o["s"] = math.nan
    yield


# ---- the test

@pytest.mark.parametrize("name", CASES)
def test_each_call_sees_what_is_there(name):
    states = CASES[name]()
    plain = next(states)
    compiled = ad.jit(plain)
    while True:
        for _ in range(3):
            try:
                wanted = plain(X)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other raises it too
                same_error(compiled, error)
            else:
                agrees(compiled(X), wanted)
        try:
            next(states)
        except StopIteration:
            return


def test_a_value_that_is_not_a_number_makes_one_version():
    o = {"s": math.nan, "c": complex(0.0, math.nan)}
    f = ad.jit(lambda x: x if o["s"] > 1.0 else x * o["c"].real)
    for _ in range(4):
        f(X)
    assert len([plan for plans in f.plans.values() for plan in plans]) == 1
