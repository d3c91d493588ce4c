"""Singular points: infinite slopes, 0/0, values beyond the range of floats."""

from __future__ import annotations

from math import exp, log, pi

from .case import Case

inf, nan = float("inf"), float("nan")

BATCHES = ("vmap of grad", "vmap of jvp")

POWERS = [
    Case("x**y at x=0, y=0", """
        x ** y
        np.power(x, y)
        np.pow(x, y)
        np.float_power(x, y)
        ad.power(x, y)
        ad.pow(x, y)
        ad.float_power(x, y)
        x.pow(y)
        pow(x, y)
        operator.pow(x, y)
        """, (0.0, 0.0), (0.0, 0.0), peers="jax dx NaN"),
    Case("x**0 at 0", "x ** 0.0\nx ** 0\nnp.power(x, 0)\nad.pow(x, 0.0)\nnp.float_power(x, 0)\n"
         "x.pow(0)", (0.0,), (0.0,), 0.0),
    Case("0**y at y=2", """
        0.0 ** x
        0 ** x
        np.power(0.0, x)
        ad.power(0.0, x)
        ad.pow(0, x)
        np.float_power(0.0, x)
        np.float64(0.0) ** x
        np.zeros(()) ** x
        """, (2.0,), (0.0,), 0.0, "CasADi NaN"),
    Case("0**y at 2, of both", "x ** y\nnp.power(x, y)\nad.pow(x, y)\nnp.float_power(x, y)",
         (0.0, 2.0), (0.0, 0.0), [[2.0, 0.0], [0.0, 0.0]]),
    Case("(-2)**y at y=2", "(-2.0) ** x\nnp.power(-2.0, x)\nad.power(-2.0, x)\nad.pow(-2.0, x)\n"
         "np.float_power(-2.0, x)", (2.0,), (nan,), peers="NaN",
         note="the logarithm of a negative number; the doctor says so"),
    Case("x**1.0 at 0: second derivative", "x ** 1.0\nx ** 1\nnp.power(x, 1.0)\nad.pow(x, 1)\n"
         "np.float_power(x, 1.0)\nx.pow(1.0)\nx ** np.float64(1.0)\nx ** np.ones(())",
         (0.0,), (1.0,), 0.0, "jax NaN"),
    Case("x**2 at 0", "x ** 2\nx ** 2.0\nnp.square(x)\nad.square(x)\nx.square()\nx * x\n"
         "np.power(x, 2)\nad.pow(x, 2.0)\nx.pow(2)\nnp.float_power(x, 2)\nx ** np.array(2.0)",
         (0.0,), (0.0,), 2.0),
    Case("x**2 at -2", "x ** 2\nx ** 2.0\nnp.square(x)\nnp.power(x, 2)\nad.pow(x, 2)\n"
         "x ** np.array(2.0)", (-2.0,), (-4.0,), 2.0),
    Case("x**3 at 0", "x ** 3\nx ** 3.0\nx * x * x\nnp.power(x, 3)", (0.0,), (0.0,), 0.0),
    Case("x**0.5 at 0", "x ** 0.5\nnp.power(x, 0.5)\nad.pow(x, 0.5)\nnp.float_power(x, 0.5)\n"
         "x.pow(0.5)", (0.0,), (inf,)),
    Case("sqrt at 0", "np.sqrt(x)\nad.sqrt(x)\nx.sqrt()", (0.0,), (inf,),
         peers="torch, jax inf; HIPS ZeroDivisionError"),
    Case("cbrt at 0", "np.cbrt(x)\nad.cbrt(x)", (0.0,), (inf,)),
    Case("log at 0", "np.log(x)\nad.log(x)\nx.log()\nnp.log1p(x - 1.0)", (0.0,), (inf,)),
    Case("1/x at 0", "1.0 / x\n1 / x\nnp.reciprocal(x)\nad.reciprocal(x)\nx.reciprocal()\n"
         "np.divide(1.0, x)\nad.div(1.0, x)\nx ** -1\nx ** -1.0\nnp.float_power(x, -1)",
         (0.0,), (-inf,)),
]

CANCELLED = [
    Case("sqrt(sum(x**2)) at 0", """
        np.sqrt(np.sum(x ** 2))
        np.sqrt((x * x).sum())
        ad.sqrt(ad.square(x).sum())
        (x ** 2).sum().sqrt()
        np.sum(x ** 2) ** 0.5
        np.sqrt(x @ x)
        np.sqrt(np.dot(x, x))
        np.sqrt(np.vdot(x, x))
        np.sqrt(np.einsum("i,i", x, x))
        np.sqrt(np.inner(x, x))
        """, ([0, 0],), ([nan, nan],), peers="NaN",
        note="the zero stands upstream; the doctor names `np.linalg.norm`"),
    Case("log(exp(x)) at -1000", "np.log(np.exp(x))\nad.log(ad.exp(x))\nx.exp().log()",
         (-1000.0,), (nan,), peers="NaN"),
    Case("log(sigmoid(x)) at -1000, spelled out", "ad.log(ad.sigmoid(x))\nnp.log(ad.expit(x))\n"
         "x.sigmoid().log()\nnp.log(1.0 / (1.0 + np.exp(-x)))", (-1000.0,), (nan,), peers="NaN",
         note="eagerly; the doctor names `ad.log_sigmoid`"),
    Case("log_sigmoid at -1000", """
        ad.log_sigmoid(x)
        ad.logsigmoid(x)
        ad.log_expit(x)
        -ad.softplus(-x)
        -np.logaddexp(0.0, -x)
        ad.log_softmax(ad.stack([x, 0.0]))[0]
        ad.nn.LogSoftmax(0)(ad.stack([x, 0.0]))[0]
        """, (-1000.0,), (1.0,), 0.0, "NaN"),
    Case("log_sigmoid at 1000", "ad.log_sigmoid(x)\nad.logsigmoid(x)\n-ad.softplus(-x)",
         (1000.0,), (0.0,), 0.0),
    Case("where(x>0, sqrt(x), 0) at 0; where(x>0, log(x), 0) at 0", """
        np.where(x > 0, np.sqrt(x), 0.0)
        ad.where(x > 0, ad.sqrt(x), 0.0)
        np.where(x > 0, x ** 0.5, 0.0)
        np.where(x > 0, np.cbrt(x), 0.0)
        np.where(x > 0, np.log(x), 0.0)
        ad.where(x > 0, ad.log(x), 0.0)
        x.log().where(x > 0, 0.0)
        np.where(x > 0, np.log2(x) + np.log10(x), 0.0)
        np.where(x > 0, 1.0 / x, 0.0)
        np.where(x > 0, x * np.log(x), 0.0)
        np.where(x > 0, x / x, 0.0)
        np.where(x > 0, ad.gammaln(x), 0.0)
        np.where(x > 0, ad.digamma(x), 0.0)
        np.where(x > 0, ad.logit(x), 0.0)
        np.where(x > 0, ad.xlogy(1.0, x), 0.0)
        np.where(x <= 0, 0.0, np.sqrt(x))
        np.select([x > 0], [np.sqrt(x)], 0.0)
        ad.select([x > 0], [ad.log(x)], 0.0)
        np.choose((x > 0) * 1, [0.0, np.log(x)])
        ad.masked_fill(np.log(x), x <= 0, 0.0)
        np.log(x).masked_fill(x <= 0, 0.0)
        np.sqrt(x) * (x > 0)
        np.sqrt(x) * 0.0
        (x > 0) * np.sqrt(x)
        np.heaviside(x, 0.0) * np.sqrt(x)
        np.minimum(np.log(np.maximum(x, 1.0)), 0.0) * 0.0
        np.where(x > 0, np.sqrt(x) * np.log(x), 0.0)
        np.where(x > 0, np.linalg.norm(np.sqrt(x)[None]), 0.0)
        """, (0.0,), (0.0,), 0.0, "torch, jax NaN; HIPS error; Dr.Jit, CasADi 0"),
    Case("the same by writing elements, and by pieces", """
        ad.setitem(np.sqrt(x)[None], x[None] <= 0, 0.0).sum()
        np.piecewise(x[None], [x[None] > 0], [np.sqrt, 0.0]).sum()
        ad.piecewise(x[None], [x[None] > 0], [lambda v: np.log(v), 0.0]).sum()
        np.log(np.extract(x[None] > 0, x[None])).sum()
        np.log(x[None][x[None] > 0]).sum()
        """, (0.0,), (0.0,), 0.0, without=BATCHES,
        note="under `vmap` a mask would choose how many: an error that names `ad.where`"),
    Case("where beyond the domain", """
        np.where(x > 0, np.log(x), 0.0)
        np.where(x > 0, np.sqrt(x), 0.0)
        ad.where(x > 0, x ** 0.5, 0.0)
        np.where(x > 0, x ** x, 0.0)
        np.where(abs(x) < 1, np.arccos(x * 1.5), 0.0)
        np.where(x > 0, np.arctanh(x * 2.0), 0.0)
        np.where(x > 0, np.arccosh(x), 0.0)
        """, (-1.0,), (0.0,), 0.0),
    Case("where(x<1, arcsin(x), 0) at 1", """
        np.where(x < 1, np.arcsin(x), 0.0)
        np.where(x < 1, np.arccos(x), 0.0)
        np.where(x < 1, np.arctanh(x), 0.0)
        np.where(x > 1, np.arccosh(x), 0.0)
        np.where(x < 1, np.log1p(-x), 0.0)
        np.where(x < 1, ad.logit(x), 0.0)
        np.where(x < 1, 1.0 / (1.0 - x), 0.0)
        np.where(x < 1, np.sqrt(1.0 - x ** 2), 0.0)
        """, (1.0,), (0.0,), 0.0),
    Case("where(x>0, x, 0/0) at 1", """
        np.where(x > 0, x, (x - 1.0) / (x - 1.0))
        ad.where(x > 0, x, (x - 1.0) / (x - 1.0))
        np.where(x > 0, x, (x * 0) / (x * 0))
        np.where(x > 0, x, 0.0 * x / 0.0)
        np.where(x > 0, x, np.inf * (x - 1.0))
        np.where(x > 0, x, np.nan)
        np.where(x > 0, x, np.nan * x)
        ad.select([x > 0], [x], (x - 1.0) / (x - 1.0))
        ad.stack([x, (x - 1.0) / (x - 1.0)])[0]
        """, (1.0,), (1.0,), 0.0, "torch, jax, HIPS NaN"),
    Case("where over an array", """
        np.where(x > 0, np.sqrt(x), 0.0).sum()
        ad.where(x > 0, ad.sqrt(x), 0.0).sum()
        (np.sqrt(x) * (x > 0))[:2].sum()
        np.select([x > 0], [np.sqrt(x)]).sum()
        ad.masked_fill(np.sqrt(x), x <= 0, 0.0).sum()
        np.where(x[:, None] > 0, np.sqrt(x)[:, None] * np.ones(2), 0.0).mean(1).sum()
        np.nansum(np.where(x > 0, np.sqrt(x), np.nan))
        """, ([0, 4, -1],), ([0, 0.25, 0],), [[0, 0, 0], [0, -1 / 32, 0], [0, 0, 0]]),
    Case("a perfect fit: (sqrt(x) - 2)**2 at 4", """
        (np.sqrt(x) - 2.0) ** 2
        (np.sqrt(x) - 2) ** 2
        np.square(ad.sqrt(x) - 2.0)
        (x ** 0.5 - 2.0) ** 2
        (np.power(x, 0.5) - 2.0) * (x ** 0.5 - 2.0)
        np.linalg.norm(np.sqrt(x)[None] - 2.0) ** 2 + (np.sqrt(x) - 2.0) ** 2
        ad.nn.functional.mse_loss(np.sqrt(x)[None], np.array([2.0]))
        """, (4.0,), (0.0,), 0.125,
        "torch, jax exact: zero cotangents must not cancel finite partials",
        ),
    Case("a perfect fit through log", "(np.log(x) - np.log(4.0)) ** 2\n"
         "np.square(ad.log(x) - np.log(4.0))", (4.0,), (0.0,), 0.125),
    Case("a perfect fit through a division", "(1.0 / x - 0.25) ** 2\n(x ** -1 - 0.25) ** 2\n"
         "np.square(np.reciprocal(x) - 0.25)", (4.0,), (0.0,), 2 / 256),
    Case("a perfect fit through cbrt", "np.square(np.cbrt(x) - 2.0)", (8.0,), (0.0,), 2 / 144),
    Case("a perfect fit through arctan2", "np.arctan2(x, 1.0) ** 2", (0.0,), (0.0,), 2.0),
    Case("a perfect fit through xlogy", "(ad.xlogy(x, x) - 4.0 * np.log(4.0)) ** 2",
         (4.0,), (0.0,), 2.0 * (log(4.0) + 1.0) ** 2),
    Case("a perfect fit through hypot", "(ad.hypot(x, 3.0) - 5.0) ** 2", (4.0,), (0.0,), 1.28),
    Case("a perfect fit through logit", "(ad.logit(x) - np.log(3.0)) ** 2", (0.75,), (0.0,),
         2.0 / 0.1875 ** 2, single=False),
    Case("a perfect fit through norm", "(np.linalg.norm(x) - 5.0) ** 2\n"
         "(ad.linalg.vector_norm(x) - 5.0) ** 2\n(np.sqrt((x ** 2).sum()) - 5.0) ** 2",
         ([3, 4],), ([0, 0],), [[0.72, 0.96], [0.96, 1.28]]),
]

SUMS = [
    Case("norm at 0 (2-norm)", """
        np.linalg.norm(x)
        ad.linalg.norm(x)
        np.linalg.norm(x, 2)
        np.linalg.norm(x, axis=0)
        np.linalg.norm(x, keepdims=True).sum()
        np.linalg.vector_norm(x)
        ad.linalg.vector_norm(x)
        np.linalg.vector_norm(x, ord=2)
        np.linalg.norm(x[None], axis=1).sum()
        np.linalg.norm(x.reshape(1, 2), "fro")
        np.linalg.matrix_norm(x.reshape(1, 2))
        np.hypot(x[0], x[1])
        """, ([0, 0],), ([0, 0],), peers="torch 0; jax and HIPS NaN"),
    Case("1-norm at 0", """
        np.linalg.norm(x, 1)
        ad.linalg.norm(x, 1)
        np.linalg.vector_norm(x, ord=1)
        np.linalg.norm(x, 1, axis=0)
        np.abs(x).sum()
        """, ([0, 0],), ([0, 0],), [[0.0] * 2] * 2, "torch 0; HIPS NaN; jax 1, 1"),
    Case("norms of other orders at 0", """
        np.linalg.norm(x, np.inf)
        np.linalg.norm(x, 3)
        np.linalg.norm(x, 1.5)
        np.linalg.vector_norm(x, ord=4)
        """, ([0, 0],), ([0, 0],)),
    Case("norm of one row of zeros beside another", "np.linalg.norm(x.reshape(2, 2), axis=1).sum()",
         ([0, 0, 3, 4],), ([0, 0, 0.6, 0.8],)),
    Case("logsumexp([-inf, -inf])", """
        ad.logsumexp(x)
        ad.logsumexp(x, axis=0)
        x.logsumexp(dim=0)
        np.logaddexp(x[0], x[1])
        ad.logaddexp(x[1], x[0])
        """, ([-inf, -inf],), ([0, 0],), peers="NaN everywhere"),
    Case("logsumexp([inf, 0])", "ad.logsumexp(x)\nad.logsumexp(x, axis=0)\nx.logsumexp(0)\n"
         "np.logaddexp(x[0], x[1])", ([inf, 0],), ([1, 0],), peers="NaN, 0"),
    Case("logsumexp([-inf, 0])", "ad.logsumexp(x)\nx.logsumexp(0)\nnp.logaddexp(x[0], x[1])\n"
         "np.log(np.exp(x).sum())", ([-inf, 0],), ([0, 1],)),
    Case("logsumexp([1000, 0])", "ad.logsumexp(x)\nnp.logaddexp(x[0], x[1])\n"
         "x.max() + np.log(np.exp(x - x.max()).sum())", ([1000, 0],), ([1, 0],), [[0.0] * 2] * 2),
    Case("logaddexp(-inf, -inf)", "np.logaddexp(x, y)\nad.logaddexp(x, y)\nx.logaddexp(y)\n"
         "np.logaddexp2(x, y)\nad.logaddexp2(x, y)\nad.logsumexp(ad.stack([x, y]))",
         (-inf, -inf), (0.0, 0.0), peers="NaN"),
    Case("logaddexp(inf, 0)", "np.logaddexp(x, y)\nad.logaddexp(x, y)\nnp.logaddexp2(x, y)\n"
         "ad.logsumexp(ad.stack([x, y]))", (inf, 0.0), (1.0, 0.0)),
    Case("logaddexp2 at a tie: second derivative", "ad.logaddexp2(x, 1.0)\nnp.logaddexp2(1.0, x)",
         (1.0,), (0.5,), log(2.0) / 4),
    Case("std, var of constants", """
        np.std(x)
        ad.std(x)
        x.std()
        np.std(x, axis=0)
        np.std(x, ddof=1)
        np.std(x, correction=1)
        ad.std(x, correction=1)
        ad.std(x, unbiased=True)
        x.std(unbiased=True)
        x.std(dim=0, keepdim=True).sum()
        x.std(ddof=1)
        np.nanstd(x)
        ad.nanstd(x, ddof=1)
        np.var(x)
        ad.var(x)
        x.var()
        x.var(unbiased=False)
        np.var(x, ddof=1)
        np.nanvar(x)
        ((x - x.mean()) ** 2).mean()
        np.cov(x) * 1.0
        np.linalg.norm(x - x.mean())
        """, ([0.1, 0.1, 0.1],), ([0, 0, 0],), peers="torch 0; jax, HIPS NaN", single=False,
        note="0.1 is no float: its mean is one rounding error away"),
    Case("nanstd of constants", "np.nanstd(x)\nad.nanstd(x)\nnp.nanvar(x)", ([0.1, nan, 0.1, 0.1],),
         ([0, 0, 0, 0],), single=False),
    Case("std of one element, ddof=1", """
        np.std(x, ddof=1)
        ad.std(x, correction=1)
        ad.std(x, unbiased=True)
        x.std(ddof=1)
        x.var(unbiased=True)
        np.var(x, ddof=1)
        np.nanstd(x, ddof=1)
        np.nanvar(x, ddof=1)
        """, ([4],), ([nan],), peers="HIPS 0"),
    Case("std of one element", "np.std(x)\nad.std(x)\nx.std()\nx.var()\nnp.nanstd(x)", ([4],),
         ([0],)),
    Case("mean of one element", "np.mean(x)\nx.mean()\nad.mean(x)\nnp.average(x)\nnp.nanmean(x)",
         ([4],), ([1],), 0.0),
    Case("prod of [2, 0, 3]", """
        np.prod(x)
        ad.prod(x)
        x.prod()
        np.prod(x, axis=0)
        x.prod(dim=0)
        ad.prod(x, axis=-1, keepdims=True).sum()
        np.multiply.reduce(x)
        np.nanprod(x)
        ad.nanprod(x)
        x[0] * x[1] * x[2]
        np.cumprod(x)[-1]
        ad.cumprod(x, axis=0)[2]
        np.multiply.accumulate(x)[-1]
        np.einsum(",,", x[0], x[1], x[2])
        math.prod(x)
        np.linalg.det(np.diag(x))
        """, ([2, 0, 3],), ([0, 6, 0],), [[0, 3, 0], [3, 0, 2], [0, 2, 0]],
        "HIPS NaN; Dr.Jit 0 0 0"),
    Case("prod of [0, 0, 3]", "np.prod(x)\nx.prod()\nnp.multiply.reduce(x)\nnp.nanprod(x)\n"
         "x[0] * x[1] * x[2]\nnp.cumprod(x)[-1]\nnp.linalg.det(np.diag(x))",
         ([0, 0, 3],), ([0, 0, 0],), [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
    Case("prod of [1, 2, 3, 4, 0]", "np.prod(x)\nx.prod()\nnp.cumprod(x)[-1]\nnp.nanprod(x)",
         ([1, 2, 3, 4, 0],), ([0, 0, 0, 0, 24],),
         [[0, 0, 0, 0, 24], [0, 0, 0, 0, 12], [0, 0, 0, 0, 8], [0, 0, 0, 0, 6], [24, 12, 8, 6, 0]]),
    Case("prod beside an infinity", "np.prod(x)\nx.prod()\nx[0] * x[1] * x[2]\nnp.cumprod(x)[-1]",
         ([inf, 2, 3],), ([6, inf, inf],),
         without=("ad.jvp", "ad.linearize", "jvp of one element", "vmap of jvp"),
         note="a zero tangent against an infinite partial stays NaN"),
    Case("prod of one infinity", "np.prod(x)\nx.prod()\nnp.cumprod(x)[-1]", ([inf],), ([1],)),
    Case("nanprod([NaN, 0, 3])", "np.nanprod(x)\nad.nanprod(x)\nnp.nanprod(x, axis=0)\n"
         "np.nancumprod(x)[-1]\nnp.where(np.isnan(x), 1.0, x).prod()",
         ([nan, 0, 3],), ([0, 3, 0],), [[0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    Case("cumprod of [2, 0, 3], summed", """
        np.cumprod(x).sum()
        ad.cumprod(x, axis=0).sum()
        x.cumprod(0).sum()
        ad.cumprod(x, dim=0).sum()
        np.multiply.accumulate(x).sum()
        np.nancumprod(x).sum()
        np.cumulative_prod(x).sum()
        x[0] + x[0] * x[1] + x[0] * x[1] * x[2]
        """, ([2, 0, 3],), ([1, 8, 0],), [[0, 4, 0], [4, 0, 2], [0, 2, 0]], "PyTensor NaN"),
    Case("cumprod of two zeros, summed", "np.cumprod(x).sum()\nad.cumprod(x, axis=0).sum()\n"
         "x.cumprod(0).sum()", ([2, 0, 0, 5],), ([1, 2, 0, 0],)),
    Case("nansum([NaN, 1])", """
        np.nansum(x)
        ad.nansum(x)
        x.nansum()
        np.nansum(x, axis=0)
        np.nancumsum(x)[-1]
        np.where(np.isnan(x), 0.0, x).sum()
        np.nan_to_num(x).sum()
        np.nanmean(x)
        np.nanmedian(x)
        """, ([nan, 1],), ([0, 1],), [[0.0] * 2] * 2, "agree"),
    Case("nansum by a mask", "x[~np.isnan(x)].sum()\nnp.compress(~np.isnan(x), x).sum()\n"
         "np.extract(~np.isnan(x), x).sum()", ([nan, 1],), ([0, 1],), [[0.0] * 2] * 2,
         without=BATCHES),
    Case("nanmean([NaN, 1, 2])", "np.nanmean(x)\nad.nanmean(x)\nx.nanmean()\n"
         "np.nanmean(x, axis=0)\nnp.nanmedian(x)\nnp.nanquantile(x, 0.5)",
         ([nan, 1, 2],), ([0, 0.5, 0.5],)),
    Case("nan_to_num at NaN", "np.nan_to_num(x)\nad.nan_to_num(x)\nx.nan_to_num()",
         (nan,), (0.0,), 0.0),
]

FUNCTIONS = [
    Case("arctan2(0, 0)", "np.arctan2(x, y)\nad.arctan2(x, y)\nad.atan2(x, y)\nnp.atan2(x, y)",
         (0.0, 0.0), (0.0, 0.0), peers="jax NaN"),
    Case("hypot(0, 0)", "np.hypot(x, y)\nad.hypot(x, y)\nx.hypot(y)\n"
         "np.linalg.norm(ad.stack([x, y]))", (0.0, 0.0), (0.0, 0.0), peers="jax .5 .5, torch NaN"),
    Case("xlogy(0, 0)", "ad.xlogy(x, y)\nx.xlogy(y)\nad.xlog1py(x, y - 1.0)", (0.0, 0.0),
         (0.0, 0.0), peers="torch 0, NaN; jax -inf, NaN"),
    Case("xlog1py(0, -1)", "ad.xlog1py(x, y)\nad.xlogy(x, 1.0 + y)", (0.0, -1.0), (0.0, 0.0)),
    Case("sinc at 0", "np.sinc(x)\nad.sinc(x)\nx.sinc()", (0.0,), (0.0,), -pi ** 2 / 3,
         "torch second NaN; HIPS NaN"),
    Case("sinc near 0", "np.sinc(x)\nad.sinc(x)", (1e-9,), (-pi ** 2 / 3 * 1e-9,), -pi ** 2 / 3,
         single=False),
    Case("exp at 1000, times 0", "np.exp(x) * 0.0\n0.0 * ad.exp(x)\n"
         "np.where(x > 999, 0.0, np.exp(x))\nnp.expm1(x) * 0.0\nnp.exp2(2.0 * x) * 0.0\n"
         "np.cosh(x) * 0.0", (1000.0,), (0.0,), 0.0),
    Case("softmax of [1000, 0]", "ad.softmax(x)[1]\nad.softmax(x, axis=0)[1]\nx.softmax(0)[1]\n"
         "ad.nn.Softmax(0)(x)[1]\nnp.exp(ad.log_softmax(x))[1]\nad.sigmoid(x[1] - x[0])",
         ([1000, 0],), ([0, 0],), [[0.0] * 2] * 2),
    Case("log_softmax of [-inf, 0]", "ad.log_softmax(x)[1]\nx.log_softmax(0)[1]\n"
         "x[1] - ad.logsumexp(x)", ([-inf, 0],), ([0, 0],)),
    Case("log1p, expm1 near 0", "np.log1p(x) + np.expm1(y)\nad.log1p(x) + ad.expm1(y)",
         (1e-300, 1e-300), (1.0, 1.0), [[-1.0, 0.0], [0.0, 1.0]], single=False),
    Case("power at e", "x ** y", (1.0, 2.0), (2.0, 0.0), [[2.0, 1.0], [1.0, 0.0]]),
    Case("logistic loss of a huge logit", """
        ad.nn.functional.binary_cross_entropy_with_logits(x[None], np.array([0.0]))
        ad.softplus(x)
        np.logaddexp(0.0, x)
        """, (1000.0,), (1.0,), 0.0),
    Case("exp at 1", "np.exp(x)\nad.exp(x)\nx.exp()\nmath.e ** x\nnp.expm1(x)", (1.0,),
         (exp(1.0),), exp(1.0)),
]

CASES = POWERS + CANCELLED + SUMS + FUNCTIONS
