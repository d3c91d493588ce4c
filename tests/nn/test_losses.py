"""Losses: values by hand, dtypes, reductions, transformations, and shapes that do not fit."""

import warnings

import numpy as np
import pytest

import adjoint as ad
from adjoint import nn
from adjoint.errors import ArgumentError, DTypeError, IndexingError, ShapeError

F = nn.functional
rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 2, 2, 0])


def by_hand(x, labels):
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels])


def test_cross_entropy_is_the_mean_of_minus_log_probabilities():
    assert F.cross_entropy(LOGITS, LABELS) == pytest.approx(by_hand(LOGITS, LABELS).mean())
    assert F.cross_entropy(LOGITS, LABELS, reduction="sum") == pytest.approx(
        by_hand(LOGITS, LABELS).sum())
    np.testing.assert_allclose(F.cross_entropy(LOGITS, LABELS, reduction="none"),
                               by_hand(LOGITS, LABELS))
    np.testing.assert_allclose(F.nll_loss(F.log_softmax(LOGITS), LABELS),
                               F.cross_entropy(LOGITS, LABELS))


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot():
    x = ad.tensor(LOGITS, requires_grad=True)
    F.cross_entropy(x, LABELS).backward()
    expected = (np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True) - np.eye(4)[LABELS]) / 6
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-15)


def test_one_hot_probabilities_are_labels():
    soft = F.cross_entropy(LOGITS, np.eye(4)[LABELS])
    assert soft == pytest.approx(float(F.cross_entropy(LOGITS, LABELS)), rel=1e-13)


def test_huge_logits_stay_finite():
    x = ad.tensor([[1e4, 0.0], [-1e4, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, [1, 0])
    loss.backward()
    assert loss.item() == 1e4
    assert np.isfinite(x.grad.numpy()).all()


def test_a_masked_class_does_no_harm():
    x = ad.tensor([[0.0, -np.inf, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, [0])
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2.0))
    assert x.grad.tolist() == [[-0.5, 0.0, 0.5]]


def test_losses_accumulate_in_float64():
    x = ad.tensor(LOGITS, requires_grad=True, dtype=np.float32)
    many = np.full(2_000_001, 0.1, np.float32)
    for loss in (F.cross_entropy(x, LABELS), F.mse_loss(x, LOGITS.astype(np.float32)),
                 F.binary_cross_entropy_with_logits(x, np.ones((6, 4), np.float32))):
        assert loss.dtype == np.float64
        assert loss.shape == ()
        x.grad = None
        loss.backward()
        assert x.grad.dtype == np.float32
    exact = float(np.float32(0.1) * np.float32(0.1))
    assert F.mse_loss(many, np.zeros_like(many)) == pytest.approx(exact, rel=1e-12)


def test_ignored_labels_do_not_count():
    labels = np.array([0, -100, 1, -100, 2, 0])
    kept = labels >= 0
    assert F.cross_entropy(LOGITS, labels) == pytest.approx(
        by_hand(LOGITS[kept], labels[kept]).mean())
    x = ad.tensor(LOGITS, requires_grad=True)
    F.cross_entropy(x, np.where(kept, labels, 3), ignore_index=3).backward()
    assert not x.grad.numpy()[~kept].any()
    assert np.isnan(F.cross_entropy(LOGITS, np.full(6, -100)))


def test_losses_under_the_functional_transformations():
    expected = (np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True) - np.eye(4)[LABELS]) / 6
    g = ad.grad(lambda x: F.cross_entropy(x, LABELS))(LOGITS)
    np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-15)
    dx = rng.normal(size=LOGITS.shape)
    _, dy = ad.jvp(lambda x: F.cross_entropy(x, LABELS), (LOGITS,), (dx,))
    assert dy == pytest.approx((expected * dx).sum())
    each = ad.vmap(F.cross_entropy)(LOGITS, LABELS)
    np.testing.assert_allclose(each, by_hand(LOGITS, LABELS), rtol=1e-12)
    h = ad.hessian(lambda x: F.cross_entropy(x, 1))(np.zeros(2))
    np.testing.assert_allclose(h, [[0.25, -0.25], [-0.25, 0.25]])


def test_loss_modules_hold_the_settings():
    w = np.array([1.0, 2.0, 0.5, 1.0])
    loss = nn.CrossEntropyLoss(weight=w, label_smoothing=0.1, reduction="sum")
    assert loss(LOGITS, LABELS).item() == pytest.approx(float(
        F.cross_entropy(LOGITS, LABELS, w, reduction="sum", label_smoothing=0.1)))
    assert list(loss.state_dict()) == ["weight"]
    assert not list(loss.parameters())
    assert "label_smoothing=0.1" in repr(loss)
    assert nn.MSELoss("sum")(np.ones(3), np.zeros(3)) == 3.0
    assert nn.NLLLoss()(np.log([[0.5, 0.5]]), [0]) == pytest.approx(np.log(2.0))
    assert nn.BCEWithLogitsLoss(pos_weight=3.0)(np.zeros(1), np.ones(1)).item() == pytest.approx(
        3.0 * np.log(2.0))


@pytest.mark.parametrize("loss", [F.mse_loss, F.binary_cross_entropy_with_logits])
def test_a_column_against_a_row_warns_with_both_shapes(loss):
    with pytest.warns(UserWarning, match=r"\(3, 1\).*\(3,\).*\(3, 3\).*targets") as found:
        loss(ad.tensor(np.ones((3, 1)), requires_grad=True), np.ones(3))
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match=r"\(3,\) and targets of shape \(3, 1\)"):
        loss(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ShapeError, match="the two are equal"):
        loss(np.ones(3), np.ones(2))


def test_a_loss_module_warns_at_the_users_line():
    with pytest.warns(UserWarning, match="broadcast") as found:
        nn.MSELoss()(np.ones((3, 1)), np.ones(3))
    assert found[0].filename == __file__


def test_equal_shapes_and_a_single_target_do_not_warn():
    assert F.mse_loss(np.ones(3), np.ones(3)) == 0.0
    assert F.mse_loss(np.ones(3), 0.0) == 1.0


def test_targets_that_do_not_fit_are_errors():
    with pytest.raises(ShapeError, match=r"labels of shape \(6,\), not \(6, 1\); write .*ravel"):
        F.cross_entropy(LOGITS, LABELS[:, None])
    with pytest.raises(ShapeError, match=r"not \(5,\)"):
        F.cross_entropy(LOGITS, LABELS[:5])
    with pytest.raises(DTypeError, match=r"astype\(int\)"):
        F.cross_entropy(LOGITS, LABELS.astype(float))
    with pytest.raises(IndexingError, match=r"label 4 is outside 0\.\.3"):
        F.cross_entropy(LOGITS, LABELS + 1)
    with pytest.raises(IndexingError, match="label -1"):
        F.cross_entropy(LOGITS, LABELS - 1)
    with pytest.raises(ArgumentError, match="average"):
        F.cross_entropy(LOGITS, LABELS, reduction="average")
    with pytest.raises(ArgumentError, match="reduction"):
        nn.MSELoss("average")
    with pytest.raises(ArgumentError, match="label_smoothing"):
        F.cross_entropy(LOGITS, LABELS, label_smoothing=2.0)


def test_accuracy_counts_the_largest():
    assert F.accuracy(np.eye(4)[LABELS], LABELS) == 1.0
    assert F.accuracy(ad.tensor(np.eye(4)[LABELS], requires_grad=True), (LABELS + 1) % 4) == 0.0
    with pytest.raises(ShapeError, match="go with labels"):
        F.accuracy(np.ones((2, 3)), [1])
    with pytest.raises(ShapeError, match="no examples"):
        F.accuracy(np.ones((0, 3)), np.ones(0, int))


def test_weights_are_one_for_each_class():
    probabilities = np.full((2, 3), 1.0 / 3.0)
    for loss, target in [(F.cross_entropy, [0, 1]), (F.nll_loss, [0, 1]),
                         (F.cross_entropy, probabilities)]:
        for weight in (np.ones(2), np.ones((1, 3)), 1.0):
            with pytest.raises(ShapeError, match=r"give one factor for each, shape \(3,\)"):
                loss(np.zeros((2, 3)), target, weight=weight)


def test_axes_of_size_one_in_front_do_not_warn_and_repeated_targets_do():
    x = np.ones((1, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert F.mse_loss(x, np.zeros(3)) == 1.0
        assert F.mse_loss(np.ones(1), 0.0) == 1.0
    with pytest.warns(UserWarning, match=r"\(2, 3\) and targets of shape \(3,\).*used again"):
        F.mse_loss(np.ones((2, 3)), np.zeros(3))
