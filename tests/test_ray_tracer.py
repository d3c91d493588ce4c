"""The ray tracer of examples/: its gradient, the scene found again, what pictures cannot tell."""

import numpy as np
import pytest
from shared import example

import adjoint as ad


@pytest.fixture(scope="module")
def rt():
    return example("ray_tracer")


@pytest.mark.parametrize("size", [(4, 3), (16, 12)])
@pytest.mark.parametrize("n", range(3))
def test_gradient(rt, size, n):
    view = rt.look(*size)
    target = rt.render(rt.TRUE, view)
    report = ad.check(lambda scene: rt.loss(scene, view, target), rt.starts(3)[n])
    assert report.ok, report


def test_picture(rt):
    """Red in the middle, sky above, shadow right of the sphere (the lamp is at the left)."""
    view = rt.look(64, 48)
    picture = rt.as_image(rt.render(rt.TRUE, view), view)
    assert picture.shape == (48, 64, 3)
    red, green, blue = picture[20, 35]
    assert red > 2 * green > 2 * blue
    assert np.allclose(picture[0, 0], rt.SKY, atol=1e-12)
    assert picture[35, 50].max() < picture[35, 10].min()


@pytest.mark.parametrize("size", [(4, 3), (16, 12), (64, 48)])
def test_the_scene_is_found_again(rt, size):
    view = rt.look(*size)
    target = rt.render(rt.TRUE, view)
    for start in rt.starts(3):
        found = rt.recover(start, view, target)
        assert np.max(np.abs(start - rt.TRUE)) > 0.5
        assert found.error < 1e-4
        assert found.losses[-1] < 1e-12 < found.losses[0]


def test_descent_with_an_optimiser(rt):
    view = rt.look(16, 12)
    found = rt.descend(rt.starts(1)[0], view, rt.render(rt.TRUE, view))
    assert found.error < 1e-3


def test_a_hard_edge_has_no_gradient(rt):
    """Coverage as a step: the derivative by the radius is 0 although the picture changes."""
    view = rt.look(16, 12)
    target = rt.render(rt.TRUE, view)

    def error(radius, softness):
        gap = radius ** 2 - 1.0 + 0.5 * view.rays[:, :1]
        stopped = 0.5 + 0.5 * np.sign(gap) if softness is None else 0.5 + 0.5 * np.tanh(
            gap / softness)
        return np.mean((stopped - target[:, :1]) ** 2)
    assert error(0.9, None) != error(1.1, None)
    assert ad.grad(error)(0.9, None) == 0.0
    assert abs(ad.grad(error)(0.9, 0.1)) > 1e-3


def test_without_the_ground_size_and_distance_cannot_be_told_apart(rt):
    """A gauge: centre, radius and lamp times k give the same picture of the sphere."""
    view = rt.look(16, 12)._replace(softness=0.1)

    def sphere_alone(scene):
        centre, radius, colour, lamp = scene[:3], scene[3], scene[4:7], scene[7:]
        rays = view.rays
        gap = radius ** 2 - rt.dot(centre, centre) + rt.dot(rays, centre) ** 2
        gap = gap / np.sum(centre ** 2)  # softness as an angle: sizes have no scale now
        chord = np.sqrt(np.sum(centre ** 2) * 0.1 * np.logaddexp(gap / 0.1, 0.0))
        points = (rt.dot(rays, centre) - chord) * rays
        shade = rt.lit(points, rt.unit(points - centre), lamp)
        return (0.5 + 0.5 * np.tanh(gap / 0.1)) * colour * shade
    with_ground = ad.jacobian(lambda s: rt.render(s, view))(rt.TRUE).reshape(-1, 10)
    alone = ad.jacobian(sphere_alone)(rt.TRUE).reshape(-1, 10)
    assert np.linalg.matrix_rank(with_ground) == 10
    assert np.linalg.matrix_rank(alone) == 9
    scale = np.concatenate([rt.TRUE[:4], np.zeros(3), rt.TRUE[7:]])
    assert np.allclose(alone @ scale, 0.0, atol=1e-12)
