"""What derivatives cost, counted: multiplications, passes, operations, bytes; and timed.

    python examples/counting.py

Counts are exact: of multiplications by numbers that count them, of operations from the tape
(`ad.tape`), of bytes from the arrays that the graph holds. Times are medians on this machine.
The pages of docs/ import these functions, so that no number on them is typed by hand.
"""

import gc
import os
import platform
import re
import time
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

import adjoint as ad

# ---- multiplications of a product (B13)

class Counted:
    """A number that counts the multiplications it takes part in, in a list shared by all."""

    def __init__(self, value, log):
        self.value, self.log = value, log

    def __mul__(self, other):
        self.log.append((self.value, other.value))
        return Counted(self.value * other.value, self.log)


def naive_product_gradient(theta, from_one=True):
    """The gradient of ``prod(theta)``, each product of the others for itself, and its cost.

    Returns the gradient and the number of multiplications: n(n-1) if each product starts from 1,
    n(n-2) if it starts from the first of the others (n >= 2).
    """
    log = []
    numbers = [Counted(x, log) for x in theta]
    gradient = []
    for i in range(len(numbers)):
        others = numbers[:i] + numbers[i + 1:]
        product, rest = (Counted(1.0, log), others) if from_one else (others[0], others[1:])
        for x in rest:
            product = product * x
        gradient.append(product.value)
    return np.array(gradient), len(log)


def reverse_product_gradient(theta):
    """The same by reverse mode: the gradient, and its multiplications forward and backward."""
    leaves = [ad.tensor(float(x), requires_grad=True) for x in theta]

    def program():
        product = leaves[0]
        for x in leaves[1:]:
            product = product * x
        return product
    forward, backward = taped(program)
    gradient = np.array([x.grad.item() for x in leaves])
    return gradient, operations(forward)["multiply"], operations(backward)["multiply"]


# ---- passes

def forward_gradient(f, x):
    """The gradient of f by forward mode, one pass for each element; and how often f was run."""
    runs = []

    def counted(x):
        runs.append(1)
        return f(x)
    slopes = [ad.jvp(counted, (x,), (direction,))[1] for direction in np.eye(x.size)]
    return np.array(slopes), len(runs)


def reverse_gradient(f, x):
    """The gradient of f by reverse mode, and how often f was run for it."""
    runs = []

    def counted(x):
        runs.append(1)
        return f(x)
    return ad.grad(counted)(x), len(runs)


def logistic_loss(features, examples=100, seed=0):
    """A loss of one number for each feature: logistic regression on random examples."""
    rng = np.random.default_rng(seed)
    x, signs = rng.normal(size=(examples, features)), rng.choice([-1.0, 1.0], examples)
    return lambda w: np.mean(np.logaddexp(0.0, -signs * (x @ w))), rng.normal(size=features)


# ---- operations

def taped(program):
    """The steps of ``program()`` and those of its backward pass, as two lists of Nodes.

    The cotangent that starts the backward pass requires a gradient, so that no step of it is
    left out as a constant; a comparison is none, having no derivative.
    """
    with ad.tape() as nodes:
        result = program()
        forward = len(nodes)
        seed = ad.tensor(np.ones(result.shape, result.dtype), requires_grad=True)
        result.backward(seed, create_graph=True)
    return nodes[:forward], nodes[forward:]


def operations(nodes):
    """How often each operation occurs."""
    return Counter(n.prim.name for n in nodes)


def flops(n):
    """Additions, multiplications and function values of one step; moving numbers costs none."""
    if n.prim.name == "matmul":
        return 2 * n.aval.size * n.inputs[0].aval.shape[-1]
    if n.prim.name in {"transpose", "reshape", "broadcast_to"}:
        return 0
    return max(n.aval.size, *[i.aval.size for i in n.inputs])


def two_layer_network(batch=64, inputs=32, hidden=48, outputs=10, seed=0):
    """A program: the loss of a two-layer network, ``mean((W2 relu(W1 x + b1) + b2 - y)^2)``."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(batch, inputs)), rng.normal(size=(batch, outputs))
    w1, b1, w2, b2 = [ad.tensor(rng.normal(size=shape), requires_grad=True) for shape in
                      ((inputs, hidden), (hidden,), (hidden, outputs), (outputs,))]

    def program():
        return np.mean((ad.relu(x @ w1 + b1) @ w2 + b2 - y) ** 2)
    return program


# ---- bytes

def kept_bytes(result):
    """The bytes of the arrays that the graph behind a result holds, each counted once."""
    arrays, seen, stack = {}, set(), [result.node]
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if isinstance(n.value, np.ndarray):
            base = n.value if n.value.base is None else n.value.base
            arrays[id(base)] = base.nbytes
        stack += n.inputs
    return sum(arrays.values())


def peak_bytes(program):
    """The most memory that ``program()`` holds at once, as Python's allocator tells it."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        program()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def chain(length, x):
    """``length`` times ``x -> tanh(1.1 x)``: each step keeps one array, its result."""
    for _ in range(length):
        x = np.tanh(1.1 * x)
    return x


def checkpointed_chain(length, segments, x):
    """The same in ``segments`` parts, each forgotten and computed again in the backward pass."""
    steps = np.diff(np.linspace(0, length, segments + 1).astype(int))
    for k in steps.tolist():
        x = ad.checkpoint(lambda x, k=k: chain(k, x))(x)
    return x


def jacobian_route(x, w, cotangent):
    """dL/dX for a = X w by the Jacobian: form it, flatten, multiply, reshape (B19)."""
    jacobian = ad.jacobian(lambda x: x @ w)(x)
    product = cotangent @ jacobian.reshape(len(cotangent), -1)
    return product.reshape(x.shape), jacobian.nbytes


def product_route(x, w, cotangent):
    """dL/dX for a = X w without it: the vector-Jacobian product, outer(dL/da, w)."""
    _, pull = ad.vjp(lambda x: x @ w, x)
    (gradient,) = pull(cotangent)
    return gradient, gradient.nbytes


def training_bytes(widths, batch, item=4):
    """What training a fully connected network with Adam holds, in bytes, by kind.

    ``widths`` are the sizes of input, hidden layers and output, ``item`` the bytes of a number.
    Activations are what the backward pass reads: each layer's input. Adam keeps two numbers for
    each parameter, and there is a gradient for each.
    """
    parameters = sum(n * m + m for n, m in pairwise(widths))
    return {"parameters": item * parameters, "gradients": item * parameters,
            "optimiser": 2 * item * parameters,
            "activations": item * batch * sum(widths[:-1])}


# ---- time

def machine():
    """The processor, the number of cores this process may use, and the versions that matter."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*:\s*(.+)", information.read_text())
        name = found[1].strip() if found else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (f"{name}, {cores} cores; Python {platform.python_version()}, NumPy {np.__version__}, "
            f"adjoint {ad.__version__}")


def times(*programs, rounds=15, seconds=0.0):
    """The median time of each program in seconds, taken in turns so that all see the same load."""
    for program in programs:
        program()
    taken = [[] for _ in programs]
    begin = time.perf_counter()
    while len(taken[0]) < rounds or time.perf_counter() - begin < seconds:
        for program, list_ in zip(programs, taken, strict=True):
            start = time.perf_counter()
            program()
            list_.append(time.perf_counter() - start)
    return [median(each) for each in taken]


def table(head, rows):
    """A table as Markdown text; the first column is to the left, numbers are to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main():
    """Print the counts of B13 and B19, and what memory and checkpointing come to."""
    print("the gradient of a product of n numbers, in multiplications:")
    for n in (2, 5, 10, 100):
        theta = np.linspace(0.5, 1.5, n)
        naive, from_one = naive_product_gradient(theta)
        _, from_first = naive_product_gradient(theta, from_one=False)
        gradient, forward, backward = reverse_product_gradient(theta)
        assert np.allclose(naive, gradient, rtol=1e-12)
        print(f"  n = {n}: {from_one} = n(n-1) or {from_first} = n(n-2); "
              f"reverse mode {forward} + {backward}")
    f, w = logistic_loss(50)
    (slopes, many), (gradient, once) = forward_gradient(f, w), reverse_gradient(f, w)
    assert np.allclose(slopes, gradient, rtol=1e-10)
    print(f"a gradient of {w.size} numbers: {many} forward passes, or {once} reverse pass")
    x, v, dy = np.ones((60, 40)), np.ones(40), np.ones(60)
    print(f"dL/dX of a = X w, X 60 by 40: Jacobian {jacobian_route(x, v, dy)[1]:,} bytes, "
          f"product {product_route(x, v, dy)[1]:,} bytes")
    x = ad.tensor(np.linspace(0, 1, 10_000), requires_grad=True)
    whole = peak_bytes(lambda: chain(100, x).sum().backward())
    less = peak_bytes(lambda: checkpointed_chain(100, 10, x).sum().backward())
    print(f"100 steps on 10,000 numbers: at most {whole:,} bytes, checkpointed {less:,}")
    print(machine())


if __name__ == "__main__":
    main()
