"""What NumPy and Python offer beside functions: methods, operators, keywords, draws, built-ins."""

from __future__ import annotations

import copy
import decimal
import fractions
import inspect
import itertools
import json
import math
import operator
import pickle
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from catalogue import (
    MASK,
    SPACES,
    Call,
    M,
    N,
    Q,
    R,
    S,
    V,
    W,
    evaluate,
    found_calls,
    names,
    works,
)

GRADIENT, CONSTANT, ERROR, PYTHON = "gradient", "constant", "error", "error of Python"
UFUNCS = sorted({f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc)
                 and f.signature is None and f.nout == 1}.items())


def ufunc_methods() -> Iterator[Call]:
    """reduce, accumulate, outer, reduceat and at of every ufunc."""
    for name, f in UFUNCS:
        tries: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
            ("at", (V, [0, 2]), {})] if f.nin == 1 else [
            ("reduce", (V,), {}), ("reduce", (M, 0), {}), ("reduce", (V,), {"initial": S}),
            ("reduce", (V,), {"where": MASK, "initial": S}),
            ("accumulate", (V,), {}), ("outer", (V, W), {}), ("reduceat", (V, [0, 2]), {}),
            ("at", (V, [0, 2], W[:2]), {})]
        for method, args, kwargs in tries:
            call = Call(f"np.{name}.{method}", getattr(f, method), args, kwargs)
            if works(call):
                yield call


def ufunc_keywords() -> Iterator[Call]:
    """out=, where= and dtype= of every ufunc, and out= of every function that has it."""
    for name, f in UFUNCS:
        if f.nin > 2:
            continue
        args = (V, W)[:f.nin]
        for kwargs in ({"out": np.ones(3)}, {"out": np.ones(3), "where": MASK}, {"dtype": float}):
            call = Call(f"np.{name}(..., {', '.join(kwargs)})", f, args, kwargs)
            if works(call):
                yield call
    for space in ("np", "np.linalg", "np.fft"):
        for name in names(SPACES[space]):
            f = getattr(SPACES[space], name)
            if not isinstance(f, np.ufunc) and takes_out(f):
                for base in found_calls(f"{space}.{name}", f)[:1]:
                    y = evaluate(base)
                    if isinstance(y, (np.ndarray, np.floating)):
                        call = Call(f"{base.name}(..., out)", f, base.args,
                                    {**base.kwargs, "out": np.ones_like(y)})
                        if works(call):
                            yield call


def takes_out(f: Any) -> bool:
    try:
        return "out" in inspect.signature(f).parameters
    except (ValueError, TypeError):
        return False


def written(write: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A write into an array, as a function of what is written."""
    def f(z: Any) -> Any:
        a = V.copy()
        write(a, z)
        return a
    return f


WRITES = {
    "a[0] = t": (lambda a, z: operator.setitem(a, 0, z), S),
    "a[:] = t": (lambda a, z: operator.setitem(a, slice(None), z), W),
    "a[:] = [t, u]": (lambda a, z: operator.setitem(a, slice(0, 2), [z, z]), S),
    "a[mask] = t": (lambda a, z: operator.setitem(a, MASK, z), S),
    "a.fill(t)": (lambda a, z: a.fill(z), S), "a.put(i, t)": (lambda a, z: a.put([0], z), S),
    "a.flat = t": (lambda a, z: setattr(a, "flat", z), W),
    "a.flat[0] = t": (lambda a, z: operator.setitem(a.flat, 0, z), S),
    "a.real = t": (lambda a, z: setattr(a, "real", z), W)}
METHODS = {
    "a.dot(t)": (V.dot, W), "a.clip(t, u)": (lambda z: V.clip(z, 0.9), S),
    "a.searchsorted(t)": (V.searchsorted, S),
    "a.choose([t, u])": (lambda z: np.array([0, 1, 0]).choose([z, z]), W),
    "a.sum(initial=t)": (lambda z: V.sum(initial=z), S),
    "a.max(initial=t)": (lambda z: V.max(initial=z), S),
    "a.compress(t)": (V.compress, W),
    "a.take(t)": (lambda z: np.ones(3).take(z), S), "a[t > 0]": (lambda z: V[z > 0.3], W)}
OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "floordiv": "//", "mod": "%",
    "matmul": "@", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
IN_PLACE = {f"i{name}": f"{OPERATORS[name]}=" for name in (
    "add", "sub", "mul", "truediv", "pow", "floordiv", "mod", "matmul")}


def array_methods() -> Iterator[Call]:
    """ndarray methods and operators with a tracked operand, on both sides and in place."""
    for name, (write, z) in WRITES.items():
        yield Call(name, written(write), (z,))
    for name, (method, z) in METHODS.items():
        chosen = name in ("a[t > 0]", "a.searchsorted(t)")
        call = Call(name, method, (z,), {}, frozenset([CONSTANT, ERROR]) if chosen else None)
        if works(call):
            yield call
    for name, sign in OPERATORS.items():
        f = getattr(operator, name)
        for a, z in ((V, W), (M, N), (V, S)):
            for call in (Call(f"a {sign} t", lambda z, f=f, a=a: f(a.copy(), z), (z,)),
                         Call(f"t {sign} a", lambda z, f=f, a=a: f(z, a.copy()), (z,))):
                if works(call):
                    yield call
    for name, sign in IN_PLACE.items():
        f = getattr(operator, name)
        allowed = frozenset([CONSTANT, ERROR]) if name == "ifloordiv" else None
        for a, z in ((V, W), (M, N), (V, S)):
            call = Call(f"a {sign} t", lambda z, f=f, a=a: f(a.copy(), z), (z,), {}, allowed)
            if works(call):
                yield call


DRAWS: dict[str, list[tuple[Any, ...]]] = {
    "choice": [(V,), (3, 2, True, V / V.sum())], "dirichlet": [(V,)], "shuffle": [(V,)],
    "multinomial": [(5, V / V.sum())], "multivariate_normal": [(V, np.eye(3)), (V, M @ M.T)],
    "permutation": [(V,)], "permuted": [(V,)], "binomial": [(5, S)], "uniform": [(S, Q)],
    "negative_binomial": [(5, S)], "triangular": [(R, S, Q)], "normal": [(S, Q), (V, W)],
    "hypergeometric": [], "multivariate_hypergeometric": [], "integers": [(np.array(1.0), S + 9)],
    "randint": [(np.array(1.0), S + 9)], "random_integers": [(np.array(1.0), S + 9)]}
NOT_DRAWS = {"bytes", "seed", "get_state", "set_state", "bit_generator", "spawn", "rand", "randn",
             "random", "random_sample", "ranf", "sample", "standard_normal", "standard_exponential",
             "standard_cauchy", "power", "hypergeometric", "multivariate_hypergeometric",
             "tomaxint"}


def draws() -> Iterator[Call]:
    """The methods of a Generator and of a RandomState with tracked parameters."""
    for title, make in (("rng", np.random.default_rng), ("np.random", np.random.RandomState)):
        for name in sorted(n for n in dir(make(1)) if not n.startswith("_")):
            if name in NOT_DRAWS:
                continue

            def draw(*args: Any, make: Any = make, name: str = name) -> Any:
                y = getattr(make(1), name)(*args)
                return args[0] if y is None else y
            tries = DRAWS.get(name, [(S + 1,), (S + 1, R), (S + 1, R, Q), (V + 1,), (V + 1, W)])
            for args in tries:
                call = Call(f"{title}.{name}", draw, args)
                if works(call):
                    yield call


# ---- Python

def number(x: Any) -> Any:
    """A plain number for a 0-d array, which Python's functions do not all take."""
    return x.item() if isinstance(x, np.ndarray) else x


def numbers(f: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    return lambda xs: f([number(x) for x in xs])


SECTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], set[str]]] = {
    "float(t)": (float, (S,), {ERROR}), "int(t)": (int, (S,), {ERROR}),
    "complex(t)": (complex, (S,), {ERROR}), "math.trunc(t)": (
        lambda x: math.trunc(number(x)), (S,), {ERROR}),
    "math.floor(t)": (math.floor, (S,), {ERROR}), "round(t)": (
        lambda x: 1.0 * round(number(x)), (S,), {CONSTANT, GRADIENT}),
    "round(t, 1)": (lambda x: round(number(x), 1), (S,),
                    {CONSTANT, GRADIENT}),
    "abs(t)": (abs, (V,), {GRADIENT}), "pow(t, 2)": (lambda x: pow(x, 2), (V,), {GRADIENT}),
    "divmod(t, u)": (divmod, (V, W), {GRADIENT, CONSTANT, ERROR}),
    "sum([t, u])": (sum, ([S, R, Q],), {GRADIENT}),
    "max([t, u])": (max, ([S, R, Q],), {GRADIENT, CONSTANT}),
    "min([t, u])": (min, ([S, R, Q],), {GRADIENT, CONSTANT}), "max(t)": (max, (V,), {GRADIENT}),
    "sorted([t, u])": (sorted, ([S, R, Q],), {GRADIENT}), "sorted(t)": (sorted, (V,), {GRADIENT}),
    "list(t)": (list, (V,), {GRADIENT}), "tuple(t)": (tuple, (V,), {GRADIENT}),
    "reversed(t)": (lambda x: list(reversed(x)), (V,), {GRADIENT}),
    "zip(t, u)": (lambda x, z: list(zip(x, z, strict=True)), (V, W), {GRADIENT}),
    "map(f, t)": (lambda x: list(map(np.sin, x)), (V,), {GRADIENT}),
    "functools.reduce": (lambda x: sum(itertools.accumulate(x)), (V,), {GRADIENT}),
    "math.prod([t, u])": (math.prod, ([S, R, Q],), {GRADIENT}),
    "math.fsum([t, u])": (math.fsum, ([S, R],), {ERROR}),
    "all(t)": (all, (V,), {CONSTANT}), "any(t)": (any, (V,), {CONSTANT}),
    "bool(t)": (bool, (S,), {CONSTANT}), "len(t)": (len, (V,), {CONSTANT}),
    "u in t": (lambda x: 0.57 in x, (V,), {CONSTANT}),
    "t in [t, u]": (lambda x: x in [1.0, 2.0], (S,), {CONSTANT}),
    "format(t)": (lambda x: f"{number(x):.3f}", (S,),
                  {CONSTANT}),
    "'%f' % t": (lambda x: "%f" % x, (S,), {ERROR}),  # noqa: UP031 - a way out
    "'%d' % t": (lambda x: "%d" % x, (S,), {ERROR}),  # noqa: UP031 - a way out
    "str(t)": (lambda x: len(str(x)) > 0, (S,), {CONSTANT}),
    "t.item()": (lambda x: x.item(), (S,), {CONSTANT}),
    "t.tolist()": (lambda x: x.tolist(), (V,), {CONSTANT}),
    "hash(t)": (lambda x: isinstance(hash(x) if not isinstance(x, np.ndarray) else 1, int), (S,),
                {CONSTANT}),
    "range(t)": (lambda x: list(range(1 if isinstance(x, np.ndarray) else x)), (S,), {ERROR}),
    "[1, 2][t]": (lambda x: [1, 2][1 if isinstance(x, np.ndarray) else x], (S,), {ERROR}),
    "copy.copy(t)": (copy.copy, (V,), {GRADIENT, ERROR}),
    "copy.deepcopy(t)": (copy.deepcopy, (V,), {ERROR, GRADIENT}),
    "pickle.dumps(t)": (lambda x: len(pickle.dumps(x)) > 0, (V,), {ERROR, CONSTANT}),
    "json.dumps(t)": (lambda x: json.dumps(1 if isinstance(x, np.ndarray) else x), (S,),
                      {PYTHON}),
    "np.multiply(masked, t)": (lambda x: np.multiply(np.ma.array(V, mask=[0, 1, 0]), x), (W,),
                               {ERROR}),
    "fractions.Fraction(t)": (
        lambda x: fractions.Fraction(1 if isinstance(x, np.ndarray) else x), (S,),
        {PYTHON, ERROR}),
    "decimal.Decimal(t)": (lambda x: decimal.Decimal(1 if isinstance(x, np.ndarray) else x),
                           (S,), {PYTHON, ERROR}),
    "statistics.mean([t, u])": (numbers(statistics.mean), ([S, R, Q],), {ERROR, PYTHON}),
    "statistics.fmean([t, u])": (numbers(statistics.fmean), ([S, R, Q],), {ERROR}),
    "statistics.median([t, u])": (numbers(statistics.median), ([S, R, Q],), {GRADIENT, CONSTANT}),
    "statistics.stdev([t, u])": (numbers(statistics.stdev), ([S, R, Q],), {ERROR, PYTHON}),
    "np.vectorize(f)(t)": (np.vectorize(lambda v: v * 2.0), (V,), {ERROR}),
    "np.frompyfunc(f)(t)": (np.frompyfunc(lambda v: v * 2.0, 1, 1), (V,), {ERROR}),
    "np.array([t, u], dtype=object)": (lambda x: np.array([x, 1.0], dtype=object), (S,), {ERROR}),
    "np.fromiter([t, u])": (lambda x: np.fromiter([x, x], float), (S,), {ERROR}),
    "np.r_[t, u]": (lambda x: np.r_[x, x], (V,), {ERROR, GRADIENT}),
    "np.c_[t, u]": (lambda x: np.c_[x, x], (V,), {ERROR, GRADIENT}),
    "np.ma.array(t)": (lambda x: np.ma.array(x, mask=[0, 1, 0]).sum(), (V,), {ERROR}),
    "np.ma.masked_array * t": (lambda x: np.ma.array(V, mask=[0, 1, 0]) * x, (W,), {ERROR}),
    "np.matrix * t": (lambda x: np.matrix(M) * x, (N,), {ERROR}),
    "np.float64(2) * t": (lambda x: np.float64(2.0) * x, (V,), {GRADIENT}),
    "np.nditer([t, u])": (lambda x: [float(a) for a in np.nditer(x)], (V,), {ERROR}),
    "np.poly1d(c)(t)": (np.poly1d([1.0, 2.0, 3.0]), (V,), {GRADIENT, ERROR}),
    "str.join": (lambda x: ",".join(f"{float(v) if isinstance(v, np.ndarray) else v.item():.2f}"
                                    for v in x), (V,), {CONSTANT}),
}

LINES: dict[str, str] = {  # what to write instead, where the call has no function of its own
    "a[0] = t": "a = ad.setitem(a, 0, t)", "a[:] = t": "a = ad.setitem(a, slice(None), t)",
    "a[:] = [t, u]": "a = ad.setitem(a, slice(0, 2), ad.array([t, t]))",
    "a[mask] = t": "a = ad.setitem(a, mask, t)", "a.fill(t)": "a = ad.full(a.shape, t)",
    "a.put(i, t)": "a = ad.setitem(a, 0, t)", "a.flat = t": "a = np.reshape(t, a.shape)",
    "a.flat[0] = t": "a = ad.setitem(a, 0, t)", "a.real = t": "a = t",
    "a.dot(t)": "np.dot(a, t)", "a.clip(t, u)": "np.clip(a, t, 0.9)",
    "a.searchsorted(t)": "np.searchsorted(a, t)",
    "a.choose([t, u])": "np.choose([0, 1, 0], [t, t])",
    "a.sum(initial=t)": "np.sum(a) + t", "a.max(initial=t)": "np.maximum(np.max(a), t)",
    "a.compress(t)": "np.compress(t != 0, a)",
    **{f"a {sign} t": f"a = a {sign[:-1]} t" for sign in IN_PLACE.values()},
    "float(t)": "t.item()", "int(t)": "int(t.item())", "complex(t)": "t.astype(complex)",
    "math.trunc(t)": "ad.trunc(t)", "math.floor(t)": "ad.floor(t)", "math.fsum([t, u])": "sum(ts)",
    "'%f' % t": "f'{t:f}'", "'%d' % t": "f'{t:.0f}'", "range(t)": "range(int(t.item()))",
    "[1, 2][t]": "[1, 2][int(t.item())]", "copy.copy(t)": "t.clone()",
    "copy.deepcopy(t)": "t.clone()", "pickle.dumps(t)": "pickle.dumps(t.detach())",
    "json.dumps(t)": "json.dumps(t.tolist())",
    "fractions.Fraction(t)": "fractions.Fraction(t.item())",
    "decimal.Decimal(t)": "decimal.Decimal(t.item())", "statistics.mean([t, u])": "ad.mean(ts)",
    "statistics.fmean([t, u])": "ad.mean(ts)", "statistics.stdev([t, u])": "ad.std(ts, ddof=1)",
    "np.vectorize(f)(t)": "f(t), or ad.vmap(f)(t)", "np.frompyfunc(f)(t)": "f(t), or ad.vmap(f)(t)",
    "np.array([t, u], dtype=object)": "[t, u]", "np.fromiter([t, u])": "ad.array(ts)",
    "np.r_[t, u]": "np.concatenate([t, u])", "np.c_[t, u]": "np.stack([t, u], axis=-1)",
    "np.ma.array(t)": "np.where(mask, 0.0, t)",
    "np.ma.masked_array * t": "np.where(mask, 0.0, a * t)",
    "np.multiply(masked, t)": "np.where(mask, 0.0, a * t)",
    "np.matrix * t": "np.asarray(m) @ t", "np.nditer([t, u])": "zip(t.ravel(), u.ravel())",
}
