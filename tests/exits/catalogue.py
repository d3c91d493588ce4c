"""What the survey calls: the public callables of NumPy, math and SciPy, and arguments for them.

Most arguments are found by trying (`found_calls`); what needs special ones stands in `SPECIAL`, and
what takes no number at all in `REASONS`, with why.
"""

from __future__ import annotations

import cmath
import contextlib
import inspect
import io
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

SPACES: dict[str, Any] = {
    "np": np, "np.linalg": np.linalg, "np.fft": np.fft, "math": math, "cmath": cmath,
    "scipy.linalg": scipy.linalg, "scipy.special": scipy.special}

S, R, Q, P = (np.array(v) for v in (0.61, 0.34, 0.77, 0.46))
V, W, U, X = (np.array(v) for v in (
    [0.31, 0.59, 0.83], [0.47, 0.29, 0.66], [0.72, 0.38, 0.15], [0.53, 0.21, 0.94]))
M = np.array([[2.3, 0.4, 0.7], [0.6, 1.9, 0.2], [0.3, 0.5, 3.1]])
N = np.array([[1.2, 0.3, 0.8], [0.11, 1.7, 0.5], [0.85, 0.2, 2.6]])
SPD = (M + M.T) / 2
TALL = np.array([[1.1, 0.2], [0.4, 1.6], [0.7, 0.3]])
TINY = np.array(1e-9)
CUBE = np.linspace(0.11, 1.93, 8).reshape(2, 2, 2) ** 1.3
MASK = np.array([True, False, True])
TRIANGLE = np.tril(M)


@dataclass
class Call:
    """One way to call one function: ``positions`` are the paths of the numbers in its arguments."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    allowed: frozenset[str] | None = None  # outcomes, where the name says what must happen

    def positions(self) -> Iterator[tuple[Any, ...]]:
        yield from paths((self.args, self.kwargs))

    def __repr__(self) -> str:
        parts = [*map(brief, self.args), *(f"{k}={brief(v)}" for k, v in self.kwargs.items())]
        return f"{self.name}({', '.join(parts)})"


def brief(a: Any) -> str:
    """An argument, short."""
    if isinstance(a, (np.ndarray, np.generic)):
        return f"array{a.shape}"
    if isinstance(a, (list, tuple)):
        inner = ", ".join(map(brief, a))
        return f"[{inner}]" if isinstance(a, list) else f"({inner})"
    return getattr(a, "__name__", None) or repr(a)


def paths(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The places of the floating point arrays in nested arguments."""
    if isinstance(tree, (np.ndarray, np.inexact)) and tree.dtype.kind in "fc":
        yield ()
    elif isinstance(tree, (list, tuple)):
        for k, part in enumerate(tree):
            yield from ((k, *rest) for rest in paths(part))
    elif isinstance(tree, dict):
        for k, part in tree.items():
            yield from ((k, *rest) for rest in paths(part))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for k in path:
        tree = tree[k]
    return tree


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """``tree`` with ``value`` at ``path``; arrays elsewhere are copied: some functions write."""
    if path == () and not isinstance(tree, (list, tuple, dict)):
        return value
    if isinstance(tree, np.ndarray):
        return tree.copy()
    key, rest = (path[0], path[1:]) if path else (None, ())
    if isinstance(tree, dict):
        return {k: replaced(v, rest, value) if path and k == key else fresh(v)
                for k, v in tree.items()}
    return type(tree)(replaced(v, rest, value) if path and k == key else fresh(v)
                      for k, v in enumerate(tree))


def fresh(tree: Any) -> Any:
    """A copy of nested arguments."""
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, dict):
        return {k: fresh(v) for k, v in tree.items()}
    return type(tree)(map(fresh, tree)) if type(tree) in (list, tuple) else tree


# ---- the names

def names(space: Any) -> list[str]:
    """The public callables of a module, sorted."""
    listed = getattr(space, "__all__", None) or dir(space)
    return sorted({n for n in listed if not n.startswith("_") and callable(getattr(space, n))})


def reason(space: str, name: str, function: Any) -> str:
    """Why a callable is not called with numbers; empty if it should be."""
    if f"{space}.{name}" in REASONS:
        return REASONS[f"{space}.{name}"]
    if isinstance(function, type):
        if issubclass(function, BaseException):
            return "an exception"
        if issubclass(function, np.generic) and name in ABSTRACT:
            return "an abstract type of numbers"
    return ""


ABSTRACT = [
    "character", "complexfloating", "flexible", "floating", "generic", "inexact", "integer",
    "number", "signedinteger", "unsignedinteger"]
SETTING, FILES = "a setting: it takes no numbers to compute with", "it reads or writes files"
TEXT, KINDS, INTS = ("it takes or gives text", "it takes types, shapes or names, not values",
                     "it takes integers only")
REASONS: dict[str, str] = {f"np.{name}": why for why, group in {
    SETTING: "errstate get_include get_printoptions getbufsize geterr geterrcall printoptions "
             "set_printoptions setbufsize seterr seterrcall show_config show_runtime test info",
    FILES: "fromfile fromregex genfromtxt load loadtxt memmap save savetxt savez "
           "savez_compressed",
    TEXT: "bytes_ str_ fromstring datetime_as_string datetime_data datetime64 timedelta64 "
          "busday_count busday_offset busdaycalendar is_busday format_float_positional "
          "format_float_scientific base_repr binary_repr typename",
    "it makes another callable, which the python section calls": "frompyfunc vectorize",
    KINDS: "can_cast dtype finfo iinfo issubdtype isdtype promote_types mintypecode ufunc empty "
           "broadcast_shapes diag_indices flatiter "
           "identity indices mask_indices tri tril_indices "
           "triu_indices ndindex ones zeros void record recarray ndarray eye",
    INTS: "bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_invert invert bitwise_count "
          "bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm ldexp packbits "
          "unpackbits ravel_multi_index unravel_index",
    "it takes a buffer of bytes": "frombuffer",
    "it takes dates": "isnat",
    "it is the way DLPack has, which Tensors do not offer": "from_dlpack",
}.items() for name in group.split()} | {
    f"scipy.linalg.{name}": why for why, group in {
        KINDS: "find_best_blas_type get_blas_funcs get_lapack_funcs",
        INTS: "hadamard helmert hilbert invhilbert invpascal pascal",
    }.items() for name in group.split()} | {
    f"scipy.special.{name}": why for why, group in {
        SETTING: "errstate geterr seterr",
        "it asks np.isscalar, so it refuses arrays and tensors alike":
            "lmbda mathieu_even_coef mathieu_odd_coef obl_cv_seq pbdn_seq pbdv_seq pbvv_seq "
            "pro_cv_seq riccati_jn riccati_yn",
        INTS: "factorial2 ai_zeros bei_zeros beip_zeros ber_zeros bernoulli berp_zeros bi_zeros "
              "erf_zeros "
              "euler fresnel_zeros fresnelc_zeros fresnels_zeros kei_zeros keip_zeros "
              "kelvin_zeros ker_zeros kerp_zeros jnjnp_zeros jn_zeros jnp_zeros jnyn_zeros "
              "yn_zeros ynp_zeros y0_zeros y1_zeros y1p_zeros c_roots h_roots he_roots "
              "l_roots p_roots ps_roots s_roots t_roots ts_roots u_roots us_roots roots_chebyc "
              "roots_chebys roots_chebyt roots_chebyu roots_hermite roots_hermitenorm "
              "roots_laguerre roots_legendre roots_sh_chebyt roots_sh_chebyu roots_sh_legendre "
              "chebyc chebys chebyt chebyu sh_chebyt sh_chebyu hermite hermitenorm laguerre "
              "legendre sh_legendre stirling2",
    }.items() for name in group.split()} | {
    "math.trunc": "arrays have no __trunc__; the python section calls it"} | {
    f"math.{name}": INTS for name in ["comb", "factorial", "gcd", "isqrt", "lcm", "perm"]}


# ---- arguments

def plain_twice(v: Any) -> Any:
    """A function of an array, for the functions that take one."""
    return v * 2.0


GRID = (np.array([0.2, 0.9, 1.7]), np.array([0.6, 0.1, 0.8]))
BAND = np.array([[0.3, 0.2, 0.4], [2.1, 1.8, 2.6], [0.5, 0.1, 0.2]])
UPPER_BAND = np.array([[0.3, 0.2, 0.4], [2.1, 1.8, 2.6]])
ORTHOGONAL, UPPER = np.linalg.qr(M)
LU_FACTORS, PIVOTS = scipy.linalg.lu_factor(M)
FACTOR = np.linalg.cholesky(SPD)
SIX = np.array([0.31, 0.57, 0.83, 0.12, 0.95, 0.44])
SPECIAL: dict[str, list[tuple[Any, ...]]] = {  # (args) or (args..., {kwargs})
    "np.apply_along_axis": [(np.sum, 0, M)],
    "np.apply_over_axes": [(np.sum, M, [0])],
    "np.arange": [(np.array(3.5),), (np.array(0.5), np.array(3.7), np.array(0.4))],
    "np.array": [(V,), ([V, W],), ([S, R],), ([[S, 1.0], [2.0, R]],)],
    "np.argpartition": [(V, 1)], "np.partition": [(V, 1)],
    "np.block": [([V, W],), ([[M, N], [N, M]],)], "np.bmat": [([[M, N]],)],
    "np.bool": [(S,)], "np.bool_": [(S,)],
    "np.atleast_1d": [(S,), (V, W)], "np.atleast_2d": [(V,)], "np.atleast_3d": [(V,)],
    "np.bincount": [(np.array([0, 1, 1]), V), (np.array([0, 1, 1]), {"weights": V})],
    "np.broadcast_to": [(V, (2, 3))], "np.broadcast_arrays": [(M, V)], "np.broadcast": [(M, V)],
    "np.astype": [(V, float), (V, complex)], "np.choose": [(np.array([0, 1, 0]), [V, W])],
    "np.clip": [(V, np.array(0.4), np.array(0.6)), (M, V, W + 1.0)],
    "np.compress": [(MASK, V), (V, W)], "np.extract": [(MASK, V)], "np.concatenate": [([V, W],)],
    "np.concat": [([V, W],)], "np.copyto": [(V, W), (V, W, {"where": MASK})],
    "np.cross": [(V, W)], "np.delete": [(V, 1)], "np.insert": [(V, 1, S)],
    "np.diag_indices_from": [(M,)], "np.dsplit": [(CUBE, 2)], "np.hsplit": [(M, 3)],
    "np.vsplit": [(M, 3)], "np.split": [(SIX, 3)], "np.array_split": [(SIX, 4)],
    "np.einsum": [("ij,j->i", M, V), ("ij,jk,k", M, N, V), ("ii->i", M)],
    "np.einsum_path": [("ij,jk,k", M, N, V)],
    "np.expand_dims": [(V, 0)], "np.fill_diagonal": [(M, S), (M, V)],
    "np.fromfunction": [(lambda i, x: i * x, (3,), {"x": V})],
    "np.fromiter": [(V, float), ([S, R], float)],
    "np.full": [(3, S), ((2, 3), V)], "np.full_like": [(V, S)],
    "np.geomspace": [(S, Q, 4), (V, W, 4)], "np.logspace": [(S, Q, 4), (V, W, 4)],
    "np.linspace": [(S, Q, 4), (V, W, 4)],
    "np.gradient": [(V,), (V, S), (V, np.array([0.1, 0.4, 1.1])), (M,)],
    "np.histogram": [(V,), (V, 3, {"weights": W}), (V, np.array([0.0, 0.5, 1.0])),
                     (V, 3, {"range": (np.array(0.1), np.array(0.9))})],
    "np.histogram2d": [(V, W), (V, W, {"weights": U})], "np.histogramdd": [(M,), ((V, W),)],
    "np.histogram_bin_edges": [(V,)],
    "np.interp": [(V, *GRID), (S, *GRID), (V, *GRID, {"left": S, "right": R}),
                  (V, *GRID, {"period": np.array(2.0)})],
    "np.isin": [(V, W)], "np.ix_": [(V, W)], "np.iterable": [(V,), (S,)], "np.kaiser": [(5, S)],
    "np.lexsort": [([V, W],)], "np.meshgrid": [(V, W)], "np.moveaxis": [(M, 0, 1)],
    "np.nested_iters": [([V, W], [[0], []])], "np.nditer": [(V,), ([V, W],)],
    "np.ndenumerate": [(V,)],
    "np.piecewise": [(V, [V > 0.5], [1.0, 2.0]), (V, [V > 0.5, V <= 0.5], [S, np.sin])],
    "np.place": [(V, MASK, W)], "np.put": [(V, [0, 1], W[:2])], "np.putmask": [(V, MASK, W)],
    "np.put_along_axis": [(M, np.array([[0, 1, 2]]), M[:1], 0)],
    "np.take_along_axis": [(M, np.array([[0, 1, 2]]), 0)], "np.take": [(V, [0, 2])],
    "np.percentile": [(SIX, np.array(37.0)), (M, np.array([12.0, 61.0]), 0),
                      (SIX, np.array(37.0), {"weights": SIX + 0.1, "method": "inverted_cdf"})],
    "np.quantile": [(SIX, np.array(0.37)), (M, np.array([0.12, 0.61]), 0),
                    (SIX, np.array(0.37), {"weights": SIX + 0.1, "method": "inverted_cdf"})],
    "np.nanpercentile": [(SIX, np.array(37.0))], "np.nanquantile": [(SIX, np.array(0.37))],
    "np.average": [(V,), (V, {"weights": W}), (M, 0, V), (M, 0, V, True)],
    "np.pad": [(V, 1), (V, 1, {"constant_values": S}),
               (V, 2, "linear_ramp", {"end_values": (S, R)})],
    "np.poly": [(V,), (SPD,)], "np.polyfit": [(V, W, 1), (V, W, 1, {"w": U})],
    "np.polydiv": [(SIX, V)], "np.polyint": [(V,), (V, 1, S)], "np.poly1d": [(V,)],
    "np.repeat": [(V, 2)], "np.require": [(V,)], "np.reshape": [(V, (3, 1))],
    "np.resize": [(V, (2, 3))], "np.roll": [(V, 1)], "np.rollaxis": [(M, 1)],
    "np.searchsorted": [(GRID[0], V), (GRID[0], S)], "np.digitize": [(V, GRID[0])],
    "np.select": [([V > 0.5, V < 0.4], [V, W]), ([V > 0.5, V < 0.4], [V, W], S)],
    "np.stack": [([V, W],), ((V, W), 1)], "np.swapaxes": [(M, 0, 1)],
    "np.vstack": [([V, W],)], "np.row_stack": [([V, W],)], "np.hstack": [([V, W],), ([S, R],)],
    "np.dstack": [([V, W],)],
    "np.column_stack": [([V, W],)], "np.tile": [(V, 2)], "np.tensordot": [(M, N, 1), (M, N)],
    "np.linalg.tensordot": [(M, N), (M, N, {"axes": 1})], "np.trim_zeros": [(V,)],
    "np.unwrap": [(V * 9.0,)], "np.vander": [(V,)],
    "np.where": [(MASK, V, W), (V, W, U), (V,)], "np.zeros_like": [(V,)],
    "np.cov": [(M,), (V, W), (M, {"aweights": V})], "np.corrcoef": [(M,), (V, W)],
    "np.roots": [(np.array([0.4, -1.3, 0.2]),)], "np.polyval": [(V, S), (V, W)],
    "np.ediff1d": [(V,), (V, S, R)], "np.diff": [(V,), (V, 1, 0, S, R), (M,)],
    "np.trapezoid": [(V,), (V, GRID[0]), (V, {"dx": S})],
    "np.nan_to_num": [(V,), (V, {"nan": S})], "np.isclose": [(V, W), (V, W, S, R)],
    "np.allclose": [(V, W), (V, W, S, R)], "np.matrix": [(M,)], "np.asmatrix": [(M,)],
    "np.sum": [(V,), (M, 0), (V, {"initial": S}), (V, {"where": MASK}), ([S, R],)],
    "np.prod": [(V,), (M, 0), (V, {"initial": S}), (V, {"where": MASK})],
    "np.max": [(V,), (M, 0), (V, {"initial": S}), (V, {"where": MASK, "initial": S})],
    "np.min": [(V,), (M, 0), (V, {"initial": S}), (V, {"where": MASK, "initial": S})],
    "np.mean": [(V,), (M, 0), (V, {"where": MASK}), ([S, R],)],
    "np.var": [(V,), (M, 0), (V, {"where": MASK}), (V, {"mean": np.array([0.5])})],
    "np.std": [(V,), (M, 0), (V, {"where": MASK}), (V, {"mean": np.array([0.5])})],
    "np.ldexp": [(V, 2)],
    "np.shares_memory": [(V, W)], "np.may_share_memory": [(V, W)], "np.unstack": [(M,)],
    "np.linalg.cholesky": [(SPD,)], "np.linalg.eigh": [(SPD,)], "np.linalg.eigvalsh": [(SPD,)],
    "np.linalg.lstsq": [
        (TALL, V), (TALL, M), (TALL, V, {"rcond": TINY})],
    "np.linalg.matrix_power": [(M, 2), (M, -1)],
    "np.linalg.multi_dot": [([M, N, V],), ([V, M, N, W],)], "np.linalg.norm": [
        (V,), (M,), (V, 1), (M, "nuc"), (M, 2), (M, None, 0)],
    "np.linalg.qr": [(M,), (TALL,)], "np.linalg.svd": [(M,), (TALL, False)],
    "np.linalg.solve": [(M, V), (M, N)], "np.linalg.pinv": [(M,), (TALL,), (M, {"rcond": TINY})],
    "np.linalg.tensorinv": [(M, 1)], "np.linalg.tensorsolve": [(M, V)],
    "np.linalg.inv": [(M,), (np.stack([M, N]),)], "np.linalg.det": [(M,), ([[S, R], [Q, P]],)],
    "np.fft.fftfreq": [(4, S)], "np.fft.rfftfreq": [(4, S)], "np.fft.fft": [(SIX,), (SIX, 8)],
    "np.fft.irfft": [(V,), (V, 5)], "np.fft.hfft": [(V,), (V, 5)],
    "math.dist": [(V, W), ([S, R], [Q, P])], "math.fsum": [(V,), ([S, R],)],
    "math.prod": [(V,), ([S, R],), ([1.0, 2.0], {"start": S})], "math.hypot": [(S, R)],
    "math.acosh": [(S + 1.0,)], "math.log": [(S,), (S, R)], "math.ldexp": [(S, 2)],
    "scipy.linalg.bandwidth": [(M,)], "scipy.linalg.block_diag": [(M, N)],
    "scipy.linalg.cdf2rdf": [(V + 0j, M + 0j)],
    "scipy.linalg.cho_factor": [(SPD,)], "scipy.linalg.cho_solve": [((FACTOR, True), V)],
    "scipy.linalg.cho_solve_banded": [((UPPER_BAND, False), V)],
    "scipy.linalg.cholesky": [(SPD,), (SPD, True)],
    "scipy.linalg.cholesky_banded": [(UPPER_BAND,)],
    "scipy.linalg.clarkson_woodruff_transform": [(M, 2, {"rng": 1})],
    "scipy.linalg.companion": [(V,)], "scipy.linalg.convolution_matrix": [(V, 4)],
    "scipy.linalg.cossin": [(ORTHOGONAL, 1, 2)], "scipy.linalg.diagsvd": [(V, 3, 3)],
    "scipy.linalg.eig": [(M,), (M, N)], "scipy.linalg.eig_banded": [(UPPER_BAND,)],
    "scipy.linalg.eigh": [(SPD,), (SPD, SPD + np.eye(3))],
    "scipy.linalg.eigvalsh": [(SPD,)], "scipy.linalg.eigvals_banded": [(UPPER_BAND,)],
    "scipy.linalg.eigh_tridiagonal": [(V, W[:2])],
    "scipy.linalg.eigvalsh_tridiagonal": [(V, W[:2])],
    "scipy.linalg.fractional_matrix_power": [(M, 0.5)],
    "scipy.linalg.funm": [(M, np.exp)], "scipy.linalg.lu_solve": [((LU_FACTORS, PIVOTS), V)],
    "scipy.linalg.expm": [(M,), (CUBE,)],
    "scipy.linalg.matmul_toeplitz": [(V, W), ((V, W), U)], "scipy.linalg.ordqz": [(M, N)],
    "scipy.linalg.qr_delete": [(ORTHOGONAL, UPPER, 1)],
    "scipy.linalg.qr_insert": [(ORTHOGONAL, UPPER, V, 1)],
    "scipy.linalg.qr_multiply": [(M, V)], "scipy.linalg.qr_update": [(ORTHOGONAL, UPPER, V, W)],
    "scipy.linalg.rsf2csf": [(UPPER, ORTHOGONAL)], "scipy.linalg.solve": [(M, V), (M, N)],
    "scipy.linalg.solve_banded": [((1, 1), BAND, V)],
    "scipy.linalg.solve_circulant": [(V, W)], "scipy.linalg.solveh_banded": [(UPPER_BAND, V)],
    "scipy.linalg.solve_continuous_are": [(M, N, SPD, SPD)],
    "scipy.linalg.solve_discrete_are": [(M, N, SPD, SPD)],
    "scipy.linalg.solve_sylvester": [(M, N, SPD)],
    "scipy.linalg.solve_toeplitz": [(V, W), ((V, W), U)],
    "scipy.linalg.solve_triangular": [(TRIANGLE, V, {"lower": True}), (UPPER, V)],
    "scipy.linalg.leslie": [(V, W[:2])], "scipy.linalg.lstsq": [(TALL, V)],
    "scipy.linalg.pinvh": [(SPD,)], "scipy.linalg.sqrtm": [(SPD,)],
    "scipy.linalg.toeplitz": [(V,), (V, W)], "scipy.linalg.hankel": [(V,), (V, W)],
    "scipy.special.comb": [(np.array(3.2), np.array(1.1))],
    "scipy.special.perm": [(np.array(3.2), np.array(1.1))],
    "scipy.special.factorial": [(V,)],
    "scipy.special.factorialk": [(V, 3, {"extend": "complex"})],
    "scipy.special.diric": [(V, 3)], "scipy.special.multigammaln": [(np.array(4.4), 2)],
    "scipy.special.ellip_harm": [(S + 0.0, Q, 2, 1, np.array(1.7))],
    "scipy.special.ellip_harm_2": [(np.array(5.0), np.array(8.0), 2, 1, np.array(10.0))],
    "scipy.special.ellip_normal": [(np.array(5.0), np.array(8.0), 2, 1)],
    "scipy.special.polygamma": [(1, V)], "scipy.special.logsumexp": [
        (V,), (M, 0), (V, {"b": W})],
    "scipy.special.sph_harm_y": [(2, 1, S, R)], "scipy.special.sph_harm_y_all": [(2, 1, S, R)],
    "scipy.special.lqmn": [(1, 2, S)],
                        "scipy.special.cg_roots": [(3, S)], "scipy.special.la_roots": [(3, S)],
    "scipy.special.roots_gegenbauer": [(3, S)], "scipy.special.roots_genlaguerre": [(3, S)],
    "scipy.special.j_roots": [(3, S, R)], "scipy.special.roots_jacobi": [(3, S, R)],
    "scipy.special.js_roots": [(3, S + 1, R)], "scipy.special.roots_sh_jacobi": [(3, S + 1, R)],
    "scipy.special.jacobi": [(3, S, R)], "scipy.special.sh_jacobi": [(3, S + 1, R)],
    "scipy.special.gegenbauer": [(3, S)], "scipy.special.genlaguerre": [(3, S)],
}
ONE, TWO, THREE, FOUR = ((V,), (M,), (CUBE,)), ((V, W), (M, V), (M, N)), ((V, W, U),), (
    (V, W, U, X),)
COUNTED = [tuple(args) for n in (2, 3) for args in product((V, S, 1, 2), repeat=n)
           if sum(isinstance(a, np.ndarray) for a in args) == 1]


def arguments(key: str, function: Any) -> list[list[tuple[Any, ...]]]:
    """Groups of arguments to try: of each group the first that works is taken."""
    if key in SPECIAL:
        return [[args] for args in SPECIAL[key]]
    if isinstance(function, np.ufunc):
        return ufunc_arguments(function)
    scalars = [[(S, R, Q, P)[:n]] for n in (1, 2, 3, 4)]
    arrays = [list(group) for group in (ONE, TWO, THREE, FOUR)]
    return [*arrays, *scalars]


def ufunc_arguments(f: np.ufunc) -> list[list[tuple[Any, ...]]]:
    """Vectors, beyond 1 and with integers before them where a function wants that; and numbers."""
    if f.signature is not None:
        return [[(M, N)], [(V, W), (M, V), (V, M)]]
    n = f.nin
    vectors = [V, W, U, X, V + 0.1, W + 0.1, U + 0.1][:n]
    tries: list[tuple[Any, ...]] = [tuple(vectors), tuple(v + 1.0 for v in vectors)]
    tries += [(*(range(1, k + 1)), *vectors[k:]) for k in range(1, n)]
    tries += [(*(range(k, 0, -1)), *(v + 1.0 for v in vectors[k:])) for k in range(1, n)]
    numbers: list[tuple[Any, ...]] = [
        tuple(v if isinstance(v, int) else np.array(v[0]) for v in args) for args in tries]
    return [tries, numbers]


def found_calls(key: str, function: Any) -> list[Call]:
    """The calls of a function that NumPy itself answers, as plain arrays."""
    found = []
    for group in arguments(key, function):
        calls = [call_of(key, function, args) for args in group]
        working = [c for c in calls if works(c)]
        if working:
            found.append(next((c for c in working if is_finite(c)), working[0]))
    if not found and key not in SPECIAL:  # orders and counts among the arguments
        found = [c for c in (call_of(key, function, args) for args in COUNTED) if works(c)][:2]
    special = found and any(TINY is v for c in found for v in c.kwargs.values())
    return found + [c for base in found[:not special] for c in with_options(base)]


def call_of(key: str, function: Any, args: tuple[Any, ...]) -> Call:
    kwargs = args[-1] if args and type(args[-1]) is dict else {}
    return Call(key, function, args[:-1] if kwargs else args, kwargs)


def evaluate(call: Call) -> Any:
    """The plain result."""
    args, kwargs = fresh((call.args, call.kwargs))
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(
            io.StringIO()):
        warnings.simplefilter("ignore")
        return call.function(*args, **kwargs)


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function, where Python can tell."""
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return {}


def is_number(p: inspect.Parameter) -> bool:
    """Whether an argument may be a number, and is no switch, count or choice."""
    return not isinstance(p.default, (bool, str)) and p.name not in NO_NUMBER


def parameter(call: Call, position: tuple[Any, ...]) -> str:
    """The name of the parameter that a position belongs to, if Python can tell."""
    if position[0] == 1:
        return position[1]
    listed = [] if isinstance(call.function, np.ufunc) else list(parameters(call.function))
    return listed[position[1]] if position[1] < len(listed) else ""


def tries_switch(call: Call) -> bool:
    """Whether arrays stand where a switch or a count is wanted."""
    bound = list(parameters(call.function).values())[:len(call.args)]
    return any(isinstance(a, np.ndarray) and not is_number(p)
               for a, p in zip(call.args, bound, strict=False))


def works(call: Call) -> bool:
    """Whether NumPy accepts the call."""
    if call.name not in SPECIAL and not isinstance(call.function, np.ufunc) and tries_switch(call):
        return False
    try:
        evaluate(call)
    except Exception:  # noqa: BLE001 - trying is how arguments are found
        return False
    return any(True for _ in call.positions())


def is_finite(call: Call) -> bool:
    y = evaluate(call)
    try:
        return bool(np.all(np.isfinite(np.asarray(y, complex))))
    except (TypeError, ValueError):
        return True


NO_NUMBER = {
    "out", "dtype", "like", "order", "copy", "subok", "device", "casting", "keepdims", "axis",
    "axes", "ndmin", "sparse", "mode", "method", "kind", "side", "where", "return_index",
    "requirements", "rowvar", "chunks", "signature", "key", "lower", "trans", "driver",
    "interpolation", "overwrite_input", "hermitian", "full_matrices", "compute_uv", "norm",
    "sorter", "exclude_empty", "bins", "density", "range", "UPLO", "ord", "stable", "legacy",
    "edge_order", "k", "max_ev", "select_range", "type", "permute", "scale", "workers",
    "blocksize", "disp", "variable", "ldict", "gdict", "deg", "separate", "equal_nan",
    "assume_unique", "return_inverse", "return_counts", "precision", "suppress_small",
    "max_line_width"}


def with_options(base: Call) -> Iterator[Call]:
    """The same call with one optional argument more, for those that take an array or a number."""
    known = {} if isinstance(base.function, np.ufunc) else parameters(base.function)
    taken = list(known)[:len(base.args)]
    for name, p in known.items():
        if (p.default is inspect.Parameter.empty or not is_number(p)
                or name in base.kwargs or name in taken):
            continue
        for value in (S, V, np.float64(0.61) + 2.0):
            call = Call(base.name, base.function, base.args, {**base.kwargs, name: np.array(value)})
            if works(call):
                yield call
                break
