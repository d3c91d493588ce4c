"""Kinks: points at which the one-sided derivatives differ, and the answer is a convention."""

from __future__ import annotations

from .case import Case

inf, nan = float("inf"), float("nan")

TIES = [
    Case("abs at 0", """
        abs(x)
        np.abs(x)
        np.absolute(x)
        ad.abs(x)
        ad.absolute(x)
        x.abs()
        operator.abs(x)
        np.copysign(x, 1.0)
        ad.copysign(x, 1.0)
        x.copysign(1.0)
        x * np.sign(x)
        np.maximum(x, -x)
        np.linalg.norm(x[None], 1)
        ad.stack([x, -x]).max()
        """, (0.0,), (0.0,), 0.0, peers="torch, HIPS 0; jax 1"),
    Case("abs at 0, as a root of squares", "np.hypot(x, 0.0)\nad.hypot(0.0, x)\n"
         "np.linalg.norm(ad.stack([x, 0.0]))\nnp.linalg.norm(x)", (0.0,), (0.0,)),
    Case("abs at -0.0", "abs(x)\nnp.abs(x)\nx.abs()\nnp.copysign(x, 1.0)", (-0.0,), (0.0,), 0.0),
    Case("relu at 0", """
        ad.relu(x)
        x.relu()
        ad.nn.functional.relu(x)
        ad.nn.ReLU()(x)
        ad.nn.Sequential(ad.nn.ReLU())(x)
        ad.leaky_relu(x, 0.0)
        ad.threshold(x, 0.0, 0.0)
        """, (0.0,), (0.0,), 0.0, "torch, jax 0",
        note="`np.where(x > 0, x, 0)` and Python's `max` pick a branch; `ad.kinks` names them"),
    Case("maximum(x, 0) at 0, in every spelling", """
        np.maximum(x, 0.0)
        np.maximum(0.0, x)
        np.maximum(x, 0)
        ad.maximum(x, 0.0)
        x.maximum(0.0)
        np.fmax(x, 0.0)
        np.fmax(0.0, x)
        ad.fmax(x, 0.0)
        x.fmax(0.0)
        np.clip(x, 0.0, None)
        np.clip(x, 0.0, 9.0)
        np.clip(x, 0, 9)
        np.clip(x, min=0.0)
        np.clip(x, a_min=0.0, a_max=inf)
        x.clip(0.0)
        x.clip(0.0, 9.0)
        x.clip(min=0.0)
        ad.clip(x, 0.0)
        ad.clip(x, min=0.0, max=9.0)
        ad.clamp(x, min=0.0)
        ad.clamp(x, 0.0, 9.0)
        x.clamp(min=0.0)
        x.clamp(0.0, 9.0)
        ad.stack([x, 0.0]).max()
        ad.stack([x, 0.0]).amax()
        ad.stack([0.0, x]).max(axis=0)
        ad.stack([0.0, x]).max(dim=0)
        ad.stack([0.0, x]).max(axis=-1, keepdims=True).sum()
        ad.max(ad.stack([x, 0.0]))
        ad.amax(ad.stack([x, 0.0]), axis=0)
        np.max(ad.stack([x, 0.0]))
        np.amax(ad.stack([x, 0.0]), axis=(0,))
        np.nanmax(ad.stack([x, 0.0]))
        ad.nanmax(ad.stack([x, 0.0]))
        np.maximum.reduce(ad.stack([x, 0.0]))
        np.fmax.reduce(ad.stack([x, 0.0]))
        np.maximum.accumulate(ad.stack([0.0, x]))[-1]
        ad.cummax(ad.stack([x, 0.0]))[-1]
        ad.array([x, 0.0]).max()
        ad.cat([x[None], np.zeros(1)]).max()
        ad.concatenate([x[None], np.zeros(1)]).max()
        np.max(ad.hstack([x, 0.0]))
        np.max(np.array([[1.0], [1.0]]) * ad.stack([x, 0.0])) * 1.0
        (x + abs(x)) / 2.0
        -np.minimum(-x, 0.0)
        -(-ad.stack([x, 0.0])).min()
        np.linalg.norm(ad.stack([1.0 + x, 1.0]), np.inf)
        """, (0.0,), (0.5,), 0.0,
        peers="torch 0.5 / 1 / 1 / 1 by spelling; clip: torch 1, jax 0.5, HIPS 0"),
    Case("minimum(x, 0) at 0, in every spelling", """
        np.minimum(x, 0.0)
        np.minimum(0.0, x)
        ad.minimum(x, 0.0)
        x.minimum(0.0)
        np.fmin(x, 0.0)
        ad.fmin(0.0, x)
        x.fmin(0.0)
        np.clip(x, None, 0.0)
        np.clip(x, -9.0, 0.0)
        x.clip(max=0.0)
        ad.clip(x, None, 0.0)
        ad.clamp(x, max=0.0)
        x.clamp(max=0.0)
        ad.stack([x, 0.0]).min()
        ad.stack([x, 0.0]).amin()
        ad.stack([x, 0.0]).min(axis=0)
        ad.min(ad.stack([x, 0.0]))
        ad.amin(ad.stack([x, 0.0]))
        np.min(ad.stack([x, 0.0]))
        np.amin(ad.stack([x, 0.0]), axis=0)
        np.nanmin(ad.stack([x, 0.0]))
        np.minimum.reduce(ad.stack([x, 0.0]))
        np.fmin.reduce(ad.stack([x, 0.0]))
        np.minimum.accumulate(ad.stack([x, 0.0]))[-1]
        ad.cummin(ad.stack([0.0, x]))[-1]
        (x - abs(x)) / 2.0
        -np.maximum(-x, 0.0)
        """, (0.0,), (0.5,), 0.0, peers="as maximum"),
    Case("maximum of two equal tensors: both share", """
        np.maximum(x, y)
        ad.maximum(y, x)
        x.maximum(y)
        np.fmax(x, y)
        ad.fmax(x, y)
        np.clip(x, y, 9.0)
        x.clamp(min=y)
        x.clamp(y, 9.0)
        ad.stack([x, y]).max()
        np.max(ad.stack([y, x]), axis=0)
        np.maximum.reduce(ad.stack([x, y]))
        np.maximum.accumulate(ad.stack([x, y]))[-1]
        x + ad.relu(y - x) * 0.5 - np.minimum(x - y, 0.0) * 0.0 + (y - x) * 0.5
        """, (1.0, 1.0), (0.5, 0.5), [[0.0, 0.0], [0.0, 0.0]]),
    Case("minimum of two equal tensors: both share", """
        np.minimum(x, y)
        ad.minimum(y, x)
        x.minimum(y)
        np.fmin(x, y)
        ad.fmin(x, y)
        np.clip(x, -9.0, y)
        x.clamp(max=y)
        ad.stack([x, y]).min()
        np.min(ad.stack([y, x]), axis=0)
        np.minimum.reduce(ad.stack([x, y]))
        """, (1.0, 1.0), (0.5, 0.5), [[0.0, 0.0], [0.0, 0.0]]),
    Case("clip at the upper bound", """
        np.clip(x, 0.0, 1.0)
        np.clip(x, 0, 1)
        ad.clip(x, 0.0, 1.0)
        ad.clamp(x, 0.0, 1.0)
        ad.clip(x, a_min=0.0, a_max=1.0)
        x.clip(0.0, 1.0)
        x.clamp(0.0, 1.0)
        x.clamp(min=0.0, max=1.0)
        np.minimum(np.maximum(x, 0.0), 1.0)
        """, (1.0,), (0.5,), 0.0, peers="torch 1, jax 0.5, HIPS 0"),
    Case("clip inside, and outside", "np.clip(x, 0.0, 1.0) + np.clip(2.0 * y, 0.0, 1.0)\n"
         "x.clamp(0.0, 1.0) + (2.0 * y).clamp(0.0, 1.0)", (0.5, 3.0), (1.0, 0.0), [[0.0] * 2] * 2),
    Case("fmax and nanmax beside a NaN", """
        np.fmax(x, y)
        ad.fmax(y, x)
        np.fmin(x, y)
        ad.stack([x, y])[1:].max()
        np.nanmax(ad.stack([x, y]))
        np.nanmin(ad.stack([x, y]))
        np.fmax.reduce(ad.stack([x, y]))
        """, (nan, 1.0), (0.0, 1.0), [[0.0, 0.0], [0.0, 0.0]]),
    Case("max of [1, 1, 0] over all or over an axis", """
        np.max(x)
        np.amax(x)
        x.max()
        x.amax()
        ad.max(x)
        ad.amax(x)
        np.max(x, axis=0)
        np.amax(x, axis=0)
        x.max(axis=0)
        x.max(dim=0)
        x.max(axis=(0,), keepdims=True).sum()
        x.amax(dim=0, keepdim=True).sum()
        ad.max(x, axis=-1)
        np.max(x[None], axis=1).sum()
        np.max(x[:, None], axis=0).sum()
        x.reshape(1, 3, 1).max(axis=(0, 1, 2))
        np.nanmax(x)
        np.nanmax(x, axis=0)
        np.maximum.reduce(x)
        np.fmax.reduce(x)
        np.maximum(x[0], x[1])
        -np.min(-x)
        np.linalg.norm(x, np.inf)
        """, ([1, 1, 0],), ([0.5, 0.5, 0],), [[0.0] * 3] * 3,
        peers="torch all .5 .5 0, dim 1 0 0; PyTensor and Dr.Jit 1 1 0"),
    Case("min of [0, 1, 0]", """
        np.min(x)
        np.amin(x, axis=0)
        x.min()
        x.amin()
        x.min(dim=0)
        ad.min(x)
        ad.amin(x)
        np.nanmin(x)
        np.minimum.reduce(x)
        np.minimum(x[2], x[0])
        """, ([0, 1, 0],), ([0.5, 0, 0.5],), [[0.0] * 3] * 3),
    Case("max of three equal elements", """
        np.max(x)
        x.max(axis=0)
        np.nanmax(x)
        ad.amax(x, axis=0)
        np.maximum.reduce(x)
        """, ([2, 2, 2],), ([1 / 3] * 3,), [[0.0] * 3] * 3),
    Case("max of infinities", "np.max(x)\nx.max(axis=0)\nnp.maximum(x[0], x[1])\n"
         "np.nanmax(x)\nnp.maximum.accumulate(x)[-1]", ([inf, inf, 0],), ([0.5, 0.5, 0],),
         [[0.0] * 3] * 3),
    Case("min of -infinities", "np.min(x)\nx.min(axis=0)\nnp.minimum(x[0], x[1])\n"
         "np.nanmin(x)\nnp.minimum.accumulate(x)[-1]", ([-inf, -inf, 0],), ([0.5, 0.5, 0],),
         [[0.0] * 3] * 3),
    Case("cummax with ties, summed", "np.maximum.accumulate(x).sum()\nad.cummax(x).sum()\n"
         "ad.cummax(x, axis=0).sum()\n-np.minimum.accumulate(-x).sum()\n"
         "-ad.cummin(-x, dim=0).sum()",
         ([1, 1, 0],), ([2, 1, 0],), [[0.0] * 3] * 3),
    Case("ptp of constants", "np.ptp(x)\nad.ptp(x)\nx.ptp()\nx.max() - x.min()",
         ([2, 2, 2],), ([0, 0, 0],), [[0.0] * 3] * 3),
    Case("sort with ties: stable order", """
        (np.sort(x) * np.arange(3.0)).sum()
        (ad.sort(x) * np.arange(3.0)).sum()
        (ad.sort(x, dim=0, stable=True) * np.arange(3.0)).sum()
        (np.sort(x, kind="stable") * np.arange(3.0)).sum()
        (x[ad.argsort(x, stable=True)] * np.arange(3.0)).sum()
        (np.take(x, np.argsort(x, kind="stable")) * np.arange(3.0)).sum()
        (np.take_along_axis(x, np.argsort(x, kind="stable"), 0) * np.arange(3.0)).sum()
        -(ad.sort(-x[::-1]) * np.array([2.0, 1.0, 0.0])).sum()
        """, ([2, 1, 1],), ([2, 0, 1],), [[0.0] * 3] * 3, "agree",
        note="each output feeds the element it came from"),
    Case("median of an even count: the two middle elements share", """
        np.median(x)
        np.median(x, axis=0)
        ad.median(x)
        x.median()
        x.median(dim=0)
        np.nanmedian(x)
        ad.nanmedian(x)
        np.quantile(x, 0.5)
        ad.quantile(x, 0.5)
        x.quantile(0.5)
        np.percentile(x, 50)
        np.nanquantile(x, 0.5)
        np.sort(x)[1:3].mean()
        """, ([4, 1, 3, 2],), ([0, 0, 0.5, 0.5],), [[0.0] * 4] * 4, "agree"),
    Case("median of an odd count", "np.median(x)\nx.median()\nnp.quantile(x, 0.5)\nnp.sort(x)[1]\n"
         "np.nanmedian(x)", ([4, 1, 3],), ([0, 0, 1],), [[0.0] * 3] * 3),
    Case("x % 3 at 3", """
        x % y
        np.remainder(x, y)
        np.mod(x, y)
        ad.remainder(x, y)
        ad.mod(x, y)
        np.fmod(x, y)
        ad.fmod(x, y)
        x.fmod(y)
        divmod(x, y)[1]
        np.divmod(x, y)[1]
        ad.divmod(x, y)[1]
        operator.mod(x, y)
        x - y * np.floor(x / y)
        x - y * (x // y)
        """, (3.0, 3.0), (1.0, -1.0), [[0.0, 0.0], [0.0, 0.0]], "agree"),
    Case("x % 3 at 3, of x alone", "x % 3\nx % 3.0\nnp.remainder(x, 3)\nnp.mod(x, 3.0)\n"
         "sum(divmod(x, 3.0))\nnp.fmod(x, 3)", (3.0,), (1.0,), 0.0, "agree"),
    Case("argmax on the path", "x * ad.argmax(ad.stack([x, x * 2.0]))\n"
         "x * np.argmax(ad.stack([x, x * 2.0]))\nx * ad.stack([x, x * 2.0]).argmax()",
         (3.0,), (1.0,), 0.0, note="zero derivative, no warning"),
    Case("argsort on the path", "(x * ad.argsort(x)).sum()\n(x * np.argsort(x)).sum()\n"
         "(x * x.argsort()).sum()", ([3, 1, 2],), ([1, 2, 0],), [[0.0] * 3] * 3),
    Case("a comparison on the path", "x * (x > 1.0)\nx * np.greater(x, 1.0)\n"
         "x * ad.greater_equal(x, 1.0)\nx * np.heaviside(x, 1.0)\nx * np.isfinite(x)",
         (3.0,), (1.0,), 0.0),
    Case("rounding on the path", """
        x + np.floor(x)
        x + np.ceil(x)
        x + np.round(x)
        x + np.rint(x)
        x + np.trunc(x)
        x + ad.round(x)
        x + x.floor()
        x + round(x)
        x + x // 1.0
        x + np.floor_divide(x, 1.0)
        """, (1.5,), (1.0,), 0.0,
        note="zero derivative, no warning"),
    Case("sign on the path", "x * np.sign(x)\nx * ad.sign(x)\nx * x.sign()", (-2.0,), (-1.0,), 0.0),
    Case("x[[0, 0]]: contributions add", """
        x[[0, 0]].sum()
        x[np.array([0, 0])].sum()
        x[(0, 0), ].sum()
        np.take(x, [0, 0]).sum()
        x.take([0, 0]).sum()
        ad.take(x, [0, 0]).sum()
        ad.index_select(x, 0, [0, 0]).sum()
        ad.gather(x, 0, [0, 0]).sum()
        x.gather(0, [0, 0]).sum()
        np.take_along_axis(x, np.array([0, 0]), 0).sum()
        x[0] + x[0]
        x[:1].repeat_interleave(2).sum()
        np.repeat(x[:1], 2).sum()
        np.broadcast_to(x[:1], (2,)).sum()
        """, ([1, 2],), ([2, 0],), [[0.0] * 2] * 2, "agree"),
    Case("y[0] = x", """
        ad.setitem(x, 0, x[1] * 3.0).sum()
        np.where(np.array([True, False, False]), x[1] * 3.0, x).sum()
        ad.scatter(x, 0, [0], x[1:2] * 3.0).sum()
        ad.concatenate([x[1:2] * 3.0, x[1:]]).sum()
        """, ([1, 2, 5],), ([0, 4, 1],), [[0.0] * 3] * 3,
        'HIPS: "setting an array element with a sequence"'),
]

ACTIVATIONS = [
    Case("relu6 at 0", "ad.relu6(x)", (0.0,), (0.0,), 0.0),
    Case("relu6 at 6", "ad.relu6(x)", (6.0,), (0.0,), 0.0),
    Case("leaky_relu at 0", "ad.leaky_relu(x)\nad.leaky_relu(x, 0.01)\n"
         "ad.leaky_relu(x, negative_slope=0.01)", (0.0,), (0.01,), 0.0),
    Case("hardtanh at 1", "ad.hardtanh(x)\nad.hardtanh(x, -1.0, 1.0)", (1.0,), (0.0,), 0.0),
    Case("hardtanh at -1", "ad.hardtanh(x)", (-1.0,), (0.0,), 0.0),
    Case("hardsigmoid at 3", "ad.hardsigmoid(x)", (3.0,), (0.0,), 0.0),
    Case("hardsigmoid at -3", "ad.hardsigmoid(x)", (-3.0,), (0.0,), 0.0),
    Case("hardswish at 3", "ad.hardswish(x)", (3.0,), (1.0,)),
    Case("hardswish at -3", "ad.hardswish(x)", (-3.0,), (0.0,)),
    Case("hardswish at 0", "ad.hardswish(x)", (0.0,), (0.5,), 1 / 3),
    Case("threshold at it", "ad.threshold(x, 1.0, 0.0)", (1.0,), (0.0,), 0.0),
    Case("softshrink at the bound", "ad.softshrink(x)\nad.softshrink(x, 0.5)", (0.5,), (0.0,), 0.0),
    Case("softshrink at the other bound", "ad.softshrink(x)", (-0.5,), (0.0,), 0.0),
    Case("hardshrink at the bound", "ad.hardshrink(x)", (-0.5,), (0.0,), 0.0),
    Case("elu at 0", "ad.elu(x)\nad.celu(x)", (0.0,), (1.0,), 1.0),
    Case("elu at 1000", "ad.elu(x)\nad.celu(x)", (1000.0,), (1.0,), 0.0),
    Case("selu at 0", "ad.selu(x)", (0.0,), (1.0507009873554805 * 1.6732632423543772,)),
    Case("gelu at 0", "ad.gelu(x)", (0.0,), (0.5,), (2 / 3.141592653589793) ** 0.5),
    Case("gelu at -1000", "ad.gelu(x)\nad.gelu(x, approximate='tanh')", (-1000.0,), (0.0,), 0.0),
    Case("gelu at 1000", "ad.gelu(x)\nad.gelu(x, approximate='tanh')", (1000.0,), (1.0,), 0.0),
    Case("silu at 0", "ad.silu(x)\nx * ad.sigmoid(x)", (0.0,), (0.5,), 0.5),
    Case("silu at -1000", "ad.silu(x)\nx * ad.sigmoid(x)", (-1000.0,), (0.0,), 0.0),
    Case("mish at -1000", "ad.mish(x)", (-1000.0,), (0.0,), 0.0),
    Case("sigmoid at -1000", """
        ad.sigmoid(x)
        x.sigmoid()
        ad.expit(x)
        ad.nn.functional.sigmoid(x)
        ad.nn.Sigmoid()(x)
        ad.exp(ad.log_sigmoid(x))
        0.5 * (1.0 + np.tanh(0.5 * x))
        """, (-1000.0,), (0.0,), 0.0),
    Case("softplus at 1000", "ad.softplus(x)\nad.nn.functional.softplus(x)\nnp.logaddexp(x, 0.0)\n"
         "-ad.log_sigmoid(-x)", (1000.0,), (1.0,), 0.0),
    Case("tanh at 1000", "np.tanh(x)\nad.tanh(x)\nx.tanh()\nad.nn.Tanh()(x)", (1000.0,), (0.0,),
         0.0),
    Case("gather twice", "ad.gather(ad.stack([x, 2.0 * x]), 0, [1, 1]).sum()\n"
         "ad.stack([x, 2.0 * x])[[1, 1]].sum()", (3.0,), (4.0,), 0.0),
]

CASES = TIES + ACTIVATIONS
