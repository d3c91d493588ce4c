"""What to write instead of a function that cannot be intercepted or has no row: one line each.

The lines speak of ``x``, ``z`` and ``w``, the arrays among the arguments in their order, ``n`` and
``m``, the integers, ``mask``, the booleans, ``xs``, a list, and ``f``, a function.
tests/test_exits_survey.py runs each of them and compares with the function that it stands for.
"""

from __future__ import annotations

from adjoint.core.primitive import NUMPY, PUBLIC

ALGEBRA = {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh",
           "atan": "arctan", "atanh": "arctanh", "atan2": "arctan2", "fabs": "abs", "fsum": "sum",
           "pow": "power", "log_expit": "log_sigmoid", "expit": "sigmoid", "fix": "trunc",
           "lgamma": "gammaln", "matvec": "matmul", "vecmat": "matmul", "permute_dims": "transpose"}
INSTEAD: dict[str, str] = {
    # NumPy
    "np.angle": "ad.arctan2(np.imag(x), np.real(x))",
    "np.append": "np.concatenate([np.ravel(x), np.ravel(z)])",
    "np.apply_along_axis": "ad.vmap(f, in_axes=1)(x)",
    "np.apply_over_axes": "np.sum(x, axis=0, keepdims=True)",
    "np.block": "np.concatenate(xs)",
    "np.compress": "x[mask]", "np.extract": "x[mask]",
    "np.copyto": "x = ad.broadcast_to(z, x.shape)",
    "np.deg2rad": "x * (np.pi / 180)", "np.radians": "x * (np.pi / 180)",
    "np.rad2deg": "x * (180 / np.pi)", "np.degrees": "x * (180 / np.pi)",
    "np.delete": "x[np.arange(x.size) != n]",
    "np.insert": "np.concatenate([x[:n], np.reshape(z, 1), x[n:]])",
    "np.fill_diagonal": "x = ad.where(np.eye(3, dtype=bool), z, x)",
    "np.linspace": "x + (z - x) * np.linspace(0, 1, n)",
    "np.logspace": "10 ** (x + (z - x) * np.linspace(0, 1, n))",
    "np.geomspace": "x * (z / x) ** np.linspace(0, 1, n)",
    "np.ldexp": "x * 2.0 ** n", "np.modf": "(x - ad.trunc(x), ad.trunc(x))",
    "np.divmod": "(x // z, x % z)", "np.vecdot": "ad.sum(x * z, axis=-1)",
    "np.place": "x = ad.setitem(x, mask, z[:mask.sum()])",
    "np.put": "x = ad.setitem(x, xs, z)", "np.putmask": "x = ad.where(mask, z, x)",
    "np.polyadd": "x + z", "np.polysub": "x - z",
    "np.polyder": "x[:-1] * np.arange(x.size - 1, 0, -1)",
    "np.polyval": "sum(c * z ** k for k, c in enumerate(x[::-1]))",
    "np.vander": "x[:, None] ** np.arange(x.size - 1, -1, -1)",
    "np.unique": "x[np.unique(x.detach().numpy(), return_index=True)[1]]",
    "np.unique_values": "x[np.unique(x.detach().numpy(), return_index=True)[1]]",
    "np.matrix_transpose": "x.mT", "np.linalg.matrix_transpose": "x.mT",
    "np.linalg.outer": "np.outer(x, z)", "np.linalg.matmul": "x @ z",
    "np.linalg.tensordot": "np.tensordot(x, z)", "np.linalg.trace": "np.trace(x)",
    "np.linalg.vecdot": "ad.sum(x * z, axis=-1)",
    "np.linalg.cross": "np.cross(x, z)", "np.linalg.diagonal": "np.diagonal(x)",
    "np.asarray": "x itself, or ad.array(xs)", "np.asanyarray": "x itself, or ad.array(xs)",
    "np.ascontiguousarray": "x itself", "np.asfortranarray": "x itself", "np.copy": "x.clone()",
    "np.require": "x itself", "np.asarray_chkfinite": "x itself", "np.fromiter": "ad.array(xs)",
    "np.matrix": "x itself, and @ for the product", "np.asmatrix": "x itself, and @",
    "np.arange": "x + z * ad.arange(n)",
    "np.row_stack": "np.vstack(xs)", "np.nextafter": "np.nextafter(x.detach(), z.detach())",
    "np.spacing": "np.spacing(x.detach())", "np.sort_complex": "np.sort(x).astype(complex)",
    "np.polyint": "np.append(x / np.arange(x.size, 0, -1), 0.0)",
    "np.poly1d": "lambda s: sum(c * s ** k for k, c in enumerate(x[::-1]))",
    "np.polymul": "sum(np.pad(c * z, (k, x.size - 1 - k)) for k, c in enumerate(x))",
    "np.polyfit": "np.linalg.lstsq(np.vander(x, n + 1), z)[0]",
    "np.roots": "np.linalg.eigvals(companion matrix of x)",
    "np.trim_zeros": "x[first:last]", "np.ndenumerate": "((k, x[k]) for k in np.ndindex(x.shape))",
    "np.nditer": "x.ravel()",
    # math
    "math.degrees": "x * (180 / np.pi)", "math.radians": "x * (np.pi / 180)",
    "math.dist": "ad.sqrt(ad.sum((x - z) ** 2))", "math.ldexp": "x * 2.0 ** n",
    "math.modf": "(x - ad.trunc(x), ad.trunc(x))", "math.remainder": "x - z * ad.rint(x / z)",
    "math.gamma": "ad.exp(ad.gammaln(x))",
    "math.isclose": "np.isclose(x, z, rtol=1e-9, atol=0.0)",
    "math.nextafter": "math.nextafter(x.item(), z.item())", "math.ulp": "math.ulp(x.item())",
    "math.frexp": "math.frexp(x.item())",
    "cmath.phase": "ad.arctan2(np.imag(x), np.real(x))",
    "cmath.polar": "(ad.abs(x), ad.arctan2(np.imag(x), np.real(x)))",
    "cmath.rect": "x * ad.exp(1j * z)", "cmath.isclose": "np.isclose(x, z, rtol=1e-9, atol=0.0)",
    # scipy.special
    "scipy.special.beta": "ad.exp(ad.gammaln(x) + ad.gammaln(z) - ad.gammaln(x + z))",
    "scipy.special.betaln": "ad.gammaln(x) + ad.gammaln(z) - ad.gammaln(x + z)",
    "scipy.special.binom": "ad.exp(ad.gammaln(x + 1) - ad.gammaln(z + 1) - ad.gammaln(x - z + 1))",
    "scipy.special.boxcox": "(x ** z - 1) / z",
    "scipy.special.boxcox1p": "((1 + x) ** z - 1) / z",
    "scipy.special.inv_boxcox": "(x * z + 1) ** (1 / z)",
    "scipy.special.inv_boxcox1p": "(x * z + 1) ** (1 / z) - 1",
    "scipy.special.cosdg": "ad.cos(x * (np.pi / 180))",
    "scipy.special.sindg": "ad.sin(x * (np.pi / 180))",
    "scipy.special.tandg": "ad.tan(x * (np.pi / 180))",
    "scipy.special.cotdg": "1 / ad.tan(x * (np.pi / 180))",
    "scipy.special.cosm1": "-2 * ad.sin(x / 2) ** 2",
    "scipy.special.entr": "-ad.xlogy(x, x)",
    "scipy.special.erfcx": "ad.exp(x * x) * ad.erfc(x)",
    "scipy.special.exp10": "ad.power(10.0, x)", "scipy.special.exprel": "ad.expm1(x) / x",
    "scipy.special.gamma": "ad.exp(ad.gammaln(x))",
    "scipy.special.loggamma": "ad.gammaln(x)",
    "scipy.special.rgamma": "ad.exp(-ad.gammaln(x))",
    "scipy.special.poch": "ad.exp(ad.gammaln(x + z) - ad.gammaln(x))",
    "scipy.special.factorial": "ad.exp(ad.gammaln(x + 1))",
    "scipy.special.kl_div": "ad.xlogy(x, x / z) - x + z",
    "scipy.special.rel_entr": "ad.xlogy(x, x / z)",
    "scipy.special.ndtr": "0.5 * ad.erfc(-x / 2 ** 0.5)",
    "scipy.special.powm1": "ad.expm1(z * ad.log(x))",
    "scipy.special.pseudo_huber": "x ** 2 * (ad.sqrt(1 + (z / x) ** 2) - 1)",
    "scipy.special.softmax": "ad.softmax(x)", "scipy.special.log_softmax": "ad.log_softmax(x)",
    # scipy.linalg
    "scipy.linalg.cho_solve": "np.linalg.solve(a, z), with a itself for its factor",
    "scipy.linalg.lu_solve": "np.linalg.solve(a, z), with a itself for its factors",
    "scipy.linalg.solve_triangular": "np.linalg.solve(x, z)",
    "scipy.linalg.solve_circulant": "np.linalg.solve(the circulant of x, z)",
    "scipy.linalg.solve_toeplitz": "np.linalg.solve(the Toeplitz matrix of x, z)",
    "scipy.linalg.khatri_rao": "(x[:, None] * z).reshape(-1, x.shape[1])",
    "scipy.linalg.polar": "u @ vh, (vh.T * s) @ vh with u, s, vh = np.linalg.svd(x)",
    "scipy.linalg.sqrtm": "(v * l ** 0.5) @ v.T with l, v = np.linalg.eigh(x), for symmetric x",
    # random draws: the same numbers from the same generator
    "rng.normal": "x + z * rng.standard_normal()", "rng.uniform": "x + (z - x) * rng.random()",
    "rng.exponential": "x * rng.standard_exponential()", "rng.rayleigh": "x * rng.rayleigh()",
    "rng.laplace": "x + z * rng.laplace()", "rng.gumbel": "x + z * rng.gumbel()",
    "rng.logistic": "x + z * rng.logistic()",
    "rng.lognormal": "ad.exp(x + z * rng.standard_normal())",
    "rng.weibull": "rng.standard_exponential() ** (1 / x)",
    "rng.pareto": "ad.expm1(rng.standard_exponential() / x)",
    "rng.permutation": "x[rng.permutation(x.size)]",
    "rng.multivariate_normal": "x + np.linalg.cholesky(z) @ rng.standard_normal(x.size)",
    "scipy.linalg.circulant": "x[(np.arange(x.size)[:, None] - np.arange(x.size)) % x.size]",
    "scipy.linalg.toeplitz": "x[abs(np.arange(x.size)[:, None] - np.arange(x.size))]",
}

METHODS = {  # of ufuncs, along one axis
    "outer": "f(x[:, None], z)", "at": "x = ad.setitem(x, xs, f(x[xs], ...))",
    "reduceat": "np.stack([f.reduce(part) for part in np.split(x, xs[1:])])",
    "accumulate": "functools.reduce over x[k], joined by np.stack",
    "reduce": "functools.reduce(f, x)"}
MODULES = ("np", "np.linalg", "np.fft", "math", "cmath", "scipy.linalg", "scipy.special", "rng",
           "np.random")


def line_for(name: str) -> str:
    """The line to write instead of a function, or "" if none is known."""
    space, _, short = name.rpartition(".")
    if space == "scipy.linalg" and f"linalg.{short}" in PUBLIC:
        return f"ad.linalg.{short}(...)"
    if name in INSTEAD:
        return INSTEAD[name]
    if short in METHODS and space not in MODULES:
        return METHODS[short].replace("f(", f"{space}(")
    ours = ALGEBRA.get(short, short)
    if ours in PUBLIC and ours != "round" and space in MODULES[:-2]:
        return f"ad.{ours}(...)"
    known = [key for key in NUMPY if getattr(key, "__name__", "") == short]
    if known and space in MODULES[1:-2]:
        module = known[0].__module__ or "numpy"
        return f"{module.replace('numpy', 'np')}.{short}(...)"
    return ""


def advice(name: str) -> str:
    """The sentence that tells what to write instead of a function."""
    line = line_for(name)
    return f"Write {line}" if line else (
        "Compose it from functions that ad has, or write ad.Function for it")
