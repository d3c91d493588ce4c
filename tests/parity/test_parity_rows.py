"""Every operation beside torch 2.13: values, gradients, second derivatives, on the row's own cases.

A row has an entry in TORCH (the torch function that takes the row's arguments and parameters) or a
reason in WITHOUT. Known differences at kinks and singular points stand in DIFFERENT, each with its
reason and its EDGE_CASES line; the test fails too if such a difference has gone.
"""

import math
import re
import warnings

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import bind
from adjoint.core.primitive import PUBLIC, REGISTRY
from adjoint.ops.cases import draw
from adjoint.ops.declare import COMPOSED
from adjoint.ops.index import filled

torch = pytest.importorskip("torch", reason="parity is against torch: python3 go.py parity")
F = torch.nn.functional
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}


# ---------------------------------------------------------------- the torch side of each row

def dims(x, axis):
    """The axes of a reduction, in full: torch takes () for all of them."""
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def reduction(f):
    """A torch reduction over axes; over none it is the identity."""
    def call(x, axis=None, keepdims=False):
        over = dims(x, axis)
        return f(x, over, keepdims) if over else x * 1
    return call


def prod(x, axis, keepdims):
    for d in sorted((a % x.ndim for a in dims(x, axis)), reverse=True):
        x = x.prod(dim=d, keepdim=keepdims)
    return x


def truth(f):
    return lambda x, axis, keepdims: f(x, dims(x, axis), keepdims) if dims(x, axis) else x.bool()


def over_axes(f):
    """softmax over several axes: they are moved to the end and joined."""
    def call(x, axis):
        over = [a % x.ndim for a in dims(x, axis)]
        if not over:
            return f(x[..., None], dim=-1)[..., 0]
        order = [a for a in range(x.ndim) if a not in over] + over
        moved = x.permute(order)
        y = f(moved.reshape(*moved.shape[:x.ndim - len(over)], -1), dim=-1).reshape(moved.shape)
        return y.permute([order.index(a) for a in range(x.ndim)])
    return call


def pad(x, width):
    flat = [n for pair in reversed(width) for n in pair]
    return F.pad(x, flat) if flat else x * 1


def key_of(key, indices):
    return tuple(torch.as_tensor(k) if isinstance(k, np.ndarray) else k
                 for k in filled(key, [i.numpy() if hasattr(i, "numpy") else i for i in indices]))


def setitem(x, v, *indices, key):
    y = x.clone()
    y[key_of(key, indices)] = v
    return y


def dot(x, z):
    if not x.ndim or not z.ndim:
        return x * z
    return torch.tensordot(x, z, ([-1], [-2 if z.ndim > 1 else -1]))


def tensordot(x, z, axes=2):
    pairs = axes if isinstance(axes, int) else tuple(
        [a] if isinstance(a, int) else list(a) for a in axes)
    return torch.tensordot(x, z, pairs)


def trace(x, offset=0, axis1=0, axis2=1):
    return x.diagonal(offset, axis1, axis2).sum(-1)


def by_position(f):
    """The torch function that has other names for our parameters, in our order."""
    return lambda x, **params: f(x, *params.values())


def cumsum(x, axis, reverse):
    return x.flip(axis).cumsum(axis).flip(axis) if reverse else x.cumsum(axis)


def recurrence(a, b, axis, reverse):
    """Step by step: torch has no row for it."""
    a, b = (v.movedim(axis, 0) for v in (a, b))
    y, out = None, []
    for k in reversed(range(len(b))) if reverse else range(len(b)):
        y = b[k] if y is None else a[k] * y + b[k]
        out.append(y)
    y = torch.stack(out[::-1] if reverse else out) if out else b * 1.0
    return y.movedim(0, axis)


def sort(x, axis, descending):
    return torch.sort(x, dim=axis, descending=descending, stable=True).values


def spread(f):
    """var and std: torch counts (), the axes of none, as all."""
    def call(x, axis, ddof, keepdims):
        over = dims(x, axis)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "var|std", UserWarning)  # of no degree of freedom
            if over:
                return f(x, dim=over, correction=ddof, keepdim=keepdims)
            return f(x[..., None], dim=-1, correction=ddof)
    return call


def lined_up(f):
    """What torch does along one axis, over several: they are moved to the end and joined."""
    def call(x, *args, axis=None, keepdims=False, **more):
        over = [a % x.ndim for a in dims(x, axis)]
        rest = [a for a in range(x.ndim) if a not in over]
        moved = x.permute(rest + over).reshape((*(x.shape[a] for a in rest), -1))
        y = f(moved.double() if not moved.is_floating_point() else moved, *args, **more)
        shape = [1 if a in over else n for a, n in enumerate(x.shape)] if keepdims else [
            x.shape[a] for a in rest]
        return y.reshape((*y.shape[:y.ndim - len(rest)], *shape))
    return call


def quantile(skipping=False, whole=1.0):
    f = torch.nanquantile if skipping else torch.quantile

    def along_last(x, q, method="linear"):
        q = torch.as_tensor(q, dtype=x.dtype) / whole
        y = f(x, q.reshape(-1), dim=-1, interpolation=method)
        return y.reshape((*q.shape, *y.shape[1:]))
    return lined_up(along_last)


def quantile_of(q, skipping=False):
    found = quantile(skipping)
    return lambda x, axis=None, keepdims=False: found(x, q, axis=axis, keepdims=keepdims)


def without_nan(f, instead):
    """The other reductions that skip NaN: torch has none, where() has the gradient."""
    return lambda x, axis=None, keepdims=False: f(
        torch.where(x.isnan(), instead, x), axis=axis, keepdims=keepdims)


def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None):
    m = torch.atleast_2d(m)
    m = m if rowvar or len(m) == 1 else m.T
    m = m if y is None else torch.cat([m, torch.atleast_2d(y)])
    found = torch.cov(
        m, correction=(0 if bias else 1) if ddof is None else ddof,
        fweights=None if fweights is None else torch.as_tensor(fweights),
        aweights=None if aweights is None else torch.as_tensor(aweights, dtype=m.dtype))
    return found[0, 0] if found.shape == (1, 1) else found


def corrcoef(x, y=None, rowvar=True):
    x = x if rowvar else x.T
    return torch.corrcoef(x if y is None else torch.stack([x, y]))


def convolve(x, z, mode):
    short, long = sorted((x, z), key=len)
    edge = len(short) - 1 if mode == "full" else 0
    return F.conv1d(long[None, None], short.flip(0)[None, None], padding=edge)[0, 0]


def average(x, axis=None, weights=None, keepdims=False):
    if weights is None:
        return TORCH["mean"](x, axis=axis, keepdims=keepdims)
    w = torch.as_tensor(weights, dtype=x.dtype)
    w = w if axis is None or w.ndim == x.ndim else w.reshape(
        tuple(n if a in dims(x, axis) else 1 for a, n in enumerate(x.shape)))
    over = dims(x, axis)
    return (x * w).sum(over, keepdim=keepdims) / w.expand(x.shape).sum(over, keepdim=keepdims)


def diff(x, n=1, axis=-1, prepend=None, append=None):
    around = [None if v is None else torch.atleast_1d(torch.as_tensor(v, dtype=x.dtype))
              for v in (prepend, append)]
    return torch.diff(x, n, axis, *around)


def ediff1d(x, to_end=None, to_begin=None):
    around = [() if v is None else (torch.atleast_1d(torch.as_tensor(v, dtype=x.dtype)),)
              for v in (to_begin, to_end)]
    return torch.cat([*around[0], torch.diff(x.reshape(-1)), *around[1]])


def trapezoid(y, x=None, dx=1.0, axis=-1):
    if x is None:
        return torch.trapezoid(y, dx=dx, dim=axis)
    return torch.trapezoid(y, x.movedim(axis, -1) if x.ndim > 1 else x, dim=axis) if (
        x.ndim == 1) else torch.trapezoid(y.movedim(axis, -1), x.movedim(axis, -1))


TORCH = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply,
    "divide": torch.divide, "negative": torch.negative, "positive": torch.positive,
    "power": torch.pow, "square": torch.square, "sqrt": torch.sqrt, "reciprocal": torch.reciprocal,
    "abs": torch.abs, "sign": torch.sign, "remainder": torch.remainder,
    "floor_divide": lambda x, z: torch.div(x, z, rounding_mode="floor"),
    "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "log": torch.log,
    "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p, "logaddexp": torch.logaddexp,
    "sigmoid": torch.sigmoid, "log_sigmoid": F.logsigmoid, "softplus": F.softplus,
    "less": torch.less, "less_equal": torch.less_equal, "greater": torch.greater,
    "greater_equal": torch.greater_equal, "equal": torch.eq, "not_equal": torch.not_equal,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor, "logical_not": torch.logical_not,
    "isfinite": torch.isfinite, "isnan": torch.isnan, "isinf": torch.isinf,
    "signbit": torch.signbit, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc,
    "rint": torch.round, "where": lambda c, x, z: torch.where(c.bool(), x, z),
    "maximum": torch.maximum, "minimum": torch.minimum, "relu": F.relu,
    "stop_gradient": torch.Tensor.detach, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "arcsin": torch.arcsin, "arccos": torch.arccos, "arctan": torch.arctan,
    "arctan2": torch.arctan2, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "arcsinh": torch.arcsinh, "arccosh": torch.arccosh, "arctanh": torch.arctanh,
    "cast": lambda x, dtype: x.to(getattr(torch, str(dtype))),
    "cast_to_discrete": lambda x, dtype: x.to(getattr(torch, str(dtype))),
    "reshape": lambda x, shape: x.reshape(shape), "transpose": lambda x, axes: x.permute(axes),
    "broadcast_to": lambda x, shape: x.broadcast_to(shape),
    "sum_to": lambda x, shape: x.sum_to_size(shape) if shape else x.sum(),
    "concatenate": lambda *xs, axis: torch.cat(xs, dim=axis), "pad": pad,
    "getitem": lambda x, *indices, key: x[key_of(key, indices)], "setitem": setitem,
    "linear": F.linear, "matmul": torch.matmul,
    "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "sum": reduction(lambda x, d, k: x.sum(dim=d, keepdim=k)),
    "mean": reduction(lambda x, d, k: x.mean(dim=d, keepdim=k)), "prod": prod,
    "max": reduction(lambda x, d, k: x.amax(dim=d, keepdim=k)),
    "min": reduction(lambda x, d, k: x.amin(dim=d, keepdim=k)),
    "argmax": lambda x, axis, keepdims: x.argmax(dim=axis, keepdim=keepdims),
    "argmin": lambda x, axis, keepdims: x.argmin(dim=axis, keepdim=keepdims),
    "all": truth(lambda x, d, k: torch.all(x, dim=d, keepdim=k)),
    "any": truth(lambda x, d, k: torch.any(x, dim=d, keepdim=k)),
    "logsumexp": reduction(lambda x, d, k: x.logsumexp(dim=d, keepdim=k)),
    "softmax": over_axes(torch.softmax), "log_softmax": over_axes(torch.log_softmax),
    "dot": dot, "tensordot": tensordot, "inner": torch.inner, "trace": trace,
    "outer": lambda x, z: torch.outer(x.reshape(-1), z.reshape(-1)),
    "clip": lambda x, min=None, max=None: torch.clamp(x, min, max),
    # special.py
    "hypot": torch.hypot, "logaddexp2": torch.logaddexp2, "xlogy": torch.xlogy,
    "xlog1py": torch.special.xlog1py, "logit": torch.logit, "sinc": torch.sinc, "erf": torch.erf,
    "erfc": torch.erfc, "gammaln": torch.lgamma, "digamma": torch.digamma,
    "polygamma": lambda x, order: torch.polygamma(order, x),
    "fmod": torch.fmod, "ldexp": torch.ldexp, "fmax": torch.fmax, "fmin": torch.fmin,
    "copysign": torch.copysign, "nan_to_num": torch.nan_to_num,
    "frexp_exponent": lambda x: torch.frexp(x * 1.0).exponent,
    # activation.py
    "hardtanh": by_position(F.hardtanh),
    "leaky_relu": by_position(F.leaky_relu),
    "threshold": by_position(F.threshold),
    "softshrink": by_position(F.softshrink),
    "hardshrink": by_position(F.hardshrink),
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # torch's own has no second derivative
    "hardswish": F.hardswish, "silu": F.silu, "mish": F.mish, "gelu": F.gelu,
    "tanhshrink": F.tanhshrink,
    "elu": by_position(torch.ops.aten.elu),
    # scans.py, sorting.py, statistics.py, series.py
    "cumsum": cumsum, "cumprod": by_position(torch.cumprod), "linear_recurrence": recurrence,
    "cummax": by_position(lambda x, d: x.cummax(d).values),
    "cummin": by_position(lambda x, d: x.cummin(d).values),
    "sort": sort, "argsort": lambda x, axis, descending: torch.argsort(
        x, dim=axis, descending=descending, stable=True),
    "order_statistics": lambda x, ranks: torch.sort(x, dim=-1).values[..., list(ranks)],
    "median": quantile_of(0.5), "nanmedian": quantile_of(0.5, skipping=True),
    "quantile": quantile(), "percentile": quantile(whole=100.0),
    "nanquantile": quantile(skipping=True), "nanpercentile": quantile(skipping=True, whole=100.0),
    "searchsorted": lambda a, v, side: torch.searchsorted(
        a, v.to(a.dtype).contiguous(), side=side),
    "var": spread(torch.var), "std": spread(torch.std), "average": average,
    "ptp": lambda x, axis=None, keepdims=False: x.amax(dims(x, axis), keepdims) - x.amin(
        dims(x, axis), keepdims),
    "nansum": reduction(lambda x, d, k: x.nansum(dim=d, keepdim=k)),
    "nanmean": reduction(lambda x, d, k: x.nanmean(dim=d, keepdim=k)),
    "nanprod": without_nan(prod, 1.0),
    "nanmax": without_nan(reduction(lambda x, d, k: x.amax(dim=d, keepdim=k)), -math.inf),
    "nanmin": without_nan(reduction(lambda x, d, k: x.amin(dim=d, keepdim=k)), math.inf),
    "diff": diff, "ediff1d": ediff1d, "trapezoid": trapezoid, "cov": cov, "corrcoef": corrcoef,
    "convolve": convolve,
}
BITS = "integers only, whose dtypes differ between the two; values are compared in test_rows"
WITHOUT = {
    "bitwise_and": BITS, "bitwise_or": BITS, "bitwise_xor": BITS, "invert": BITS,
    "annihilate": "the product with which a zero cancels infinity; torch has IEEE's",
    "cbrt": "torch has no cube root of negative numbers",
    "checkpoint": "holds a function; tests/transforms compare it with the function itself",
    **dict.fromkeys(("cond", "scan", "while_loop"),
                    "holds functions; tests/transforms/test_control.py compares it with Python"),
    "random_uniform": "another generator; tests/test_random.py has Philox's published words",
    "special._leg": "a part of hypot's derivative, which hypot compares at second order",
    "special._turn": "a part of arctan2's derivative, which arctan2 compares at second order",
    "special._share": "the slope of softplus, which softplus compares at second order",
    "item": "picks one of several outputs: structure, not arithmetic",
    "conjugate": "complex: PyTorch's convention is compared in tests/ops/test_complex.py",
    "imag": "complex, as conjugate",
    "real": "complex, as conjugate",
    "getitem_transpose": "in torch only as the backward of indexing, which getitem compares",
    "heaviside": "torch has no derivative of it; tests/ops/test_special.py says what ours is",
    "interp": "torch has none",
    "modified_bessel": "torch has the orders 0 and 1; tests/ops/test_special.py compares SciPy's",
    "nanstd": "torch has none; it is the root of nanvar, and std where there is no NaN",
    "nanvar": "torch has none; tests/ops/test_statistics.py compares NumPy's",
    "sinc_derivative": "in torch only as the backward of sinc, which is compared",
    "unwrap_shift": "torch has none; a constant",
}
SINGULAR = "the first derivative is infinite; the second is NaN here, an infinity in torch"
# {(row, domain): what is different}. Some case of that domain must differ, or the entry is stale.
DIFFERENT = {
    ("clip", "kink"): "at the bound ties share equally, 0.5; torch 1",
    ("power", "singular"): "x**0 and 0**z at 0 are flat: 0; torch has NaN or inf in the second",
    ("logaddexp", "singular"): "of (-inf, -inf) 0, 0; torch NaN",
    ("logsumexp", "singular"): "of [-inf, -inf] 0, 0, of [inf, 0] 1, 0; torch NaN",
    ("arccosh", "singular"): SINGULAR,
    ("arctan2", "singular"): "first 0 in both; the second at the origin is inf here, NaN in torch",
}
FLAT = "at (0, the edge) both partials are 0; torch NaN in the second"
DIFFERENT |= {
    ("divide", "singular"): "of a number by 0 an infinite second derivative; torch NaN",
    ("copysign", "kink"): "the second derivative at 0 is 0; torch NaN",
    ("hypot", "kink"): "at the origin 0, 0; torch NaN",
    ("logaddexp2", "singular"): "of (-inf, -inf) 0, 0; torch NaN",
    ("xlogy", "singular"): FLAT, ("xlog1py", "singular"): FLAT,
    ("fmax", "kink"): "ties share equally, 0.5; torch 1, 0",
    ("fmin", "kink"): "ties share equally, 0.5; torch 1, 0",
    ("cummax", "kink"): "elements that tie share equally; torch has the last of them",
    ("elu", "kink"): "the second derivative at 0 is that of the side whose slope it has; torch 0",
    ("std", "kink"): "of equal numbers 0 exactly; torch divides by the rounding of their mean",
}
BESIDE = ("an integer beside an index array counts as one (NumPy), so that the indexed axis comes "
          "first; torch leaves it in its place")
LAST = (BESIDE + "; of several values written to one place the last gets the gradient, in torch "
        "each; a float written into integers makes floats, where torch truncates it")
# {row: (which regular cases, what is different)}. Some such case must differ.
DIFFERENT_CASES = {
    "getitem": (lambda c: mixed(c.params["key"]), BESIDE),
    "setitem": (lambda c: mixed(c.params["key"]) or repeated(c.args[2:])
                or np.asarray(c.args[0]).dtype.kind == "i", LAST),
    "gelu": (lambda c: np.any(c.args[0] < -5.0), "exact in the lower tail; torch adds 1 and erf"),
    "mish": (lambda c: np.any(np.abs(c.args[0]) > 700.0), "torch's second derivative is NaN there"),
    "sinc": (lambda c: np.any(np.abs(c.args[0]) < 0.05),
             "exact near 0; torch has the difference of two nearly equal numbers"),
    "reciprocal": (lambda c: c.args[0].dtype.kind == "i", "of integers: NumPy's integers"),
}


def mixed(key):
    """An integer and an index array with a slice between them."""
    kinds = ["slice" if isinstance(k, slice) else "number" for k in key if k is not None]
    return kinds[:1] == ["number"] and "slice" in kinds and kinds[-1:] == ["number"]


def repeated(indices):
    """An index that names a place twice."""
    return len(indices) == 1 and len(np.unique(indices[0])) < np.size(indices[0])


INDEXING = ("getitem", "setitem")
PRODUCTS = ("convolve", "linear", "matmul", "dot", "einsum", "inner", "tensordot")
# What torch refuses on the row's cases, and so is not compared.
REFUSED = {
    "quantile": "interpolation must be one of",
    "getitem": "step must be greater than zero",
    "setitem": "step must be greater than zero|cannot be broadcast to indexing result",
}


# ---------------------------------------------------------------- one call in both

def rows():
    """Every row and composed operation that `import adjoint` enters."""
    return [*REGISTRY, *(n for n, c in COMPOSED.items()
                         if c.decompose.__module__.startswith("adjoint.ops"))]


def apply(name, args, params):
    return PUBLIC[name](*args, **params) if name in COMPOSED else bind(REGISTRY[name], args, params)


def cases_of(name):
    return (COMPOSED[name] if name in COMPOSED else REGISTRY[name]).cases(np.random.default_rng(7))


def is_float(a):
    return isinstance(a, (np.ndarray, np.generic, float)) and np.asarray(a).dtype.kind == "f"


def in_dtype(a, dtype):
    return np.asarray(a).astype(dtype)[()] if is_float(a) else a


def ours(name, args, params, w, u):
    """Value, gradients and second derivatives here."""
    xs = [ad.tensor(a, requires_grad=True) if is_float(a) else a for a in args]
    y = apply(name, xs, params)
    leaves = [x for x in xs if isinstance(x, ad.Tensor)]
    value = np.asarray(y.detach().numpy() if isinstance(y, ad.Tensor) else y)
    if not isinstance(y, ad.Tensor) or not y.requires_grad:
        return value, [None] * len(leaves), [None] * len(leaves)
    y.backward(w(value), create_graph=True)
    first = [x.grad for x in leaves]
    for x in leaves:
        x.grad = None
    total = 0.0
    for g in first:
        total = total if g is None else total + (g * u(g.shape, g.dtype)).sum()
    if isinstance(total, ad.Tensor) and total.requires_grad:
        total.backward()
    return value, [array(g) for g in first], [array(x.grad) for x in leaves]


def theirs(name, args, params, w, u, known):
    """The same in torch."""
    xs = []
    for a in args:
        t = torch.tensor(np.ascontiguousarray(a).reshape(np.shape(a)))
        if is_float(a):
            t.requires_grad_()
        elif known.kind == "f" and name not in INDEXING and t.dtype != torch.bool:
            t = t.double()
        xs.append(t)
    leaves = [x for x in xs if x.requires_grad]
    if name in PRODUCTS:  # torch's products refuse operands of two dtypes
        xs = [x.to(getattr(torch, str(known))) for x in xs]
    y = TORCH[name](*xs, **params)
    value = y.detach().numpy()
    if not y.requires_grad:
        return value, [None] * len(leaves), [None] * len(leaves)
    first = torch.autograd.grad(y, leaves, torch.as_tensor(w(value)), create_graph=True,
                                allow_unused=True)
    total = 0.0
    for g in first:
        total = total if g is None else total + (
            g * torch.as_tensor(u(tuple(g.shape), str(g.dtype)[6:]))).sum()
    second = [None] * len(leaves)
    if isinstance(total, torch.Tensor) and total.requires_grad:
        second = torch.autograd.grad(total, leaves, allow_unused=True)
    return value, [array(g) for g in first], [array(g) for g in second]


def array(g):
    if g is None:
        return None
    return g.detach().numpy() if isinstance(g, ad.Tensor) else g.detach().numpy(force=True)


def random_like(seed):
    """The same random numbers for one shape, in both libraries."""
    return lambda shape, dtype: np.asarray(
        draw(np.random.default_rng(seed), tuple(shape)), dtype=dtype)


def both(name, case, dtype):
    """(ours, theirs) for a case in a dtype; None where torch refuses it."""
    args = [in_dtype(a, dtype) for a in case.args]
    cotangent = random_like(1)

    def w(value):
        return cotangent(value.shape, value.dtype)
    u = random_like(2)
    mine = ours(name, args, case.params, w, u)
    try:
        other = theirs(name, args, case.params, w, u, mine[0].dtype)
    except (ValueError, RuntimeError) as e:
        if name in REFUSED and re.search(REFUSED[name], str(e)):
            return None
        raise
    return mine, other


def disagreement(mine, other, dtype):
    """What differs first, in words; None if nothing does."""
    rtol = TOLERANCE[dtype]
    known = [a for a in (other[0], *other[1], *other[2]) if a is not None]
    scale = max(np.max(np.abs(a[np.isfinite(a)]), initial=1e-30) for a in known)
    for what, a, b in (("value", [mine[0]], [other[0]]), ("gradient", mine[1], other[1]),
                       ("second derivative", mine[2], other[2])):
        for k, (x, z) in enumerate(zip(a, b, strict=True)):
            if x is None and z is None:
                continue
            x = np.zeros_like(z) if x is None else x
            z = np.zeros_like(x) if z is None else z
            if x.shape != z.shape or not np.allclose(x, z, rtol, rtol * scale, equal_nan=True):
                return f"{what} {k}: ours {x!r}, torch {z!r}"
    return None


# ---------------------------------------------------------------- the tests

def test_every_row_is_compared_or_has_a_reason():
    listed = set(TORCH) | set(WITHOUT)
    assert not set(TORCH) & set(WITHOUT)
    own = {name for name in rows() if name.startswith("linalg.")}  # test_parity_linalg.py
    assert set(rows()) - own == listed, (set(rows()) - own) ^ listed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(TORCH))
def test_row(name, dtype):
    compared, differing = 0, []
    apart, reason = DIFFERENT_CASES.get(name, (lambda c: False, ""))
    for case in cases_of(name):
        if case.domain != "regular":
            continue
        pair = both(name, case, dtype)
        if pair is None:
            continue
        compared += 1
        found = disagreement(*pair, dtype)
        if apart(case):
            differing.append(found)
            continue
        assert found is None, f"{name}{case.args} {case.params}: {found}"
    assert compared >= 3
    assert any(differing) == bool(reason), f"{name} agrees with torch now: {reason}"


@pytest.mark.parametrize("name", sorted(TORCH))
def test_kinks_and_singular_points(name):
    for domain in ("kink", "singular"):
        special = [c for c in cases_of(name) if c.domain == domain]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            found = [disagreement(*both(name, c, "float64"), "float64") for c in special]
        found = [f for f in found if f]
        if (name, domain) in DIFFERENT:
            assert found, f"{name} agrees with torch now ({domain}): {DIFFERENT[name, domain]}"
        else:
            assert not found, f"{name}, {domain}: {found[0]}"
