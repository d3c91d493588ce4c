"""Einsum by pairs and by products of matrices: the sum that NumPy's loop over all letters has."""

import numpy as np
import pytest

import adjoint as ad
from adjoint import errors
from adjoint.compiler.program import lowered
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace
from adjoint.ops.einsum import FEW, matrices, order

# Products of matrices, with batches and several letters, and what is none; all larger than FEW.
LARGE = {
    "ij,jk->ik": ((20, 21), (21, 22)), "ij,jk->ki": ((20, 21), (21, 22)),
    "ji,kj->ik": ((21, 20), (22, 21)), "bij,bjk->bik": ((5, 11, 12), (5, 12, 13)),
    "ijb,jbk->kbi": ((11, 12, 5), (12, 5, 13)), "btc,cd->btd": ((4, 9, 16), (16, 10)),
    "ijkl,klm->mij": ((3, 5, 6, 7), (6, 7, 8)), "bij,bjk->ik": ((5, 11, 12), (5, 12, 13)),
    "abi,bj->bij": ((4, 5, 20), (5, 30)), "ii,ij->ij": ((40, 40), (40, 50)),
    "ij,jk->k": ((30, 40), (40, 20)), "i,j->ij": ((90,), (80,)), "ij,ij->": ((80, 70), (80, 70)),
    "ij,jk->ik ": ((20, 1), (21, 22)), "bij,bjk->bik ": ((1, 11, 12), (5, 12, 13)),
    "ij,jk,kl->il": ((20, 15), (15, 12), (12, 18)), "ij,jk,kl,lm->im":
    ((12, 10), (10, 11), (11, 9), (9, 13)), "i,ij,j->": ((60,), (60, 70), (70,)),
    "ijk,il,jm,kn->lmn": ((6, 7, 8), (6, 5), (7, 4), (8, 6)),
    "ab,bc,cd,de,ef->af": ((6, 7), (7, 8), (8, 9), (9, 10), (10, 5)),
    "bhtd,bhsd->bhts": ((2, 3, 9, 8), (2, 3, 10, 8)), "...ij,...jk->...ik": ((5, 9, 9), (5, 9, 9))}


def operands(shapes, dtype):
    rng = np.random.default_rng(7)
    xs = [rng.standard_normal(s) for s in shapes]
    if dtype == "complex128":
        return [x + 1j * rng.standard_normal(x.shape) for x in xs]
    return [np.rint(4 * x).astype(dtype) if dtype == "int64" else x.astype(dtype) for x in xs]


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
@pytest.mark.parametrize("text", LARGE)
def test_values_are_those_of_the_loop_over_all_letters(text, dtype):
    xs = operands(LARGE[text], dtype)
    want, size = np.einsum(text, *xs), np.einsum(text, *map(np.abs, xs))
    ys = [ad.einsum(text, *xs), ad.einsum(text, *map(np.asfortranarray, xs)),
          ad.jit(lambda *xs: np.einsum(text, *xs))(*xs)]
    for y in ys:
        assert y.dtype == want.dtype
        assert np.shape(y) == want.shape
        bound = 0 if dtype == "int64" else 200 * np.finfo(dtype).eps
        assert (np.abs(y - want) <= bound * size).all()
    assert np.ndim(ys[0]) == 0 or ys[0].flags.writeable


@pytest.mark.parametrize("text", LARGE)
def test_derivatives(text):
    xs = operands(LARGE[text], "float64")
    w = np.random.default_rng(8).standard_normal(np.shape(np.einsum(text, *xs)))

    def f(*xs):
        return (np.einsum(text, *xs) * w).sum()
    gradient = ad.grad(f, argnums=tuple(range(len(xs))))
    vs = operands(LARGE[text], "float64")[::-1]
    vs = [np.resize(v, x.shape) for v, x in zip(vs, xs, strict=True)]
    slope = sum((g * v).sum() for g, v in zip(gradient(*xs), vs, strict=True))
    assert np.allclose(slope, ad.jvp(f, tuple(xs), tuple(vs))[1], rtol=1e-11)
    h = 1e-6
    ahead, behind = [f(*[x + s * h * v for x, v in zip(xs, vs, strict=True)]) for s in (1, -1)]
    assert np.allclose(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-5)
    for g, c in zip(gradient(*xs), ad.jit(gradient)(*xs), strict=True):
        assert np.allclose(g, c, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text, shapes, products", [
    ("ij,jk->ik", ((8, 9), (9, 7)), 1), ("btc,cd->btd", ((8, 124, 16), (16, 32)), 1),
    ("ij,jk,kl->il", ((100, 80), (80, 60), (60, 120)), 2), ("bij,bjk->bki", ((3, 8, 9), (3, 9, 7)),
                                                           1),
    ("ij,jk->ik", ((2, 9), (9, 7)), 0), ("bi,bi->b", ((50, 60), (50, 60)), 0),
    ("ij,j->i", ((50, 60), (60,)), 0)])
def test_what_is_lowered_as_products_of_matrices(text, shapes, products):
    graph, out = trace(lambda *xs: ad.einsum(text, *xs), *[
        aval_of(np.zeros(s, "float32")) for s in shapes])
    graph.outputs = [out.node]
    program = lowered(graph)
    assert sum(s.name == "dot" for s in program.statements) == products


def test_no_space_of_all_letters():
    """Four matrices have 10^10 products of four numbers, and 3 * 10^6 of two."""
    xs = [np.full((100, 100), 0.1) for _ in range(4)]
    for f in (lambda *xs: ad.einsum("ij,jk,kl,lm->im", *xs), ad.jit(
            lambda *xs: np.einsum("ij,jk,kl,lm->im", *xs))):
        assert np.allclose(f(*xs), 100.0)


def test_the_order():
    assert order(("ij", "jk", "k"), ((9, 9), (9, 9), (9,)), "i") == ((1, 2), (0, 1))
    assert order(("i", "i", "i"), ((3,),) * 3, "i") == ((0, 1, 2),)
    assert matrices(("ij", "j"), "i") is None
    assert matrices(("ijl", "jk"), "ik") is None
    assert FEW > 27


@pytest.mark.parametrize("text, shapes, words", [
    ("ij,jk->ik", ((3, 4), (5, 6)), "'j' in 'ij,jk->ik' has size 4 and 5"),
    ("ij,jk,kl->il", ((3, 4), (4, 5), (6, 7)), "has size 5 and 6")])
def test_sizes_that_do_not_fit_are_told_each_time(text, shapes, words):
    for _ in range(2):
        with pytest.raises(errors.ShapeError, match=words):
            ad.einsum(text, *map(np.ones, shapes))
