"""A ray tracer in NumPy's functions, and its scene found again from the picture by its gradient.

    python examples/ray_tracer.py              # prints what was found
    python examples/ray_tracer.py pictures     # and writes the pictures into this folder

A sphere floats above a grey ground, under one lamp. The scene is ten numbers: the sphere's centre,
its radius, its colour, and where the lamp is. `render` makes the picture, all pixels at once.
Nothing in it mentions derivatives: `ad.grad` differentiates it as it stands.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

import adjoint as ad
from adjoint import optim

NAMES = ("centre x", "centre y", "centre z", "radius", "red", "green", "blue",
         "lamp x", "lamp y", "lamp z")
TRUE = np.array([0.3, 0.1, 4.0, 0.9, 0.9, 0.35, 0.2, -2.0, 3.0, 1.0])
GROUND, SKY, AMBIENT = 0.6, np.array([0.55, 0.75, 0.95]), 0.25
FLOOR = -1.0  # the height of the ground; the eye is at the origin and looks along z


class View(NamedTuple):
    """The pixels, row by row from the top left: the directions in which the eye looks."""

    rays: Any  # (pixels, 3), of length 1
    ground: Any  # (pixels, 3), where a ray meets the ground
    sky: Any  # (pixels, 1), whether it does not
    size: tuple[int, int]
    softness: float


def look(width: int, height: int) -> View:
    """A camera with ``width`` times ``height`` pixels, square ones; edges are half a pixel soft."""
    pixel = 1.6 / width
    x = (np.arange(width) - (width - 1) / 2) * pixel
    y = ((height - 1) / 2 - np.arange(height)) * pixel
    x, y = np.meshgrid(x, y)
    rays = np.stack([x, y, np.full_like(x, 1.2)], axis=-1).reshape(-1, 3)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    sky = rays[:, 1:2] >= 0.0
    far = FLOOR / np.where(sky, FLOOR, rays[:, 1:2])
    return View(rays, rays * far, sky, (height, width), softness=max(3.0 * pixel, 0.1))


def dot(a, b):
    """The inner products of two lists of vectors, as a column."""
    return np.sum(a * b, axis=-1, keepdims=True)


def unit(a):
    """The vectors with length 1."""
    return a / np.sqrt(dot(a, a))


def meet(start, rays, centre, radius, softness):
    """How far along each ray a sphere is, and how much of the ray it stops, 0 to 1.

    A hard edge would be ``gap > 0``: a step, whose derivative is 0 wherever there is
    one, so that no pixel would say where the edge ought to be. The sigmoid is the same
    step a little out of focus: a pixel near the edge tells how it changes when the
    sphere moves.
    """
    middle = dot(centre - start, rays)  # where the ray comes closest to the centre
    nearest = start + middle * rays - centre
    gap = radius ** 2 - dot(nearest, nearest)
    gap = gap / softness
    # The root of the gap, but above 0 for a miss too: a root has no slope at 0.
    half_chord = np.sqrt(softness * np.logaddexp(gap, 0.0))
    return middle - half_chord, 0.5 + 0.5 * np.tanh(gap / 2.0)  # the sigmoid of the gap


def lit(points, normals, lamp):
    """Lambert's law: a surface is as bright as the cosine of its angle to the lamp."""
    return AMBIENT + (1.0 - AMBIENT) * np.maximum(dot(normals, unit(lamp - points)), 0.0)


def paint(centre, radius, colour, lamp, view):
    """The picture of a sphere under a lamp: (pixels, 3), red, green, blue from 0 to 1."""
    distance, stopped = meet(np.zeros(3), view.rays, centre, radius, view.softness)
    points = distance * view.rays
    sphere = colour * lit(points, unit(points - centre), lamp)

    # Towards the lamp and away from it alike, but no sphere is below the ground.
    _, shadow = meet(view.ground, unit(lamp - view.ground), centre, radius, view.softness)
    direct = lit(view.ground, np.array([0.0, 1.0, 0.0]), lamp) - AMBIENT
    ground = AMBIENT + (1.0 - shadow) * direct
    behind = np.where(view.sky, SKY, GROUND * ground)
    return stopped * sphere + (1.0 - stopped) * behind


def render(scene, view):
    """The picture of a scene of ten numbers, in the order of NAMES."""
    return paint(scene[:3], scene[3], scene[4:7], scene[7:], view)


def loss(scene, view, target):
    """The mean squared difference between the picture of a scene and the target."""
    return np.mean((render(scene, view) - target) ** 2)


def starts(count, seed=0):
    """Scenes to begin with: each number off the true one by up to a fifth of a unit or so."""
    rng = np.random.default_rng(seed)
    reach = np.array([0.5, 0.3, 0.8, 0.25, 0.3, 0.3, 0.3, 1.0, 0.8, 1.0])
    return TRUE + reach * rng.uniform(-1.0, 1.0, (count, TRUE.size))


class Found(NamedTuple):
    """What a search came to: the scene, and the loss after each step."""

    scene: np.ndarray
    losses: list[float]

    @property
    def error(self):
        """The largest difference from the true scene among its ten numbers."""
        return float(np.max(np.abs(self.scene - TRUE)))


def recover(start, view, target):
    """Find the scene from its picture with SciPy's L-BFGS and the exact gradient."""
    value_and_gradient = ad.value_and_grad(lambda scene: loss(scene, view, target))
    losses = [float(loss(start, view, target))]
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B",
                     callback=lambda intermediate_result: losses.append(intermediate_result.fun),
                     options={"maxiter": 2000, "maxfun": 5000, "ftol": 0.0, "gtol": 1e-10})
    found.x[3] = abs(found.x[3])  # only the radius squared is seen
    return Found(found.x, losses)


def descend(start, view, target, steps=400, rate=0.03):
    """The same with the steps written out: forward, backward, step, repeat."""
    scene = ad.tensor(start, requires_grad=True)
    optimizer = optim.Adam([scene], lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        error = loss(scene, view, target)
        error.backward()
        optimizer.step()
        losses.append(error.item())
    return Found(scene.detach().numpy(), losses)


# ---- pictures

def as_image(picture, view):
    """The list of pixels as an array that matplotlib shows."""
    return np.clip(picture.reshape(*view.size, 3), 0.0, 1.0)


def draw_scenes(scenes, view):
    """A figure with the picture of each scene side by side: ``scenes`` is {title: ten numbers}."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(3.4 * len(scenes), 2.9), dpi=120, layout="constrained")
    for axes, (title, scene) in zip(figure.subplots(1, len(scenes), squeeze=False)[0],
                                    scenes.items(), strict=True):
        axes.imshow(as_image(render(scene, view), view), interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    return figure


def draw_losses(curves):
    """A figure with the loss after each step on a logarithmic axis: ``curves`` is {name: list}."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(6.8, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, losses in curves.items():
        axes.semilogy(losses, label=name, linewidth=1.6)
    axes.set_xlabel("step")
    axes.set_ylabel("mean squared difference")
    axes.grid(visible=True, color="#d9d9d9", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def main(pictures=False):
    """Recover the scene from several starts, and say how near each came."""
    view, coarse = look(64, 48), look(4, 3)
    target, few = render(TRUE, view), render(TRUE, coarse)
    print("largest error among the ten numbers, from pictures of 64x48 and of 4x3 pixels:")
    for n, start in enumerate(starts(5)):
        fine, rough = recover(start, view, target), recover(start, coarse, few)
        print(f"  start {n}: off by {np.max(np.abs(start - TRUE)):.2f}; {fine.error:.1e} after "
              f"{len(fine.losses) - 1} steps, {rough.error:.1e} after {len(rough.losses) - 1}")
    start = starts(1)[0]
    quick, adam = recover(start, view, target), descend(start, view, target)
    print("what was found, from 64x48 pixels:")
    for name, before, after, true in zip(NAMES, start, quick.scene, TRUE, strict=True):
        print(f"  {name}: {before:.3f} -> {after:.6f} ({true})")
    print(f"Adam after {len(adam.losses)} steps: loss {adam.losses[0]:.1e} -> "
          f"{adam.losses[-1]:.1e}, largest error {adam.error:.1e}")
    if pictures:
        scenes = {"target": TRUE, "start": start, "found by L-BFGS": quick.scene,
                  f"Adam, {len(adam.losses)} steps": adam.scene}
        draw_scenes(scenes, view).savefig("ray-tracer.png")
        draw_scenes({"target": TRUE, "start": start, "found": recover(start, coarse, few).scene},
                    coarse).savefig("ray-tracer-few-pixels.png")
        curves = {"L-BFGS": quick.losses, "Adam": adam.losses}
        draw_losses(curves).savefig("ray-tracer-loss.png")
        print(f"pictures: {Path.cwd()}/ray-tracer*.png")


if __name__ == "__main__":
    main(pictures=sys.argv[1:] == ["pictures"])
