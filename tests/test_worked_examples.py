"""The worked examples B1-B13 and B16-B18 of the courses, and A1's facts, as far as numbers go.

The golden values themselves are in test_golden.py; here is what each example claims about them.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.reverse import order
from adjoint.show.writing import rule_name
from adjoint.teach import Autograd, AutogradValue, ForwardValue, add_backward, mul_backward

GOLDEN = json.loads((Path(__file__).parent / "data" / "golden.json").read_text())
EXACT = {"rtol": 1e-12, "atol": 0}


def golden(name, group="adjoints"):
    return {k: np.array(v["f64"])[()] for k, v in GOLDEN[name][group].items()}


def given(name):
    return {k: np.array(v)[()] for k, v in GOLDEN[name]["inputs"].items()}


def leaf(value):
    return ad.tensor(value, requires_grad=True)


# ---- A1: what the PyTorch-like course engine promises

def test_three_lines_of_the_course_example():
    a = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    b = leaf([-1.0, 1.0])
    c = (a + b).sum()
    c.backward()
    assert repr(c) == "tensor(21., grad_fn=<sum>)"
    assert repr(a.grad) == "tensor([[1., 1.],\n        [1., 1.],\n        [1., 1.]])"
    assert repr(b.grad) == "tensor([3., 3.])"


def test_leaves_accumulate_and_results_and_constants_have_no_grad():
    x, w = ad.tensor([1.0, 2.0]), leaf([3.0, 5.0])
    y = x * w
    L = y.sum()
    L.backward(retain_graph=True)
    L.backward()
    assert w.grad.tolist() == [2.0, 4.0]
    assert x.grad is None and y.grad is None and L.grad is None


def test_unbroadcast_sums_what_broadcasting_added():
    grad = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(ad.unbroadcast(grad, (4,)), grad.sum((0, 1)))
    np.testing.assert_array_equal(ad.unbroadcast(grad, (3, 1)), grad.sum((0, 2))[:, None])
    np.testing.assert_array_equal(ad.unbroadcast(grad, ()), grad.sum())
    assert ad.unbroadcast(grad, (2, 3, 4)) is grad


def test_unbroadcast_never_sums_the_axes_to_keep():
    """A batch of matrices times one matrix: the batch axis is summed, the matrix axes never."""
    rng = np.random.default_rng(0)
    a, b, dy = rng.normal(size=(5, 2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(5, 2, 4))
    by_hand = ad.unbroadcast(np.swapaxes(a, -1, -2) @ dy, (3, 4), to_keep=2)
    np.testing.assert_allclose(by_hand, ad.vjp(np.matmul, a, b)[1](dy)[1], rtol=1e-13)
    grad = np.ones((5, 1, 4))
    assert ad.unbroadcast(grad, (1, 1), to_keep=2).shape == (1, 4)


def test_unbroadcast_is_not_recorded_unless_its_argument_is():
    assert isinstance(ad.unbroadcast(np.ones((3, 2)), (2,)), np.ndarray)
    x = leaf(np.ones((3, 2)))
    ad.unbroadcast(x, (2,)).sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0]] * 3


# ---- B1: y = ln x1 + x1 x2 - sin x2

def test_forward_and_reverse_trace_with_three_decimals():
    x1, x2 = leaf(2.0), leaf(5.0)
    with ad.tape() as nodes:
        v3, v4 = np.log(x1), x1 * x2
        v5 = np.sin(x2)
        v6 = v3 + v4
        v7 = v6 - v5
    assert [n.prim.name for n in nodes] == ["log", "multiply", "sin", "add", "subtract"]
    assert [f"{n.value:.3f}" for n in nodes] == ["0.693", "10.000", "-0.959", "10.693", "11.652"]
    for v in (v3, v4, v5, v6):
        v.retain_grad()
    v7.backward()
    assert [v.grad.item() for v in (v3, v4, v5, v6)] == [1.0, 1.0, -1.0, 1.0]
    through_sine = v5.grad.item() * ad.grad(np.sin)(5.0)
    assert f"{through_sine:.3f}" == "-0.284"
    assert f"{x2.grad.item():.3f}" == "1.716" == f"{through_sine + v4.grad.item() * 2.0:.3f}"
    assert x1.grad.item() == 5.5


# ---- B2: L = -log sigmoid(w x^2)

def test_break_up_differentiate_each_step_and_multiply():
    x, w = 2.0, 0.5
    steps = [lambda x: x ** 2, lambda a: w * a, ad.sigmoid, np.log, np.negative]
    value, product = np.float64(x), 1.0
    for step in steps:
        product *= ad.grad(step)(value)
        value = step(value)
    np.testing.assert_allclose(product, golden("neg_log_sigmoid")["x"], **EXACT)
    np.testing.assert_allclose(value, golden("neg_log_sigmoid", "values")["L"], **EXACT)


def test_forward_mode_at_node_b_and_what_need_not_be_kept():
    x, w = ForwardValue(2.0), ForwardValue(0.5)
    b = w * x ** 2
    assert b.forward_grads == {x: 2 * 0.5 * 2.0, w: 4.0}
    assert b.parent_values == [0.5, 4.0]  # numbers: the steps before are gone
    t = leaf(2.0)
    c = np.log(ad.sigmoid(0.5 * t ** 2))
    L = -c
    kept = {n.prim.name: n.value is not None for n in order([L.node])}
    assert not kept["log"] and not kept["negative"] and kept["sigmoid"]


# ---- B3: partial and total derivatives

def test_partial_against_total_derivative():
    a = 4.0
    assert ad.grad(lambda a, b: a * b)(a, 5 * a) == 5 * a
    assert ad.grad(lambda a: a * (5 * a))(a) == 5 * a + 5 * a
    assert ad.grad(lambda x: -(x ** 2) * 5 * x ** 2)(2.0) == -160.0


def test_five_a_log_a():
    slope = ad.grad(lambda x: -(5 * x ** 2 * np.log(x ** 2)))(2.0)
    np.testing.assert_allclose(slope, golden("x2logx2")["x"], **EXACT)
    np.testing.assert_allclose(slope, -(5 * math.log(4.0) + 5) * 2 * 2.0, **EXACT)


# ---- B4: the made-up vector activation

def partials(y, x, a, b):
    return [np.array(ad.grad(y, k)(x, a, b)) for k in range(3)]


def test_influence_diagram_has_nine_nodes_and_seven_paths():
    x = np.array([AutogradValue(v) for v in (0.4, 0.5, 0.6)])
    a, b = np.sum(x), np.sum(np.log(x))
    y = np.cos(np.exp(x) * a / b)
    L = np.sum(y)
    named = {*x, a, b, *y, L}
    assert len(named) == 9

    def paths(node, end):
        """How many ways lead down from ``node`` to ``end``."""
        return 1 if node is end else sum(paths(i, end) for i in node.inputs)
    assert [paths(L, each) for each in x] == [7, 7, 7]


def test_where_the_slides_have_a_stray_factor():
    """The slides' formulas against ours, in both readings of their activation."""
    x, a, b = 0.4, 1.5, -2.1
    u = math.exp(x * a) / b
    slides = [-math.sin(u) * a * math.exp(x * a) / b, -math.sin(u) * x * math.exp(x * a) / b,
              math.sin(u) * x * math.exp(x * a) / b ** 2]
    exponent = partials(lambda x, a, b: np.cos(np.exp(x * a) / b), x, a, b)
    np.testing.assert_allclose(exponent[:2], slides[:2], rtol=1e-14)
    np.testing.assert_allclose(exponent[2] * x, slides[2], rtol=1e-14)
    product = partials(lambda x, a, b: np.cos(np.exp(x) * a / b), x, a, b)
    assert all(abs(p - s) > 0.01 for p, s in zip(product, slides, strict=True))


# ---- B5: total derivative

def test_total_derivative_leaves_out_the_influence_of_w():
    x, w = 1.5, 0.5
    z = x * w
    direct, through_z = ad.grad(lambda x, z: x ** 2 + x * np.sin(z), (0, 1))(x, z)
    total = direct + through_z * ad.grad(lambda x: x * w)(x)
    np.testing.assert_allclose(total, golden("total_derivative")["x"], **EXACT)
    np.testing.assert_allclose(direct, 2 * x + math.sin(z), rtol=1e-14)
    np.testing.assert_allclose(through_z, golden("total_derivative")["z"], **EXACT)
    with_w = ad.jvp(lambda x, w: x ** 2 + x * np.sin(x * w), (x, w), (1.0, 0.0))[1]
    np.testing.assert_allclose(total, with_w, rtol=1e-14)


# ---- B6: derivatives as linear maps, and their shapes

def test_delta_y_is_the_derivative_times_delta_x():
    def f(x):
        return np.stack([x[0] * x[1], np.sin(x[2])])
    x, dx = np.array([1.0, 2.0, 3.0]), np.array([0.3, -0.1, 0.2])
    J = ad.jacobian(f)(x)
    y, dy = ad.jvp(f, (x,), (dx,))
    np.testing.assert_allclose(dy, J @ dx, rtol=1e-14)
    errors = [np.linalg.norm(f(x + h * dx) - y - h * dy) for h in (1e-2, 1e-3)]
    assert errors[1] < 0.011 * errors[0]  # what the linear map leaves out is of second order


def test_layouts_of_rows_columns_and_matrices():
    x, W = np.array([1.0, 2.0, 3.0]), np.arange(6.0).reshape(2, 3)

    def scalar(x): return (x ** 2).sum()
    def vector(x): return W @ x
    def of_matrix(W): return (W ** 2).sum()
    row = ad.jacobian(scalar, layout="numerator")(x)
    assert row.shape == (1, 3)
    assert ad.jacobian(vector, layout="numerator")(x).shape == (2, 3)
    assert ad.jacobian(of_matrix, layout="numerator")(W).shape == (3, 2)
    assert ad.jacobian(scalar, layout="denominator")(x).shape == (3, 1)
    assert ad.jacobian(vector, layout="denominator")(x).shape == (3, 2)
    assert ad.jacobian(of_matrix, layout="denominator")(W).shape == (2, 3)
    np.testing.assert_array_equal(ad.jacobian(scalar, layout="denominator")(x), row.T)
    np.testing.assert_array_equal(ad.grad(scalar)(x), row[0])
    np.testing.assert_array_equal(ad.jacobian(vector)(x), W)


def test_the_gradient_points_in_the_steepest_direction_and_its_length_is_the_rate():
    def f(x): return x[0] ** 2 + 3 * x[0] * x[1]
    x = np.array([1.0, -2.0])
    g = ad.grad(f)(x)
    angles = np.linspace(0, 2 * np.pi, 361)
    rates = [ad.jvp(f, (x,), (np.array([np.cos(t), np.sin(t)]),))[1] for t in angles]
    best = angles[int(np.argmax(rates))]
    np.testing.assert_allclose([np.cos(best), np.sin(best)], g / np.linalg.norm(g), atol=0.01)
    along = ad.jvp(f, (x,), (g / np.linalg.norm(g),))[1]
    np.testing.assert_allclose(along, np.linalg.norm(g), rtol=1e-14)
    assert max(rates) <= along


# ---- B7: the one-layer and two-layer tanh networks

def walk(node, seen):
    """Depth first from the result, each node once, operands from left to right."""
    seen.append(node)
    for i in node.inputs:
        if i not in seen:
            walk(i, seen)
    return seen


def test_visiting_order_and_shapes_of_the_tanh_layer():
    inputs = given("tanh_layer")
    W1, b1, x = leaf(inputs["W"]), leaf(inputs["b"]), ad.tensor(inputs["x"])
    product = W1 @ x
    total = b1 + product
    out = np.tanh(total)
    seen = walk(out.node, [])
    assert [n.prim.name for n in seen] == ["tanh", "add", "leaf", "matmul", "leaf", "constant"]
    assert seen[2] is b1.node and seen[4] is W1.node
    assert [n.aval.shape for n in seen] == [(4,), (4,), (4,), (4,), (4, 3), (3,)]
    for v in (product, total, out):
        v.retain_grad()
    u = np.array([1.0, -2.0, 0.5, 3.0])
    out.backward(u)
    exact = golden("tanh_layer")
    np.testing.assert_allclose(total.grad.numpy(), exact["z"], **EXACT)
    np.testing.assert_allclose(product.grad.numpy(), exact["z"], **EXACT)
    np.testing.assert_allclose(W1.grad.numpy(), np.outer(exact["z"], inputs["x"]), **EXACT)
    np.testing.assert_allclose(b1.grad.numpy(), exact["b"], **EXACT)
    assert x.grad is None
    np.tanh(W1 @ x + b1).backward(u)
    np.testing.assert_allclose(W1.grad.numpy(), 2 * exact["W"], **EXACT)
    np.testing.assert_allclose(b1.grad.numpy(), 2 * exact["b"], **EXACT)


def test_two_layer_network_of_vectors():
    """y2's gradient is a row times W; all gradients against central differences."""
    rng = np.random.default_rng(0)
    values = {k: rng.normal(size=s) for k, s in {
        "x1": 2, "x2": 3, "y1": 2, "Wx1": (4, 2), "bx1": 4, "Wx2": (4, 3), "bx2": 4, "Wy1": (5, 2),
        "by1": 5, "Wy2": (5, 4), "by2": 5}.items()}
    u = rng.normal(size=5)

    def network(x1, x2, y1, Wx1, bx1, Wx2, bx2, Wy1, by1, Wy2, by2):
        y2 = np.tanh(Wx1 @ x1 + bx1 + Wx2 @ x2 + bx2)
        return y2, np.tanh(Wy1 @ y1 + by1 + Wy2 @ y2 + by2)
    leaves = {k: leaf(v) for k, v in values.items()}
    y2, z1 = network(**leaves)
    y2.retain_grad()
    z1.backward(u)
    row = u * (1 - z1.detach().numpy() ** 2)
    np.testing.assert_allclose(y2.grad.numpy(), row @ values["Wy2"], rtol=1e-13)
    for k, v in values.items():
        slopes = np.zeros(v.shape)
        for at in np.ndindex(v.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = v.copy()
                moved[at] += h
                ends.append(u @ network(**(values | {k: moved}))[1])
            slopes[at] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(leaves[k].grad.numpy(), slopes, rtol=1e-7, atol=1e-8)


# ---- B8: backward functions

def test_add_passes_the_gradient_mul_swaps_and_matmul_multiplies():
    dy = np.array([[1.0, 2.0], [3.0, 4.0]])
    x, z = np.array([[5.0, 6.0], [7.0, 8.0]]), np.array([[-1.0, 2.0], [0.5, 3.0]])
    for f, (dx, dz) in [(np.add, (dy, dy)), (np.multiply, (dy * z, dy * x)),
                        (np.matmul, (dy @ z.T, x.T @ dy))]:
        got = ad.vjp(f, x, z)[1](dy)
        np.testing.assert_allclose(got[0], dx, rtol=1e-15)
        np.testing.assert_allclose(got[1], dz, rtol=1e-15)


# ---- B9: shared weights: = or +=

def contributions():
    """The gradient that each position alone sends to the shared parameters."""
    inputs = given("scanning_mlp")
    X, shared = inputs.pop("X"), inputs

    def loss(copies):
        return sum((p["w2"] @ np.tanh(p["W1"] @ X[t] + p["b1"])) ** 2
                   for t, p in enumerate(copies))
    return ad.grad(loss)([dict(shared) for _ in range(4)])


def test_shared_weights_receive_the_sum_of_all_uses():
    each, exact = contributions(), golden("scanning_mlp")
    for k in ("W1", "b1", "w2"):
        total = np.zeros(np.shape(exact[k]))
        for t in reversed(range(4)):  # "always += from 0"
            total += each[t][k]
        np.testing.assert_allclose(total, exact[k], **EXACT)
        for t in range(4):  # what "=" would leave behind: one use alone
            assert not np.allclose(each[t][k], exact[k], rtol=0.05)


def accumulated(twice, update):
    """Gradients of x1 and x2 on the two figures, with ``update(old, new)`` in place of ``+=``."""
    x1, x2 = 2.0, 3.0
    found = {"x1": 0.0, "x2": 0.0}
    steps = [(("x1", x2), ("x2", x1))]  # a = x1 x2
    if twice:  # y = a + x1 + x2: later in the program, so first on the way back
        steps.insert(0, (("x1", 1.0), ("x2", 1.0)))
    for step in steps:
        for name, factor in step:
            found[name] = update(found[name], 1.0 * factor)
    exact = ad.grad(lambda x1, x2: x1 * x2 + (x1 + x2 if twice else 0.0), (0, 1))(x1, x2)
    return (found["x1"], found["x2"]), exact


def test_where_assignment_is_enough_and_where_it_loses_a_use():
    def assign(old, new): return new
    def add(old, new): return old + new
    once, exact_once = accumulated(twice=False, update=assign)
    assert once == exact_once == accumulated(twice=False, update=add)[0]
    lost, exact = accumulated(twice=True, update=assign)
    assert lost != exact and exact == accumulated(twice=True, update=add)[0] == (4.0, 3.0)


def test_the_operation_list_accumulates_over_uses():
    x1, x2 = np.array(2.0), np.array(3.0)
    engine = Autograd()
    a = np.asarray(x1 * x2)
    engine.add_operation([x1, x2], a, [None, None], mul_backward)
    b = np.asarray(a + x1)
    engine.add_operation([a, x1], b, [None, None], add_backward)
    y = np.asarray(b + x2)
    engine.add_operation([b, x2], y, [None, None], add_backward)
    engine.backward(1.0)
    assert [engine.gradient_buffer.get_param(x) for x in (x1, x2)] == [4.0, 3.0]


# ---- B10: the toy network, in scalars and in matrices

@pytest.mark.parametrize(("name", "slope"), [
    ("toy_relu", lambda f: float(f > 0)), ("toy_sin", math.cos)])
def test_toy_network_backward_each_line_one_new_factor(name, slope):
    p, v, exact = given(name), golden(name, "values"), golden(name)
    dl_df = {3: 2 * (v["f3"] - p["y"])}
    dl_dh = {}
    for k in (3, 2, 1):
        dl_dh[k] = p[f"w{k}"] * dl_df[k]  # what is already computed, times one factor
        dl_df[k - 1] = slope(v[f"f{k - 1}"]) * dl_dh[k]
    h = {0: p["x"]} | {k: v[f"h{k}"] for k in (1, 2, 3)}
    for k in range(4):
        np.testing.assert_allclose(dl_df[k], exact[f"f{k}"], **EXACT)
        np.testing.assert_allclose(dl_df[k], exact[f"b{k}"], **EXACT)
        np.testing.assert_allclose(h[k] * dl_df[k], exact[f"w{k}"], **EXACT)
    for k in (1, 2, 3):
        np.testing.assert_allclose(dl_dh[k], exact[f"h{k}"], **EXACT)


def test_the_same_in_matrices():
    p, v, exact = given("matrix_relu"), golden("matrix_relu", "values"), golden("matrix_relu")
    dl_df = 2 * (v["f2"] - p["y"])
    h = [p["x"], v["h1"], v["h2"]]
    for k in (2, 1, 0):
        np.testing.assert_allclose(dl_df, exact[f"b{k}"], **EXACT)
        np.testing.assert_allclose(np.outer(dl_df, h[k]), exact[f"W{k}"], **EXACT)
        dl_dh = p[f"W{k}"].T @ dl_df
        np.testing.assert_allclose(dl_dh, exact[f"h{k}" if k else "x"], **EXACT)
        if k:
            dl_df = (v[f"f{k - 1}"] > 0) * dl_dh  # the indicator I[f > 0]
    assert (v["f1"] < 0).any()  # some units are dead


def test_scalar_factors_become_matrices():
    W, h, b = np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5]]), np.ones(3), np.zeros(2)
    def f(h, b): return b + W @ h
    df_dh, df_db = ad.jacobian(f, (0, 1), layout="denominator")(h, b)
    np.testing.assert_array_equal(df_dh, W.T)  # w3 in the scalar network
    np.testing.assert_array_equal(df_db, np.eye(2))  # 1 in the scalar network


# ---- B11: least squares

def test_least_squares_with_intercept():
    p, exact = given("linear_regression"), golden("linear_regression")
    r = p["p0"] + p["p1"] * p["x"] - p["y"]
    np.testing.assert_allclose((2 * r).sum(), exact["p0"], **EXACT)
    np.testing.assert_allclose((2 * r * p["x"]).sum(), exact["p1"], **EXACT)


def test_mean_square_forward_and_reverse_side_by_side():
    p, v, exact = given("mse_linear"), golden("mse_linear", "values"), golden("mse_linear")
    steps = [(lambda s: s.mean(), "s"), (lambda r: r ** 2, "r"), (lambda q: p["y"] - q, "p"),
             (lambda w: p["X"] @ w, "w")]
    dy = np.float64(1.0)
    for step, at in steps:  # reverse: one vector-Jacobian product for each step
        dy = ad.vjp(step, v[at])[1](dy)[0]
        np.testing.assert_allclose(dy, exact[at], **EXACT)
    slopes = []
    for unit in np.eye(3):  # forward: the same steps from the other end, once for each weight
        dx = unit
        for step, at in reversed(steps):
            dx = ad.jvp(step, (v[at],), (dx,))[1]
        slopes.append(dx)
    np.testing.assert_allclose(slopes, exact["w"], **EXACT)


def test_jacobian_of_the_square_is_a_diagonal_that_is_never_formed():
    b, n = np.linspace(-1.0, 1.0, 7), 200_000
    np.testing.assert_array_equal(ad.jacobian(np.square)(b), np.diag(2 * b))
    large = np.linspace(-1.0, 1.0, n)
    with ad.tape() as nodes:
        _, pullback = ad.vjp(np.square, large)
        (dx,) = pullback(np.ones(n))  # the Jacobian would have n^2 = 4e10 elements
    np.testing.assert_array_equal(dx, 2 * large)
    assert max(m.aval.size for m in nodes) == n


# ---- B12: losses

LOGITS = np.array(GOLDEN["cross_entropy"]["inputs"]["logits"])
LABELS = np.array([0, 0, 1])


def cross_entropy(logits, labels):
    return -ad.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean()


def test_cross_entropy_of_three_observations():
    loss, grad = ad.value_and_grad(cross_entropy)(LOGITS, LABELS)
    np.testing.assert_allclose(loss, golden("cross_entropy", "values")["L"], **EXACT)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    np.testing.assert_allclose(grad, (p - np.eye(2)[LABELS]) / 3, rtol=1e-9)
    np.testing.assert_allclose(grad, golden("cross_entropy")["logits"], rtol=1e-10)


def test_the_bound_ln_classes_holds_only_for_models_no_worse_than_guessing():
    for classes in (2, 10):
        guess = cross_entropy(np.zeros((5, classes)), np.arange(5) % classes)
        np.testing.assert_allclose(guess, math.log(classes), rtol=1e-14)
    assert cross_entropy(LOGITS, LABELS) < math.log(2)
    assert cross_entropy(LOGITS, 1 - LABELS) > math.log(2)  # confident and wrong: no bound
    assert cross_entropy(np.array([[0.0, 100.0]]), np.array([0])) == pytest.approx(100.0)


def test_accuracy_has_no_slope_so_training_is_on_the_loss():
    def accuracy(logits): return (logits.argmax(1) == LABELS).mean()
    assert accuracy(LOGITS) == pytest.approx(2 / 3)
    step = LOGITS - 0.1 * ad.grad(cross_entropy)(LOGITS, LABELS)
    assert cross_entropy(step, LABELS) < cross_entropy(LOGITS, LABELS)
    assert accuracy(step) == accuracy(LOGITS)


def test_binary_nll_and_the_shapes_of_its_gradients():
    p, exact = given("binary_nll"), golden("binary_nll")

    def nll(w0, W):
        return -ad.log_sigmoid(p["sign"] * (ad.sigmoid(p["X"] @ W.T) @ w0)).sum()
    dw0, dW = ad.grad(nll, (0, 1))(p["w0"], p["W"])
    assert dw0.shape == (3,) and dW.shape == (3, 2)
    np.testing.assert_allclose(dw0, exact["w0"], **EXACT)
    np.testing.assert_allclose(dW, exact["W"], **EXACT)


# ---- B13: counting

def multiplications(nodes):
    return sum(n.prim.name == "multiply" for n in nodes)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_derivative_of_a_product_naive_is_quadratic_and_reverse_linear(n):
    theta = [leaf(v) for v in np.linspace(0.5, 1.5, n)]
    with ad.tape() as nodes:
        naive = []
        for i in range(n):
            p = 1.0
            for j in range(n):
                p = p if i == j else p * theta[j]
            naive.append(p)
    assert multiplications(nodes) == n * (n - 1)
    with ad.tape() as nodes:
        for i in range(n):
            others = theta[:i] + theta[i + 1:]
            p = others[0]
            for each in others[1:]:
                p = p * each
    assert multiplications(nodes) == n * (n - 2)
    with ad.tape() as nodes:
        p = theta[0]
        for each in theta[1:]:
            p = p * each
        p.backward(create_graph=True)
    assert multiplications(nodes) == (n - 1) + 2 * (n - 1)
    np.testing.assert_allclose([t.grad.item() for t in theta], [p.item() for p in naive],
                               rtol=1e-13)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_forward_mode_needs_n_passes_and_reverse_mode_one(n):
    calls = []

    def f(theta):
        calls.append(1)
        p = theta[0]
        for k in range(1, n):
            p = p * theta[k]
        return p
    theta = np.linspace(0.5, 1.5, n)
    forward = [ad.jvp(f, (theta,), (unit,))[1] for unit in np.eye(n)]
    assert len(calls) == n
    calls.clear()
    reverse = ad.grad(f)(theta)
    assert len(calls) == 1
    np.testing.assert_allclose(forward, reverse, rtol=1e-13)


# ---- B16: the scalar cheat sheet

@pytest.mark.parametrize(("f", "derivative", "rules"), [
    (lambda x: 99.0, lambda x: 0.0, []),
    (lambda x: 3 * x, lambda x: 3.0, ["constant factor"]),
    (lambda x: x ** 3, lambda x: 3 * x ** 2, ["power rule"]),
    (lambda x: x ** 2 + 3 * x, lambda x: 2 * x + 3, ["power rule", "constant factor", "sum rule"]),
    (lambda x: x ** 2 - 3 * x, lambda x: 2 * x - 3, ["power rule", "constant factor",
                                                     "difference rule"]),
    (lambda x: x ** 2 * x, lambda x: 3 * x ** 2, ["power rule", "product rule"]),
    (lambda x: np.log(x ** 2), lambda x: 2 / x, ["power rule", "chain rule for the logarithm"])])
def test_rules_of_the_scalar_cheat_sheet(f, derivative, rules):
    x = 1.7
    assert ad.grad(f)(x) == pytest.approx(derivative(x), rel=1e-14)
    assert ad.jvp(f, (x,), (1.0,))[1] == pytest.approx(derivative(x), rel=1e-14)
    steps = ad.explain(f, x).record.operations if rules else []  # a constant has no derivation
    assert [rule_name(s) for s in steps] == rules


# ---- B17: the rule gallery, with shapes

def numerator(f, argnums=0):
    return ad.jacobian(f, argnums, layout="numerator")


def test_scalar_rules_chain_addition_multiplication_and_branches():
    x = 0.7
    assert ad.grad(lambda x: np.sin(x ** 2))(x) == pytest.approx(math.cos(x ** 2) * 2 * x)
    assert ad.grad(lambda x: np.sin(x) + x ** 2)(x) == pytest.approx(math.cos(x) + 2 * x)
    assert ad.grad(lambda x: np.sin(x) * x ** 2)(x) == pytest.approx(
        math.cos(x) * x ** 2 + math.sin(x) * 2 * x)
    branches = [np.sin, np.exp, lambda x: x ** 3]
    assert ad.grad(lambda x: sum(g(x) for g in branches))(x) == pytest.approx(
        sum(ad.grad(g)(x) for g in branches))


@pytest.mark.parametrize("M", [1, 4])
def test_vector_rules_chain_addition_and_branches(M):
    """L has M elements: each node carries an M x K adjoint, one row for each of them."""
    rng = np.random.default_rng(0)
    A, B, x = rng.normal(size=(M, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
    def z(x): return np.tanh(B @ x)
    def L(z): return A @ np.sin(z)
    chain = numerator(lambda x: L(z(x)))(x)
    outer, inner = numerator(L)(z(x)), numerator(z)(x)
    assert (chain.shape, outer.shape, inner.shape) == ((M, 5), (M, 3), (3, 5))
    np.testing.assert_allclose(chain, outer @ inner, rtol=1e-13)
    def y(x): return B @ (x * x)
    np.testing.assert_allclose(numerator(lambda x: z(x) + y(x))(x),
                               numerator(z)(x) + numerator(y)(x), rtol=1e-13)
    branches = [z, y, np.sin, lambda x: x ** 2]
    weights = [rng.normal(size=(M, 3)), rng.normal(size=(M, 3)), rng.normal(size=(M, 5)),
               rng.normal(size=(M, 5))]
    whole = numerator(lambda x: sum(V @ g(x) for V, g in zip(weights, branches, strict=True)))(x)
    parts = [V @ numerator(g)(x) for V, g in zip(weights, branches, strict=True)]
    assert whole.shape == (M, 5)
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-12)


def test_linear_layer_dl_dx_is_a_row_times_w_and_dl_dw_is_x_times_a_row():
    rng = np.random.default_rng(1)
    W, x, y = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=3)
    def f1(z): return np.sum(np.tanh(z))
    def L(W, x, y): return f1(W @ x) + np.sum(np.exp(y))
    dL_dz = numerator(f1)(W @ x)
    dL_dW, dL_dx, dL_dy = numerator(L, (0, 1, 2))(W, x, y)
    assert (dL_dz.shape, dL_dx.shape, dL_dW.shape, dL_dy.shape) == ((1, 3), (1, 5), (5, 3), (1, 3))
    np.testing.assert_allclose(dL_dx, dL_dz @ W, rtol=1e-13)
    np.testing.assert_allclose(dL_dW, x[:, None] @ dL_dz, rtol=1e-13)
    np.testing.assert_allclose(dL_dy, np.exp(y)[None, :], rtol=1e-13)


@pytest.mark.parametrize("M", [1, 4])
def test_two_matrices_in_a_row(M):
    rng = np.random.default_rng(2)
    U, V, W, x = [rng.normal(size=s) for s in ((M, 2), (2, 3), (3, 5), 5)]
    def y(x): return V @ (W @ x)
    np.testing.assert_allclose(numerator(y)(x), V @ W, rtol=1e-13)
    np.testing.assert_allclose(numerator(lambda x: U @ y(x))(x), U @ V @ W, rtol=1e-13)


# ---- B18: ways to walk the graph

def pulled(node, dy):
    """What the node's rule sends back to each input; None for what is constant."""
    xs = [i.aval if i.value is None else i.value for i in node.inputs]
    return node.prim.vjp(dy, node.value, *xs, (True,) * len(xs))


def recursive(node, dy, found, visits):
    """Depth-first search as on the slides: every path is walked by itself."""
    visits.append(node)
    if not node.inputs:
        found[node] = found.get(node, 0.0) + dy
        return
    for source, part in zip(node.inputs, pulled(node, dy), strict=True):
        if part is not None:
            recursive(source, part, found, visits)


def in_order(nodes, root, visits):
    """One visit for each node, in the order given: children before their parents."""
    buffer = {root: 1.0}
    for node in nodes:
        visits.append(node)
        for source, part in zip(node.inputs, pulled(node, buffer[node]) if node.inputs else (),
                                strict=True):
            if part is not None:
                buffer[source] = buffer.get(source, 0.0) + part
    return buffer


def topological(node, seen, out):
    """Depth-first topological order, parents first."""
    if node not in seen:
        seen.add(node)
        for source in node.inputs:
            topological(source, seen, out)
        out.append(node)
    return out


def four_walks(y, tape, leaves):
    """{walk: (gradient of each leaf, number of visits)}."""
    found, visits = {}, []
    recursive(y.node, 1.0, found, visits)
    walks = {"recursive": (found, len(visits))}
    orders = {"topological": topological(y.node, set(), [])[::-1],
              "list": [*reversed(tape), *leaves], "index": order([y.node])}
    for name, nodes in orders.items():
        visits = []
        walks[name] = (in_order(nodes, y.node, visits), len(visits))
    return {name: ([float(found[n]) for n in leaves], count)
            for name, (found, count) in walks.items()}


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_a_chain_of_diamonds_visited_once_per_path_or_once_per_node(n):
    x = leaf(1.5)
    with ad.tape() as tape:
        y = x
        for _ in range(n):
            y = y + y
    walks = four_walks(y, tape, [x.node])
    assert walks["recursive"] == ([2.0 ** n], 2 ** (n + 1) - 1)
    for name in ("topological", "list", "index"):
        assert walks[name] == ([2.0 ** n], n + 1)
    y.backward()
    assert x.grad.item() == 2.0 ** n


def test_the_four_walks_give_the_same_gradient_on_the_first_example():
    x1, x2 = leaf(2.0), leaf(5.0)
    with ad.tape() as tape:
        y = np.log(x1) + x1 * x2 - np.sin(x2)
    walks = four_walks(y, tape, [x1.node, x2.node])
    y.backward()
    for gradients, visits in walks.values():
        np.testing.assert_allclose(gradients, [x1.grad.item(), x2.grad.item()], rtol=1e-15)
        assert visits >= 7
    assert walks["recursive"][1] == 9  # x1 and x2 are used twice
    assert {walks[name][1] for name in ("topological", "list", "index")} == {7}
