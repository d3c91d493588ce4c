"""Kinds: every transformation gives back the kind it got, and pytrees keep their structure."""

import functools

import numpy as np
import pytest
import scipy.optimize

import adjoint as ad
from adjoint.errors import ArgumentError, DTypeError, ShapeError, UnusedInputError

SCALARS = {"float": 2.0, "np.float64": np.float64(2.0), "np.float32": np.float32(2.0),
           "0-d": np.array(2.0), "complex": 2.0 + 0j, "tensor": ad.tensor(2.0)}
ARRAYS = {"ndarray": np.array([1.0, 2.0]), "float32": np.array([1.0, 2.0], np.float32),
          "tensor": ad.tensor([1.0, 2.0])}


def square(x):
    return (x * x).sum() if np.ndim(x) else (x * x).astype(float)


@pytest.mark.parametrize("name", SCALARS)
def test_scalars(name):
    x = SCALARS[name]
    dx = ad.grad(square)(x)
    assert type(dx) is type(x)
    assert np.asarray(dx).dtype == np.asarray(x).dtype
    assert complex(dx) == 4.0
    value, dx = ad.value_and_grad(square)(x)
    assert type(dx) is type(x)
    y, pullback = ad.vjp(lambda x: x * x, x)
    assert type(pullback(y)[0]) is type(x)
    y, dy = ad.jvp(lambda x: x * x, (x,), (x,))
    assert isinstance(y, ad.Tensor) == isinstance(dy, ad.Tensor) == isinstance(x, ad.Tensor)
    assert complex(dy) == 8.0
    if name == "float":
        assert type(y) is type(dy) is type(value) is type(ad.hessian(square)(x)) is float


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("call, shape", [
    (ad.grad(square), (2,)), (lambda x: ad.value_and_grad(square)(x)[1], (2,)),
    (lambda x: ad.vjp(np.sin, x)[0], (2,)), (lambda x: ad.vjp(np.sin, x)[1](x)[0], (2,)),
    (lambda x: ad.jvp(np.sin, (x,), (x,))[0], (2,)),
    (lambda x: ad.jvp(np.sin, (x,), (x,))[1], (2,)),
    (lambda x: ad.linearize(np.sin, x)[0], (2,)), (lambda x: ad.linearize(np.sin, x)[1](x), (2,)),
    (lambda x: ad.hvp(square, (x,), (x,)), (2,)), (ad.jacobian(np.sin), (2, 2)),
    (ad.hessian(square), (2, 2)), (ad.vmap(np.sin), (2,)),
    (ad.checkpoint(np.sin), (2,)), (ad.grad(ad.checkpoint(square)), (2,)),
])
def test_arrays(name, call, shape):
    x = ARRAYS[name]
    y = call(x)
    assert type(y) is type(x)
    assert y.shape == shape
    assert y.dtype == x.dtype
    if isinstance(y, ad.Tensor):
        assert not y.requires_grad


def test_checkpoint_keeps_floats():
    assert type(ad.checkpoint(lambda x: x * x)(2.0)) is float


def test_float_result_of_array_argument_is_numpys():
    value, _ = ad.value_and_grad(square)(np.ones(2))
    assert type(value) is np.float64


def test_pytrees():
    params = {"w": np.ones((2, 2)), "layers": [(1.0, ad.tensor([2.0]))], "none": None}

    def loss(p):
        (b, c), = p["layers"]
        return (p["w"] ** 2).sum() * b + (c ** 3).sum()
    g = ad.grad(loss)(params)
    assert set(g) == {"w", "layers", "none"}
    assert g["none"] is None
    np.testing.assert_allclose(g["w"], 2 * np.ones((2, 2)))
    b, c = g["layers"][0]
    assert (type(b), b) == (float, 4.0)
    assert isinstance(c, ad.Tensor)
    assert c.tolist() == [12.0]


def test_pytree_results():
    y, pullback = ad.vjp(lambda x: {"a": x * x, "b": (x, 3.0)}, 2.0)
    assert y == {"a": 4.0, "b": (2.0, 3.0)}
    assert pullback({"a": 1.0, "b": (1.0, 0.0)}) == (5.0,)
    assert ad.jvp(lambda x: {"a": x * x, "b": 1.0}, (2.0,), (1.0,)) == (
        {"a": 4.0, "b": 1.0}, {"a": 4.0, "b": 0.0})
    assert ad.linearize(lambda x: [x * x, x], 2.0)[1](1.0) == [4.0, 1.0]
    with pytest.raises(ArgumentError, match="the cotangent must have the structure"):
        pullback({"a": 1.0})


def test_argnums():
    def f(x, y, z):
        return x * y ** 2 * z ** 3
    assert ad.grad(f, argnums=1)(1.0, 2.0, 3.0) == 108.0
    assert ad.grad(f, argnums=-1)(1.0, 2.0, 3.0) == 108.0
    assert ad.grad(f, argnums=(2, 0))(2.0, 2.0, 3.0) == (216.0, 108.0)
    assert ad.value_and_grad(f, argnums=(2, 0))(2.0, 2.0, 3.0)[0] == 216.0
    for mode in ("forward", "reverse"):
        assert ad.jacobian(f, argnums=(2, 0), mode=mode)(2.0, 2.0, 3.0) == (216.0, 108.0)
    assert ad.grad(f, argnums=(0,))(1.0, 2.0, 3.0) == (108.0,)
    assert ad.grad(f)(1.0, 2, np.int64(3)) == 108.0
    assert ad.jacobian(f, argnums=(0, 1))(1.0, 2.0, 3.0) == (108.0, 108.0)
    assert ad.hessian(f, argnums=(0, 1))(1.0, 2.0, 3.0) == ((0.0, 108.0), (108.0, 54.0))
    for wrong in (3, (0, 0), (0, -3), "0", (0.0,)):
        with pytest.raises(ArgumentError, match="argnums"):
            ad.grad(f, argnums=wrong)(1.0, 2.0, 3.0)


def test_kwargs_are_passed_and_not_differentiated():
    def f(x, *, power=1, shift=0.0):
        return x ** power + shift
    assert ad.grad(f)(3.0, power=2) == 6.0
    assert ad.value_and_grad(f)(3.0, power=2, shift=1.0) == (10.0, 6.0)
    assert ad.jacobian(f)(3.0, power=2) == 6.0
    assert ad.hessian(f)(3.0, power=3) == 18.0
    assert ad.checkpoint(f)(3.0, power=2) == 9.0
    assert ad.vmap(f)(np.array([1.0, 2.0]), power=2).tolist() == [1.0, 4.0]


def test_has_aux():
    def f(x):
        return (x * x).sum(), {"x2": x * x, "name": "f"}
    x = np.array([1.0, 2.0])
    g, aux = ad.grad(f, has_aux=True)(x)
    assert g.tolist() == [2.0, 4.0]
    assert aux["name"] == "f"
    assert type(aux["x2"]) is np.ndarray
    (value, aux), g = ad.value_and_grad(f, has_aux=True)(x)
    assert value == 5.0
    y, pullback, aux = ad.vjp(f, x, has_aux=True)
    aux["x2"][:] = 0.0
    assert pullback(1.0)[0].tolist() == [2.0, 4.0]
    y, dy, aux = ad.jvp(f, (x,), (x,), has_aux=True)
    assert (y, dy, aux["x2"].tolist()) == (5.0, 10.0, [1.0, 4.0])
    for mode in ("reverse", "forward"):
        J, aux = ad.jacobian(f, mode=mode, has_aux=True)(x)
        assert J.tolist() == [2.0, 4.0]
        assert aux["x2"].tolist() == [1.0, 4.0]
    H, aux = ad.hessian(f, has_aux=True)(x)
    assert H.tolist() == [[2.0, 0.0], [0.0, 2.0]]
    with pytest.raises(ArgumentError, match="returns a pair"):
        ad.grad(lambda x: x * x, has_aux=True)(2.0)
    with pytest.raises(ArgumentError, match="returns a pair"):
        ad.jvp(lambda x: x * x, (2.0,), (1.0,), has_aux=True)


def test_on_unused():
    assert ad.grad(lambda x, y: x * x, argnums=(0, 1))(2.0, 3.0) == (4.0, 0.0)
    assert ad.grad(lambda x: 1.0)(np.ones(2)).tolist() == [0.0, 0.0]
    with pytest.raises(UnusedInputError, match=r"does not depend on float64\[2\]"):
        ad.grad(lambda x, y: x * x, argnums=(0, 1), on_unused="error")(2.0, np.ones(2))
    with pytest.raises(ArgumentError, match='on_unused is "zeros" or "error"'):
        ad.grad(square, on_unused="warn")


def test_what_is_not_a_function():
    for call in (lambda: ad.grad(3)(1.0), lambda: ad.vmap(3)(np.ones(2)), lambda: ad.vjp(3, 1.0),
                 lambda: ad.jvp(3, (1.0,), (1.0,)), lambda: ad.checkpoint(3)(1.0),
                 lambda: ad.hessian(3)(1.0), lambda: ad.linearize(3, 1.0)):
        with pytest.raises(ArgumentError, match="f must be a function, not 3"):
            call()
    with pytest.raises(ArgumentError, match=r"write ad.hvp\(f, \(x,\), \(dx,\)\)"):
        ad.hvp(np.sin, 1.0, 1.0)


def test_integers_raise_everywhere():
    for call in (lambda: ad.grad(square)(3), lambda: ad.jvp(square, (3,), (1,)),
                 lambda: ad.vjp(square, np.arange(2)), lambda: ad.jacobian(square)(True),
                 lambda: ad.hessian(square)([1, 2]), lambda: ad.linearize(square, 1),
                 lambda: ad.jacobian(square, mode="forward")(3)):
        with pytest.raises(DTypeError, match="has no derivative"):
            call()


def test_nonscalar_and_complex_results():
    with pytest.raises(ShapeError, match=r"one scalar result; this one returned shape \(2,\)"):
        ad.grad(np.sin)(np.ones(2))
    with pytest.raises(ShapeError, match=r"returned shape \(\), \(\)"):
        ad.grad(lambda x: (x, x))(1.0)
    with pytest.raises(DTypeError, match="needs a real result"):
        ad.grad(lambda z: z * z)(1j)


def test_closures_over_tracked_tensors():
    w = ad.tensor([3.0, 4.0], requires_grad=True)
    dx = ad.grad(lambda x: (w * x * x).sum())(np.array([1.0, 2.0]))
    assert isinstance(dx, ad.Tensor)
    assert dx.requires_grad
    dx.sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]
    w.grad = None
    J = ad.jacobian(lambda x: w * x)(np.array([1.0, 2.0]))
    J.sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]
    w.grad = None
    y, dy = ad.jvp(lambda x: (w * x).sum(), (np.ones(2),), (np.ones(2),))
    (y + dy).backward()
    assert w.grad.tolist() == [2.0, 2.0]


def test_tracked_tensor_arguments():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    g = ad.grad(lambda v: (v ** 3).sum())(x)
    assert g.requires_grad
    g.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad = None
    (ad.vmap(lambda v: v * v)(x)).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    x.grad = None
    ad.hessian(lambda v: (v ** 3).sum())(x).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_backward_inside_a_function_under_grad():
    def f(x):
        t = ad.tensor(2.0, requires_grad=True)
        (t * t).backward()
        return x * t.grad

    def g(x):
        w = ad.tensor(3.0, requires_grad=True)
        (w * x).backward(create_graph=True)
        return x * w.grad
    assert ad.grad(f)(3.0) == 4.0
    with pytest.raises(ad.errors.GraphError, match="it would not reach the tensors outside"):
        ad.grad(g)(3.0)


def test_untracked_tensor_in_a_closure_changes_no_kind():
    c = ad.tensor(3.0)
    assert type(ad.grad(lambda x: c * x * x)(2.0)) is float
    assert type(ad.grad(lambda x: (c * x * x).sum())(np.ones(2))) is np.ndarray
    assert type(ad.jacobian(lambda x: c * x)(np.ones(2))) is np.ndarray
    assert type(ad.vmap(lambda x: c * x)(np.ones(2))) is np.ndarray


def test_scipy_as_it_stands():
    def rosen(x):
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
    x = np.array([-1.2, 1.0, 0.5])
    for options in ({"jac": ad.grad(rosen), "method": "BFGS"},
                    {"jac": ad.grad(rosen), "hess": ad.hessian(rosen), "method": "trust-exact"}):
        found = scipy.optimize.minimize(rosen, x, **options)
        np.testing.assert_allclose(found.x, np.ones(3), rtol=1e-4)
    found = scipy.optimize.minimize(ad.value_and_grad(rosen), x, jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(found.x, np.ones(3), rtol=1e-3)
    root = scipy.optimize.fsolve(lambda v: v ** 2 - 2.0, np.ones(2),
                                 fprime=ad.jacobian(lambda v: v ** 2 - 2.0))
    np.testing.assert_allclose(root, np.sqrt(2.0) * np.ones(2))


def test_functions_of_every_make():
    class Model:
        def __call__(self, x):
            return x * x

        def method(self, x):
            return x * x
    for f in (Model(), Model().method, functools.partial(lambda a, x: a * x * x, 1.0), np.square):
        assert ad.grad(f)(3.0) == 6.0
        assert ad.vmap(f)(np.ones(2)).tolist() == [1.0, 1.0]
        assert ad.jacobian(f)(3.0) == 6.0
        assert ad.checkpoint(f)(3.0) == 9.0


def test_docstring_and_name_are_kept():
    def cost(x):
        """What it costs."""
        return x
    assert ad.grad(cost).__name__ == "cost"
    assert ad.grad(cost).__doc__ == "What it costs."
    with pytest.raises(ShapeError, match=r"ad.grad\(cost\)"):
        ad.grad(cost)(np.ones(2))


def test_gradients_of_equal_arguments_are_apart():
    dx, dz = ad.grad(lambda x, z: (x + z).sum(), argnums=(0, 1))(np.ones(2), np.ones(2))
    dx[:] = 5.0
    assert dz.tolist() == [1.0, 1.0]
