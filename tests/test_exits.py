"""No tracked value leaves the graph silently; untracked tensors are arrays like any other."""

import math
import struct

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import adjoint as ad
from adjoint.core.primitive import NUMPY
from adjoint.errors import EscapeError, MutationError, UnsupportedError

SCALAR_EXITS = {
    "float": float, "math.sin": math.sin, "math.log": math.log, "math.isnan": math.isnan,
    "percent": lambda x: "%f" % x,  # noqa: UP031 - a way out to test
    "fsum": lambda x: math.fsum([x]),
    "np.float64": np.float64, "np.array([x])": lambda x: np.array([x, 1.0]),
    "int": int, "complex": complex, "range": range, "list index": lambda x: [1, 2, 3][x],
    "array index": lambda x: np.zeros(9)[x],
    "asarray": np.asarray, "ascontiguousarray": np.ascontiguousarray,
    "np.full": lambda x: np.full(3, x), "arr[...]": lambda x: np.zeros(3).__setitem__(..., x),
    "arr fill": lambda x: np.zeros(3).fill(x), "numpy()": lambda x: x.numpy(),
    "scipy.special": scipy.special.erfi,
    "scipy.linalg": lambda x: scipy.linalg.solve(np.eye(1), np.ones(1)) and scipy.linalg.norm(x),
    "math.pow": lambda x: math.pow(x, 2), "ad.tensor": ad.tensor,
    "np.add out": lambda x: np.add(x, 1.0, out=np.zeros(())),
    "array +=": lambda x: np.zeros(3).__iadd__(x),
    "np.dot": lambda x: np.zeros(3) @ np.full(3, x)}


def tracked_values():
    """A tracked scalar of every kind, each inside its own transformation."""
    def inside(transform, *args):
        def run(exit_):
            transform(lambda x: exit_(x * 1.0) and x * x)(*args)
        return run
    yield "tensor", lambda exit_: exit_(ad.tensor(2.0, requires_grad=True) * 1.0)
    yield "grad", inside(ad.grad, 2.0)
    yield "jvp", inside(lambda f: lambda x: ad.jvp(f, (x,), (1.0,)), 2.0)
    yield "vmap", inside(ad.vmap, np.array([2.0, 3.0]))
    yield "grad of grad", inside(lambda f: ad.grad(ad.grad(f)), 2.0)
    yield "hessian", inside(ad.hessian, 2.0)


KINDS = dict(tracked_values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCALAR_EXITS)
def test_every_way_out_raises(kind, name):
    with pytest.raises((EscapeError, UnsupportedError, ValueError)) as caught:
        KINDS[kind](SCALAR_EXITS[name])
    error = caught.value
    if type(error) is ValueError:  # NumPy speaks first: ours is its cause
        error = error.__cause__
    assert "Write " in str(error) or "Compose" in str(error) or "Use ad.where" in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exit_", [np.zeros, bytes, range, lambda x: "%d" % x])  # noqa: UP031
def test_no_interpreter_hides_our_error(kind, exit_):
    with pytest.raises(EscapeError, match="Write"):
        KINDS[kind](exit_)


@pytest.mark.parametrize("kind", KINDS)
def test_where_python_speaks_alone_it_raises_too(kind):
    with pytest.raises(struct.error):
        KINDS[kind](lambda x: struct.pack("d", x))


@pytest.mark.parametrize("call, remedy", [
    (lambda x: np.full(3, x), "np.full computes outside the graph.*Write ad.full"),
    (lambda x: scipy.linalg.solve(np.eye(2), ad.array([x, x])),
     r"scipy.linalg.solve computes outside the graph.*Write ad.linalg.solve\(...\)"),
    (lambda x: scipy.linalg.hessenberg(ad.array([[x, x], [x, x]])),
     "scipy.linalg.hessenberg computes outside the graph.*Compose it from functions"),
    (lambda x: np.array([x, x]), "Write np.stack\\(\\[x, z\\]\\) or ad.array"),
    (math.sin, "Write ad.sin\\(x\\) for math.sin\\(x\\)"),
    (lambda x: x.numpy(), "Write x.detach\\(\\).numpy\\(\\)"),
    (float, "x.item\\(\\) or x.detach\\(\\).numpy\\(\\)"),
])
def test_the_error_says_what_to_write(call, remedy):
    with pytest.raises(EscapeError, match=remedy):
        call(ad.tensor(2.0, requires_grad=True))


def test_what_the_errors_recommend_works():
    x = ad.tensor(2.0, requires_grad=True)
    for made, expected in (
            (ad.full(3, x).sum(), 3.0), (np.stack([x, x]).sum(), 2.0), (ad.sin(x), np.cos(2.0)),
            (ad.array([[x, 1.0], [0.0, x]]).sum(), 2.0), (x.astype(complex).astype(float), 1.0),
            (ad.setitem(np.zeros(3), 1, x).sum(), 1.0)):
        x.grad = None
        made.backward()
        assert x.grad.item() == pytest.approx(expected)
    assert ad.trunc(x).item() == 2.0


def test_what_works_on_tracked_values():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    assert x.tolist() == [1.0, 2.0]
    assert (x[0].item(), len(x), f"{x[1]:.1f}", bool(x[0])) == (1.0, 2, "2.0", True)
    assert [v.item() for v in x] == [1.0, 2.0]
    assert np.allclose(x, [1.0, 2.0])
    assert np.isclose(x, 1.0).tolist() == [True, False]
    assert np.array_equal(x, np.array([1.0, 2.0]))
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 0)) == ((2,), 1, 2, 2)
    assert np.zeros_like(x).tolist() == [0.0, 0.0]
    assert np.ones_like(x).tolist() == [1.0, 1.0]
    assert np.result_type(x, np.float32) == np.float64
    assert np.array_repr(x) == "array([1., 2.])"


def test_printing_and_plain_numbers_work_under_every_derivative():
    seen = []

    def f(x):
        seen.append((f"{x:.1f}", x.item(), x.tolist(), x.detach().numpy().tolist(), repr(x * 1.0)))
        return x * x * x.detach()
    assert ad.grad(f)(2.0) == 8.0
    assert ad.jvp(f, (2.0,), (1.0,)) == (8.0, 8.0)
    assert ad.hessian(f)(2.0) == 4.0
    assert all(s[:4] == ("2.0", 2.0, 2.0, 2.0) for s in seen)
    assert {s[4] for s in seen} == {"tensor(2., grad_fn=<multiply>)", "dual(2.)"}
    ad.vmap(lambda x: seen.append(repr(x)) or x)(np.ones((3, 2)))
    assert seen[-1] == "batch(float64[2])"


def test_detach_and_stop_gradient_cut_every_level():
    def detached(x):
        return x * x.detach()

    def stopped(x):
        return x * ad.stop_gradient(x)
    for f in (detached, stopped):
        assert ad.grad(ad.grad(f))(3.0) == 0.0
        assert ad.hessian(f)(3.0) == 0.0
        assert ad.grad(lambda x, f=f: ad.jvp(f, (x,), (1.0,))[1])(3.0) == 0.0
        assert ad.jvp(ad.grad(f), (3.0,), (1.0,))[1] == 0.0


def test_constants_inside_transformations():
    def f(x):
        assert np.allclose(x, 2.0)
        assert np.shape(x) == ()
        return x * (np.zeros_like(x) + 3.0)
    assert ad.grad(f)(2.0) == 3.0
    assert ad.jvp(f, (2.0,), (1.0,)) == (6.0, 3.0)


def test_under_vmap_a_branch_raises_with_the_remedy():
    with pytest.raises(EscapeError, match=r"stands for 2 at once.*ad.where\(condition, x, y\)"):
        ad.vmap(lambda x: x if x > 0 else -x)(np.ones(2))
    with pytest.raises(EscapeError, match="at once"):
        ad.vmap(lambda x: x if np.allclose(x, 1.0) else -x)(np.ones(2))


# ---- untracked tensors

@pytest.mark.parametrize("exit_, expected", [
    (lambda t: float(t[0]), 4.0), (lambda t: int(t[1]), 1), (lambda t: complex(t[0]), 4 + 0j),
    (lambda t: math.sqrt(t[0]), 2.0), (lambda t: [0, 1, 2][ad.tensor(1)], 1),
    (lambda t: np.asarray(t).sum(), 7.0), (lambda t: np.array([t, t]).shape, (2, 3)),
    (lambda t: np.full(2, t[0]).tolist(), [4.0, 4.0]),
    (lambda t: scipy.linalg.norm(t) ** 2, 21.0), (lambda t: scipy.special.gamma(t[0]), 6.0),
    (lambda t: struct.unpack("d", struct.pack("d", t[0]))[0], 4.0),
    (lambda t: np.zeros(3).__setitem__(slice(None), t), None)])
def test_untracked_tensors_go_out(exit_, expected):
    assert exit_(ad.tensor([4.0, 1.0, 2.0])) == expected


@pytest.mark.parametrize("function", [
    np.nanmedian, np.unwrap, np.packbits, np.trim_zeros, np.spacing,
    np.add.accumulate, lambda a: np.multiply.outer(a, a), np.ediff1d, np.digitize],
    ids=lambda f: f.__name__)
def test_numpy_functions_without_a_row_run_on_untracked_values(function):
    a = np.array([[4.0, 1.0], [2.0, 3.0]])
    args = {np.packbits: (a.astype(int).ravel(),), np.trim_zeros: (a[0],),
            np.digitize: (a, np.array([0.0, 2.0]))}.get(function, (a,))
    got = function(*map(ad.tensor, args))
    assert isinstance(got, ad.Tensor)
    assert not got.requires_grad
    np.testing.assert_array_equal(np.asarray(got), function(*args))


def test_results_of_several_parts_and_named_tuples():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    quotient, rest = np.polydiv(ad.tensor([1.0, 2.0, 2.0]), ad.tensor([1.0, 1.0]))
    assert quotient.tolist() == [1.0, 1.0]
    assert isinstance(rest, ad.Tensor)
    result = np.linalg.eigh(ad.tensor(a)) if np.linalg.eigh not in NUMPY else np.linalg.eigh(a)
    np.testing.assert_allclose(np.asarray(result.eigenvalues), np.linalg.eigvalsh(a))


def test_options_that_no_row_has():
    x, t, mask = ad.tensor([1.0, 2.0], requires_grad=True), ad.tensor([1.0, 2.0]), [True, False]
    assert np.sum(t, where=mask).item() == 1.0
    assert np.sum(t, initial=3.0).item() == 6.0
    assert np.sin(t, dtype=np.float32).dtype == np.float32
    for call in (lambda: np.sum(x, where=mask), lambda: np.sin(x, dtype=np.float32),
                 lambda: np.add(x, t, casting="no")):
        with pytest.raises(UnsupportedError, match=r"the option '\w+' is not there for tracked"):
            call()


def test_a_mixture_with_a_tracked_value_raises():
    x, t = ad.tensor([1.0, 2.0], requires_grad=True), ad.tensor([1.0, 2.0])
    with pytest.raises(UnsupportedError, match=r"np\.polyadd has no row"):
        np.polyadd(t, x)


def test_what_passed_out_cannot_write_into_the_tensor():
    t = ad.tensor([3.0, 1.0, 2.0])
    out = np.trim_zeros(t)
    with pytest.raises(MutationError):  # a view in NumPy: the write would reach t
        out[0] = 9.0
    out += 1.0
    out[0] = 9.0
    assert t.tolist() == [3.0, 1.0, 2.0]
