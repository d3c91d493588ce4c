"""PyTorch's face: leaves and results, accumulation, hooks, create_graph, no_grad, complex."""

import copy
import gc

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import MODES, Modes, switch
from adjoint.errors import ArgumentError, DTypeError, GraphError, ShapeError


def leaf(*values, **kwargs):
    return ad.tensor(values[0] if len(values) == 1 else list(values), requires_grad=True, **kwargs)


# ---- leaves and results

def test_leaves_accumulate_over_backward_and_over_uses():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (3.0 * x + x).sum().backward()
    assert x.grad.tolist() == [6.0, 8.0]


def test_not_reached_stays_none():
    x, z = leaf(1.0), leaf(2.0)
    (x * 1.0).backward()
    assert z.grad is None
    assert x.grad.item() == 1.0


def test_grad_of_a_result_reads_none():
    x = leaf(2.0)
    y = x * x
    (y * y).backward()
    assert y.grad is None


def test_backward_of_a_leaf_gives_one():
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1.0
    assert x.is_leaf


def test_values_without_requires_grad_are_skipped():
    x, c = leaf(2.0), ad.tensor(3.0)
    (x * c).backward()
    assert c.grad is None
    assert not (c * c).requires_grad


def test_gradient_has_dtype_and_shape_of_the_leaf():
    x = ad.tensor(np.ones((2, 1), np.float32), requires_grad=True)
    z = ad.tensor(np.ones(3), requires_grad=True)
    (x * z).sum().backward()
    assert (x.grad.dtype, x.grad.shape) == (np.float32, (2, 1))
    assert (z.grad.dtype, z.grad.shape) == (np.float64, (3,))
    assert not x.grad.requires_grad


def test_cotangent_is_cast_and_must_fit():
    x = leaf(1.0, 2.0)
    (x * x).backward([1, 2])
    assert x.grad.tolist() == [2.0, 8.0]
    with pytest.raises(ShapeError, match=r"shape \(3,\), the result \(2,\)"):
        (x * x).backward(np.ones(3))


def test_a_complex_cotangent_of_a_real_result_is_an_error():
    with pytest.raises(DTypeError, match="complex cotangent of a real result"):
        leaf(1.0).backward(1j)
    with pytest.raises(DTypeError, match="complex tangent or cotangent"):
        ad.jvp(np.sin, (1.0,), (1j,))
    with pytest.raises(DTypeError, match="complex tangent or cotangent"):
        ad.vjp(np.sin, 1.0)[1](1j)


def test_integers_cannot_require_gradients():
    for data in (1, [True], np.arange(3)):
        with pytest.raises(DTypeError, match="has no derivative"):
            ad.tensor(data, requires_grad=True)
    with pytest.raises(DTypeError):
        ad.tensor([1, 2]).requires_grad = True


def test_discrete_operations_on_the_path_have_zero_derivative():
    x = leaf(1.5, -2.5)
    mask = (x > 0).astype(float)
    assert not mask.requires_grad
    (x * mask + np.floor(x) + np.sign(x)).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_one_leaf_many_times():
    x = leaf(3.0)
    (x * x * x + x / x - x).backward()
    assert x.grad.item() == pytest.approx(26.0)


def test_broadcasting_is_undone():
    for first, second in (((1,), (3,)), ((), (3,)), ((2, 1), (1, 3)), ((3,), (2, 3))):
        x = ad.tensor(np.ones(first), requires_grad=True)
        z = ad.tensor(np.ones(second), requires_grad=True)
        (x * z).sum().backward()
        size = np.broadcast_shapes(first, second)
        assert x.grad.shape == first
        assert z.grad.shape == second
        assert x.grad.sum().item() == z.grad.sum().item() == np.prod(size)


# ---- the graph's life

def test_second_backward_needs_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match=r"freed by an earlier backward.*retain_graph=True"):
        y.backward()
    with pytest.raises(GraphError, match="freed"):
        (y + 1.0).backward()
    assert x.grad.item() == 4.0


def test_retain_graph_keeps_it():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


def test_a_freed_part_reached_from_a_new_graph_changes_nothing():
    x = leaf(2.0)
    shared = x * x
    (shared * 1.0).backward()
    before = x.grad.item()
    with pytest.raises(GraphError):
        (shared * 3.0).backward()
    assert x.grad.item() == before


def test_create_graph_gives_higher_orders():
    x = leaf(2.0)
    y = x * x * x
    y.backward(create_graph=True)
    first = x.grad
    assert first.item() == 12.0
    assert first.requires_grad
    x.grad = None
    first.backward(create_graph=True)
    second = x.grad
    assert second.item() == 12.0
    x.grad = None
    second.backward()
    assert x.grad.item() == 6.0
    assert not x.grad.requires_grad


def test_create_graph_accumulates_into_a_tracked_sum():
    x = leaf(3.0)
    (x * x).backward(create_graph=True)
    (x * x * x).backward(create_graph=True)
    g = x.grad  # 2x + 3x^2
    x.grad = None
    g.backward()
    assert x.grad.item() == 20.0


def test_gradient_penalty():
    x, w = leaf(1.0, 2.0), leaf(0.5, -1.0)
    (np.tanh(x * w)).sum().backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    x.grad = w.grad = None
    penalty.backward()

    def reference(w):
        return (ad.grad(lambda x: np.tanh(x * w).sum())(np.array([1.0, 2.0])) ** 2).sum()
    np.testing.assert_allclose(w.grad.numpy(), ad.grad(reference)(np.array([0.5, -1.0])))


# ---- hooks and retain_grad

def test_retain_grad_keeps_and_accumulates():
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    (3.0 * y).backward(retain_graph=True)
    assert y.grad.item() == 3.0
    (5.0 * y).backward()
    assert y.grad.item() == 8.0
    assert x.grad.item() == 32.0


def test_retain_grad_after_use_and_on_a_leaf():
    x = leaf(2.0)
    x.retain_grad()
    y = x * x
    z = 3.0 * y
    y.retain_grad()
    z.backward()
    assert y.grad.item() == 3.0
    with pytest.raises(GraphError, match="retain_grad"):
        ad.tensor(1.0).retain_grad()


@pytest.mark.parametrize("used_first", [True, False])
def test_hook_on_a_result_sees_and_replaces(used_first):
    x = leaf(1.0, 2.0)
    y = x * x
    z = (y * 3.0).sum() if used_first else None
    seen = []
    handle = y.register_hook(lambda g: seen.append(g) or g * 10.0)
    z = (y * 3.0).sum() if z is None else z
    z.backward(retain_graph=True)
    assert seen[0].tolist() == [3.0, 3.0]
    assert isinstance(seen[0], ad.Tensor)
    assert x.grad.tolist() == [60.0, 120.0]
    assert y.grad_fn.name == "multiply"
    handle.remove()
    handle.remove()
    x.grad = None
    z.backward()
    assert x.grad.tolist() == [6.0, 12.0]


def test_hook_on_a_leaf_runs_once_with_the_whole_gradient():
    x = leaf(2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.item()))
    (x * x + x).backward()
    assert seen == [5.0]
    handle.remove()
    (x * x).backward()
    assert seen == [5.0]
    assert x.grad.item() == 9.0


def test_hook_of_a_leaf_survives_an_update_and_can_be_removed_then():
    x = leaf(1.0, 1.0)
    handle = x.register_hook(lambda g: g * 2.0)
    kept = x * 1.0  # so that the update cannot go into the old buffer
    with ad.no_grad():
        x -= 0.5
    x.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    handle.remove()
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert kept.tolist() == [1.0, 1.0]


def test_hooks_run_in_order_and_may_answer_arrays():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    y.register_hook(lambda g: g + 1.0)
    y.register_hook(lambda g: (g * 2.0).numpy())
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]
    y = x * 1.0
    y.register_hook(lambda g: np.ones(3))
    with pytest.raises(ArgumentError, match=r"a hook returns None or a gradient of shape \(2,\)"):
        y.sum().backward()


def test_hook_under_create_graph_is_differentiated():
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (y * 1.0).backward(create_graph=True)
    g = x.grad  # x * 2x
    assert g.item() == 18.0
    x.grad = None
    g.backward()
    assert x.grad.item() == 12.0


def test_what_a_hook_keeps_is_not_changed_by_accumulation():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(seen.append)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert seen[0].tolist() == [2.0, 4.0]
    assert x.grad.tolist() == [4.0, 8.0]


def test_an_exception_in_a_hook_passes_and_leaves_no_mode_on():
    x = leaf(1.0)
    y = x * x
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert x.grad is None
    assert switch.armed == 0
    assert MODES.get() == Modes()


# ---- the complex convention

def test_complex_gradient_is_the_direction_of_steepest_ascent():
    z = leaf(1 + 2j)
    (z * z).astype(float).backward()  # the real part of z^2
    assert z.grad.item() == 2 - 4j
    assert ad.grad(lambda z: (z * z).astype(float))(1 + 2j) == 2 - 4j


def test_complex_cotangent_and_hook_follow_the_convention():
    z, seen = leaf(1 + 2j), []
    y = z * (3 + 1j)
    y.register_hook(lambda g: seen.append(g.item()))
    y.backward(1 + 1j)
    assert seen == [1 + 1j]
    assert z.grad.item() == (1 + 1j) * (3 - 1j)
    _, pullback = ad.vjp(lambda z: z * (3 + 1j), 1 + 2j)
    assert pullback(1 + 1j)[0] == (1 + 1j) * (3 - 1j)


def test_real_leaf_under_complex_values_gets_a_real_gradient():
    x = leaf(2.0)
    ((x * (1 + 2j)) * (x * (1 - 2j))).astype(float).backward()
    assert x.grad.dtype == np.float64
    assert x.grad.item() == pytest.approx(20.0)


def test_complex_second_derivatives_and_hooks_under_create_graph():
    z, seen = leaf(1 + 2j), []
    y = z * z * z
    y.register_hook(lambda g: seen.append(g.item()))
    np.real(y).backward(create_graph=True)
    g, z.grad = z.grad, None
    assert seen == [1.0]
    assert g.item() == np.conj(3 * (1 + 2j) ** 2)
    np.real(g).backward()  # Re of conj(3 z^2), so conj of 6 z
    assert z.grad.item() == np.conj(6 * (1 + 2j))


# ---- no_grad, enable_grad, set_grad_enabled

def test_no_grad_block_decorator_nested_and_with_an_exception():
    x = leaf(2.0)

    @ad.no_grad()
    def constant(v):
        return v * v
    with ad.no_grad():
        assert not (x * x).requires_grad
        with ad.enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert not constant(x).requires_grad
    assert (x * x).requires_grad
    with pytest.raises(ZeroDivisionError), ad.no_grad():
        raise ZeroDivisionError
    assert ad.is_grad_enabled()
    assert switch.armed == 0


def test_one_block_object_can_be_entered_again_and_recursively():
    x, block = leaf(2.0), ad.no_grad()
    with block, block:
        assert not (x * x).requires_grad
    assert ad.is_grad_enabled()

    @ad.set_grad_enabled(False)
    def fall(n):
        return x * x if n == 0 else fall(n - 1)
    assert not fall(3).requires_grad
    assert switch.armed == 0


def test_set_grad_enabled():
    x = leaf(2.0)
    for wanted in (True, False):
        with ad.set_grad_enabled(wanted):
            assert ad.is_grad_enabled() is wanted
            assert (x * x).requires_grad is wanted


def test_no_grad_inside_a_function_under_grad_makes_constants():
    def f(x):
        with ad.no_grad():
            c = x * x
        return c * x
    assert ad.grad(f)(3.0) == 9.0
    assert ad.jvp(f, (3.0,), (1.0,)) == (27.0, 9.0)
    assert ad.hessian(lambda x: f(x) * x)(3.0) == 18.0


def test_a_transformation_begun_inside_no_grad_records():
    with ad.no_grad():
        assert ad.grad(lambda x: x * x)(3.0) == 6.0
        assert ad.jvp(lambda x: x * x, (3.0,), (1.0,))[1] == 6.0
        assert ad.hessian(lambda x: x * x * x)(3.0) == 18.0


def test_enable_grad_inside_a_function_inside_no_grad():
    def f(x):
        with ad.no_grad(), ad.enable_grad():
            return x * x
    assert ad.grad(f)(3.0) == 6.0


def test_no_grad_in_a_generator_ends_with_it():
    def values():
        with ad.no_grad():
            yield 1
            yield 2
    for v in values():
        assert v in (1, 2)
    assert switch.armed == 0
    assert MODES.get() == Modes()


# ---- copies, pickles, printing

def test_deepcopy_copies_value_and_gradient():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    z = copy.deepcopy(x)
    assert z.requires_grad
    assert z.grad.tolist() == [2.0, 4.0]
    assert not np.shares_memory(z.detach().numpy(), x.detach().numpy())
    assert not np.shares_memory(z.grad.numpy(), x.grad.numpy())
    (z * 3.0).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_grad_fn_names_the_operations():
    x = leaf(1.0, 2.0)
    y = np.sin(x * x).sum()
    assert y.grad_fn.name == "sum"
    assert y.grad_fn.next_functions[0].name == "sin"
    assert y.grad_fn.next_functions[0].next_functions[0].name == "multiply"


def test_tensor_class_takes_the_same_arguments_and_copies():
    array = np.ones(2)
    x = ad.Tensor(array, requires_grad=True, dtype=np.float32)
    array[:] = 5.0
    assert x.tolist() == [1.0, 1.0]
    assert x.dtype == np.float32


def test_python_round():
    x = leaf(1.26, -2.5)
    assert [v.item() for v in (round(x[0], 1), round(x[1]))] == [1.3, -2.0]
    assert round(x[0], -1).item() == 0.0


def test_habits():
    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert x.view(3, 2).shape == x.T.shape == x.mT.shape == (3, 2)
    assert x.sum(dim=0, keepdim=True).shape == (1, 3)
    assert (x.size(), x.size(1), x.dim(), x.numel()) == ((2, 3), 3, 2, 6)
    assert x.unsqueeze(0).shape == (1, 2, 3)
    assert x.__array_namespace__() is ad
    with pytest.raises(ShapeError, match="mT needs a matrix"):
        x[0].mT


def test_gradient_arrives_without_any_collection():
    gc.disable()
    try:
        x = leaf(2.0)
        (x * x).backward()
        assert x.grad.item() == 4.0
    finally:
        gc.enable()
