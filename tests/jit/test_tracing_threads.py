"""What other threads see while a function is traced: values, never Symbols."""

import copy
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import shadows
from adjoint.errors import EscapeError
from adjoint.tensors import Tensor


class Model:
    """A tensor with a gradient, a number and an array."""

    def __init__(self):
        self.w = ad.tensor([1.0, 2.0], requires_grad=True)
        self.w.grad = ad.tensor([10.0, 20.0])
        self.rate, self.scale = 0.5, np.array([2.0, 4.0])


class Stop:
    """A function that waits in the middle of being traced, once."""

    def __init__(self, model):
        inside, go = threading.Event(), threading.Event()

        def step(x):
            y = (model.w * x * model.scale).sum() * model.rate
            model.w.grad = None
            y.backward()
            with ad.no_grad():
                model.w -= model.rate * model.w.grad
            inside.set()
            go.wait(20)
            return y.detach()
        self.inside, self.go, self.eager, self.step = inside, go, step, ad.jit(step)

    @contextmanager
    def tracing(self):
        """A block during which another thread is tracing the step."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.step, np.ones(2))
            assert self.inside.wait(20)
            try:
                yield future
            finally:
                self.go.set()
            future.result()


def test_another_thread_sees_tensors_as_they_are():
    model = Model()
    w, stop = model.w, Stop(model)
    with stop.tracing():
        assert shadows.adopted(w)
        assert "traced" not in repr(w)
        np.testing.assert_array_equal(w.detach().numpy(), [1.0, 2.0])
        np.testing.assert_array_equal(w.grad.numpy(), [10.0, 20.0])
        assert (w * 3.0).sum().item() == 9.0
        assert w.__class__ is Tensor
        assert isinstance(w, Tensor)
        assert type(w * 3.0) is Tensor
        (w * w).sum().backward()
        np.testing.assert_array_equal(w.grad.numpy(), [12.0, 24.0])
        g = ad.grad(lambda x: (x * w.detach()).sum())(np.ones(2))
        np.testing.assert_array_equal(g, [1.0, 2.0])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(w)).detach().numpy(), [1.0, 2.0])
        np.testing.assert_array_equal(copy.deepcopy(w).grad.numpy(), [12.0, 24.0])
    assert type(w) is Tensor
    assert not shadows.adopted(w)
    # the step ran after that: d/dw = x scale rate = [1, 2]
    np.testing.assert_array_equal(w.grad.numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(w.detach().numpy(), [0.5, 1.0])


def test_another_thread_may_write_to_a_tensor():
    model = Model()
    stop = Stop(model)
    with stop.tracing():
        with ad.no_grad():
            model.w += 10.0
        model.w.grad = None
        np.testing.assert_array_equal(model.w.detach().numpy(), [11.0, 12.0])
    assert not np.may_share_memory(model.w.value, model.w.grad.value)
    np.testing.assert_array_equal(model.w.detach().numpy(), [10.5, 11.0])


def test_another_thread_computes_with_numbers_and_arrays_as_they_are():
    model = Model()
    stop = Stop(model)
    with stop.tracing():
        assert model.rate * 2.0 == 1.0
        assert model.rate < 1.0
        assert float(model.rate) == 0.5
        assert f"{model.rate:.1f}" == "0.5"
        assert pickle.loads(pickle.dumps(model.rate)) == 0.5
        assert copy.copy(model.rate) == 0.5
        np.testing.assert_array_equal(model.scale * np.ones(2), [2.0, 4.0])
        np.testing.assert_array_equal(np.asarray(model.scale), [2.0, 4.0])
        np.testing.assert_array_equal(np.stack([model.scale, model.scale])[1], [2.0, 4.0])
        np.testing.assert_array_equal((model.w * model.scale).detach().numpy(), [2.0, 8.0])
        assert model.scale.sum() == 6.0
        assert np.ones(3)[int(model.rate * 4.0)] == 1.0
    assert type(model.rate) is float
    assert type(model.scale) is np.ndarray


def test_threads_compute_eagerly_while_many_functions_are_traced():
    model, wrong, done = Model(), [], threading.Event()
    x = np.array([3.0, 5.0])

    def eager():
        while not done.is_set():
            y = (model.w * x * model.scale).sum()
            g = ad.grad(lambda v: (model.w.detach() * v).sum())(x)
            if y.item() != 46.0 or type(y) is not Tensor or list(g) != [1.0, 2.0]:
                wrong.append((y, g))
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(eager) for _ in range(2)]
        for k in range(30):
            f = ad.jit(lambda v, k=k: ((model.w * v).sum() + k) * model.rate)
            assert f(x).item() == (13.0 + k) * 0.5
        done.set()
        for each in futures:
            each.result()
    assert wrong == []
    assert type(model.w) is Tensor


def test_a_value_of_a_trace_is_an_error_elsewhere():
    found, model = [], Model()
    inside, go = threading.Event(), threading.Event()

    class Sink:
        __slots__ = ("x",)
    sink = Sink()

    @ad.jit
    def f(x):
        sink.x = x * model.rate
        inside.set()
        go.wait(20)
        return x
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(f, np.ones(2))
        assert inside.wait(20)
        for use in (lambda: sink.x + 1.0, lambda: float(sink.x.sum()), lambda: np.asarray(sink.x)):
            with pytest.raises(EscapeError, match="escaped"):
                found.append(use())
        go.set()
        future.result()
    with pytest.raises(EscapeError, match="escaped"):
        found.append(sink.x + 1.0)
    assert found == []


def test_a_function_traced_inside_another_leaves_no_shadow():
    w, v = ad.tensor(2.0, requires_grad=True), ad.tensor(3.0)
    inner = ad.jit(lambda x: x * w * v)
    outer = ad.jit(lambda x: inner(x) * w)
    assert outer(5.0).item() == 60.0
    assert type(w) is type(v) is Tensor
    (w * 2.0).backward()
    assert w.grad.item() == 2.0


def test_a_subclass_keeps_its_class_and_its_attributes():
    class Weight(Tensor):
        """A tensor with a name."""
    w = Weight([1.0, 2.0], requires_grad=True)
    w.name = "weight"
    stop = Stop(model := Model())
    model.w = w
    with stop.tracing():
        assert w.__class__ is Weight
        assert w.name == "weight"
    assert type(w) is Weight
    assert w.name == "weight"


def test_an_interrupt_while_tensors_are_adopted_leaves_values(monkeypatch):
    w = [ad.tensor(float(k), requires_grad=True) for k in range(3)]
    f = ad.jit(lambda x: x * w[0] * w[1] * w[2])
    adopt = shadows.adopt

    def interrupted(t):
        adopt(t)
        if t is w[1]:
            signal.raise_signal(signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with monkeypatch.context() as patched:
            patched.setattr(shadows, "adopt", interrupted)
            with pytest.raises(KeyboardInterrupt):
                f(1.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [t.item() for t in w] == [0.0, 1.0, 2.0]
    assert {type(t) for t in w} == {Tensor}
    assert f(2.0).item() == 0.0
