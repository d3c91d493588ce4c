"""What `ad.explain` leaves behind: modes, frames, graphs; and that it changes no program."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import MODES
from adjoint.errors import ArgumentError, NonFiniteError
from adjoint.teach import Value


class Held:
    """Something in a variable of the program."""


def everything(e):
    return [str(e.table()), str(e.forward(e.record.inputs[0])), str(e.paths(e.record.inputs[0])),
            str(e.chain()), str(e.latex()), str(e.why()), str(e.modes()), str(e.steps()),
            e.graph().svg()]


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("argument", [2.0, Value(2.0)], ids=["float", "Value"])
def test_variables_of_the_program_die_with_it(argument, no_collection):
    held = []

    def inner(x):
        local = Held()
        held.append(weakref.ref(local))
        return x * x

    def program(x):
        local = Held()
        held.append(weakref.ref(local))
        y = inner(x)
        return y + x
    e = ad.explain(program, argument)
    everything(e)
    assert len(held) == 2
    assert [ref() for ref in held] == [None, None]


@pytest.mark.parametrize("argument", [2.0, Value(2.0), 2], ids=["float", "Value", "int"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_after_an_error_all_is_as_before(argument, error, no_collection):
    held = []

    def program(x):
        local = Held()
        held.append(weakref.ref(local))
        y = x * x
        raise error(y)
    modes, floats, trace = MODES.get(), np.geterr(), sys.gettrace()
    with pytest.raises(error) as caught:
        ad.explain(program, argument)
    caught.value.__traceback__ = None
    del caught
    assert MODES.get() == modes
    assert np.geterr() == floats
    assert sys.gettrace() is trace
    assert held[0]() is None


@pytest.mark.parametrize("block", [ad.doctor, ad.kinks, ad.strict, ad.tape])
def test_blocks_inside_a_program_that_sweeps(block):
    def program(w):
        with block():
            h = np.sin(w)
            loss = np.sum(h * h)
            loss.backward()
        return loss
    w = ad.tensor([1.0, 2.0], requires_grad=True)
    e = ad.explain(program, w)
    assert e.names == ["w", "h", "v3", "loss"]
    np.testing.assert_allclose(e.adjoint("w"), w.grad.numpy())


@pytest.mark.parametrize("block", [ad.doctor, ad.kinks, ad.strict, ad.tape])
def test_blocks_around(block):
    with block():
        e = ad.explain(lambda x: np.sin(x) * x, 2.0)
    np.testing.assert_allclose(e.adjoint("x"), np.sin(2.0) + 2.0 * np.cos(2.0))


def test_a_doctor_outside_still_looks_beside_one_inside():
    def program(x):
        with ad.kinks():
            return np.sum(np.log(x))
    with pytest.raises(NonFiniteError, match="log"), ad.doctor():
        ad.explain(program, np.array([-1.0]))


def test_an_explanation_inside_an_explained_program():
    def program(x):
        slope = ad.explain(lambda z: z * z, 3.0).adjoint("z")
        return x * slope + x
    e = ad.explain(program, 2.0)
    assert e.adjoint("x") == 7.0
    assert e.names == ["x", "v2", "v3"]


def test_threads_do_not_meet():
    found, mistakes = {}, []

    def explained(k):
        def f(x):
            h = x
            for _ in range(20):
                h = np.sin(h) * k + x
            return h
        e = ad.explain(f, 1.0)
        found[k] = len(e.record.steps), float(e.adjoint("x")), float(ad.grad(f)(1.0))

    def trained():
        for _ in range(50):
            x = ad.tensor([1.0, 2.0], requires_grad=True)
            y = (x * x).sum()
            y.backward()
            if x.grad.tolist() != [2.0, 4.0] or y.node.site is not None:
                mistakes.append(x.grad)
    threads = [threading.Thread(target=explained, args=(k,)) for k in (0.5, 1.0, 1.5)]
    threads.append(threading.Thread(target=trained))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not mistakes
    assert sorted(found) == [0.5, 1.0, 1.5]
    for count, adjoint, gradient in found.values():
        assert count == 61
        assert adjoint == pytest.approx(gradient, rel=1e-12)


@pytest.mark.parametrize("explained", [False, True])
def test_training_goes_the_same_way(explained):
    w = ad.tensor(np.ones(3), requires_grad=True)
    optimiser = ad.optim.SGD([w], lr=0.1, momentum=0.9)
    data = np.arange(3.0)

    def step(w):
        optimiser.zero_grad()
        loss = ((w * data - 1.0) ** 2).sum()
        loss.backward()
        optimiser.step()
        return loss
    runs = [ad.explain(step, w) if explained else step(w) for _ in range(3)]
    weights, velocity = np.ones(3), np.zeros(3)
    for run in runs:
        gradient = 2.0 * data * (weights * data - 1.0)
        if explained:  # holds what was, not what the optimiser wrote
            np.testing.assert_allclose(run.value("w"), weights, rtol=1e-12)
            np.testing.assert_allclose(run.adjoint("w"), gradient, rtol=1e-12, atol=1e-15)
        velocity = 0.9 * velocity + gradient
        weights = weights - 0.1 * velocity
    np.testing.assert_allclose(w.detach().numpy(), weights, rtol=1e-12)
    np.testing.assert_allclose(w.grad.numpy(), gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_arrays_without_elements(shape):
    e = ad.explain(lambda x: np.sin(x) * 2.0, np.zeros(shape))
    assert e.adjoint("x").shape == shape + shape
    assert e.tangent(None, "x").shape == shape + shape
    everything(e)
    with pytest.raises(ArgumentError, match="empty"):
        e.paths("x", elements=True)


def test_a_tangent_that_is_not_reached_has_the_shape_of_one():
    e = ad.explain(lambda x, y: (x * 2.0) @ (y * 3.0), np.ones(3), np.ones(3))
    assert e.tangent("v3", wrt="y").shape == (3, 3)
    assert e.tangent("v3", wrt="y", tangent=np.ones(3)).shape == (3,)
    assert not np.any(e.tangent("v3", wrt="y"))


def test_directions_are_told_apart_by_their_dtype():
    e = ad.explain(lambda x: x * 2.0, 1.0)
    assert e.tangent(None, "x", np.int64(1)) == 2.0
    assert e.tangent(None, "x", np.float64(5e-324)) == 1e-323


def test_a_complex_step_is_moved_along_either_axis():
    e = ad.explain(lambda z: np.abs(z) ** 2, 3.0 + 4.0j)
    np.testing.assert_allclose(e.tangent(None, "z"), 6.0)
    np.testing.assert_allclose(e.tangent(None, "z", 1j), 8.0)
    np.testing.assert_allclose(e.adjoint("z"), 6.0 - 8.0j)


def test_an_explanation_goes_with_its_last_name(no_collection):
    e = ad.explain(lambda x: np.sin(x) * x, 2.0)
    _ = str(e.table()), str(e.forward()), str(e.latex()), str(e.why()), str(e.modes())
    _ = str(e.steps()), e.graph().svg()
    step = weakref.ref(e.record.steps[-1])
    del e, _
    assert step() is None
