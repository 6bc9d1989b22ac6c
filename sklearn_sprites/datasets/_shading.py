"""Solids on a lit floor, rendered by casting rays.

Convention: world (x to the right, y away from the camera, z up), floor z = 0. Ray
arrays are (3, h, w): four rays per pixel, 2 x 2, each with its own point of the lamp,
which makes edges smooth and shadows soft. Every solid is the intersection of convex
parts, so that a ray is inside it from the last entry to the first exit.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("rubber", "metal")
CLASSES = tuple(f"{m} {s}" for m in MATERIALS for s in SHAPES)
COLORS = np.array(
    [
        [87, 87, 87],
        [173, 35, 35],
        [42, 75, 215],
        [29, 105, 20],
        [129, 74, 25],
        [129, 38, 192],
        [41, 208, 208],
        [255, 238, 51],
    ]
)
SIZES = (0.7, 0.35)  # radius; cubes have half sides shorter by the root of two
REACH = 3.0  # centers have |x|, |y| at most this
GAP = 0.25  # between the circles around neighbors
MOST_OBJECTS = 10

EYE, TARGET = np.array([0.0, -10.5, 7.2]), np.array([0.0, 0.4, 0.1])
HALF_WIDTH = 0.31  # of the picture, at distance 1
SAMPLES = 2  # per pixel and axis
EPSILON = 1e-3
FLOOR = np.array([0.52, 0.51, 0.50])
LAMP = np.array([-3.5, -3.5, 8.0])
LAMP_RADIUS = 0.35
CORNERS = np.array(list(product((-1, 1), repeat=3)))  # of a cube, (8, 3)


class Camera:
    """Fixed view from above."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = SAMPLES * size
        forward = _unit(TARGET - EYE)
        right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
        self.axes = np.stack([right, np.cross(right, forward), forward])
        steps = ((np.arange(self.side) + 0.5) / self.side * 2 - 1) * HALF_WIDTH
        x, y = np.meshgrid(steps, -steps)
        rays = np.stack([x, y, np.ones_like(x)])
        rays = np.tensordot(self.axes.T, rays, 1)
        rays /= np.linalg.norm(rays, axis=0)
        self.rays = rays.astype(np.float32)

    def windows(self, points: NDArray) -> list[tuple[slice, slice]]:
        """The parts of the picture around convex hulls of points (n, m, 3)."""
        x, y, z = np.moveaxis((points - EYE) @ self.axes.T, -1, 0)
        where = np.stack([-y, x]) / z / HALF_WIDTH
        ends = np.stack([where.min(axis=2), where.max(axis=2)])
        low, high = ((ends + 1) / 2 * self.side).clip(0, self.side)
        low, high = np.floor(low).astype(int), np.ceil(high).astype(int)
        return [
            (slice(top, bottom), slice(left, right))
            for top, left, bottom, right in np.concatenate([low, high]).T.tolist()
        ]


@dataclass(frozen=True)
class Solid:
    """A cube, sphere or cylinder that stands on the floor."""

    shape: str
    metal: bool
    radius: float
    x: float
    y: float
    angle: float
    color: NDArray  # (3,), linear, 0 to 1

    @property
    def half(self) -> float:
        """Half the height."""
        return self.radius / np.sqrt(2) if self.shape == "cube" else self.radius

    def local(self, vectors: NDArray) -> NDArray:
        """Directions (3, ...) in the frame of the solid, in units of its half size."""
        scaled = vectors / np.float32(self.half)
        if self.shape != "cube":
            return scaled
        x, y, z = scaled
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return np.stack([cos * x + sin * y, cos * y - sin * x, z])

    def center(self) -> NDArray:
        return np.array([self.x, self.y, self.half], np.float32)

    def cross(self, origin: NDArray, rays: NDArray) -> tuple[NDArray, NDArray]:
        """Distances at which rays enter and leave; entry > exit where they miss.

        `origin` is (3,) or (3, h, w), `rays` (3, h, w).
        """
        o = self.local(origin - self.center().reshape(3, *[1] * (origin.ndim - 1)))
        if origin.ndim == 1:
            o = o[:, None, None]
        d = self.local(rays)
        if self.shape == "sphere":
            return _round(o, d)
        if self.shape == "cube":
            enter, leave = _slabs(o, d)
            return enter.max(axis=0), leave.min(axis=0)
        enter, leave = _round(o[:2], d[:2])
        bottom, top = _slabs(o[2], d[2])
        return np.maximum(enter, bottom), np.minimum(leave, top)

    def normals(self, points: NDArray) -> NDArray:
        """Outward normals (3, n) at points (3, n) of the surface."""
        q = self.local(points - self.center()[:, None])
        if self.shape == "sphere":
            return q
        if self.shape == "cube":
            face = abs(q).argmax(axis=0) == np.arange(3)[:, None]
            x, y, z = np.sign(q) * face
            cos, sin = np.cos(self.angle), np.sin(self.angle)
            return np.stack([cos * x - sin * y, cos * y + sin * x, z])
        side = np.hypot(q[0], q[1]) >= q[2]
        return np.stack([q[0] * side, q[1] * side, ~side])


def render(
    n_objects: int, camera: Camera, rng: RandomState
) -> tuple[NDArray, NDArray, NDArray]:
    """One scene: image (S, S, 3), instances and classes (S, S), all uint8."""
    solids = _arrange(n_objects, rng)
    lamp = LAMP + rng.uniform(-1, 1, 3) * [1.5, 1.5, 1.0]
    strength = rng.uniform(0.9, 1.1)
    rays = camera.rays
    depth = -np.float32(EYE[2]) / rays[2]
    shown = np.zeros(depth.shape, np.uint8)
    boxes = np.stack([_corners(solid) for solid in solids])
    for number, (solid, window) in enumerate(
        zip(solids, camera.windows(boxes), strict=True), 1
    ):
        enter, leave = solid.cross(EYE.astype(np.float32), rays[:, *window])
        nearer = (enter < leave) & (enter < depth[window])
        depth[window][nearer] = enter[nearer]
        shown[window][nearer] = number
    points = EYE.astype(np.float32)[:, None, None] + depth * rays
    to_lamp = _to_lamp(points, lamp, camera.size)
    lit = np.ones(depth.shape, np.float32)
    shadows = camera.windows(_shadow_hulls(solids, boxes, lamp))
    for solid, window in zip(solids, shadows, strict=True):
        lit[window][_hides(solid, points[:, *window], to_lamp[:, *window])] = 0
    color = _shade(solids, shown, points, to_lamp, lit * np.float32(strength), rays)
    return _develop(color), *_label(solids, shown)


def _arrange(n_objects: int, rng: RandomState) -> list[Solid]:
    """Solids apart from each other, the farthest first."""
    solids: list[Solid] = []
    while len(solids) < n_objects:
        x, y = rng.uniform(-REACH, REACH, 2)
        radius = SIZES[rng.randint(2)]
        gaps = [np.hypot(x - s.x, y - s.y) - s.radius - radius for s in solids]
        if gaps and min(gaps) < GAP:
            # A few large ones may leave no room: start anew now and then.
            solids = [] if rng.uniform() < 0.02 else solids
            continue
        shape, metal = SHAPES[rng.randint(3)], bool(rng.randint(2))
        color = (COLORS[rng.randint(len(COLORS))] / 255) ** 2.2
        solids.append(
            Solid(shape, metal, radius, x, y, rng.uniform(0, np.pi / 2), color)
        )
    return sorted(solids, key=lambda solid: -solid.y)


def _corners(solid: Solid) -> NDArray:
    """Corners (8, 3) of a box around a solid."""
    return solid.center() + CORNERS * [solid.radius, solid.radius, solid.half]


def _to_lamp(points: NDArray, lamp: NDArray, size: int) -> NDArray:
    """Vectors from points to the lamp; each of the four rays has its part of it."""
    offset = LAMP_RADIUS * np.array([[[-1, 1], [-1, 1]], [[-1, -1], [1, 1]]])
    place = np.zeros((3, SAMPLES, SAMPLES)) + lamp[:, None, None]
    place[:2] += offset
    return np.tile(place.astype(np.float32), (1, size, size)) - points


def _shadow_hulls(solids: list[Solid], boxes: NDArray, lamp: NDArray) -> NDArray:
    """Points (n, 40, 3) around solids in boxes (n, 8, 3) and their soft shadows."""
    down = boxes - lamp
    shadow = lamp + down * (lamp[2] / -down[..., 2:])
    height = 2 * np.array([solid.half for solid in solids])[:, None, None]
    spread = LAMP_RADIUS * height / (lamp[2] - height)
    wider = [shadow + spread * np.array([sx, sy, 0]) for sx, sy in _SIGNS]
    return np.concatenate([boxes, *wider], axis=1)


def _hides(solid: Solid, points: NDArray, to_lamp: NDArray) -> NDArray:
    """Where a solid is between points (3, h, w) and the lamp: (h, w), bool."""
    enter, leave = solid.cross(points, to_lamp)
    return (enter < leave) & (leave > EPSILON) & (enter < 1)


_SIGNS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def _shade(
    solids: list[Solid],
    shown: NDArray,
    points: NDArray,
    to_lamp: NDArray,
    lit: NDArray,
    rays: NDArray,
) -> NDArray:
    """Light (3, h, w), linear, that comes from each point to the camera."""
    distance = np.sqrt((to_lamp**2).sum(axis=0))
    light = lit * (9 / distance) ** 2
    facing = to_lamp[2] / distance
    color = FLOOR[:, None, None].astype(np.float32) * (0.12 + 0.5 * light * facing)
    flat = color.reshape(3, -1)  # a view
    points, to_lamp, rays = (a.reshape(3, -1) for a in (points, to_lamp, rays))
    for number, solid in enumerate(solids, 1):
        at = np.flatnonzero(shown == number)
        toward = to_lamp.take(at, 1) / distance.take(at)
        seen, there = rays.take(at, 1), points.take(at, 1)
        flat[:, at] = _glow(solid, there, toward, light.take(at), seen)
    return color


def _glow(
    solid: Solid, points: NDArray, lamp: NDArray, light: NDArray, rays: NDArray
) -> NDArray:
    """Light from points (3, n) of a solid: matt, or dark with reflections."""
    normal = solid.normals(points)
    diffuse = light * (normal * lamp).sum(axis=0).clip(0)
    sky = 0.5 + 0.5 * normal[2]
    mirrored = rays - 2 * (rays * normal).sum(axis=0) * normal
    gleam = light * (mirrored * lamp).sum(axis=0).clip(0) ** (60 if solid.metal else 8)
    paint = solid.color[:, None]
    if not solid.metal:
        return paint * (0.15 + 0.2 * sky + 0.75 * diffuse) + 0.03 * gleam
    around = 0.04 + 0.9 * mirrored[2].clip(0) ** 3 + 0.4 * (-mirrored[2]).clip(0)
    return paint * (0.04 + 0.15 * diffuse + 1.1 * around) + 0.9 * gleam + 0.06 * around


def _develop(color: NDArray) -> NDArray:
    """Mean of the rays of each pixel, gamma, uint8: (S, S, 3)."""
    mean = (sum(_quarters(color)) / SAMPLES**2).clip(0, 1)
    return np.round(255 * np.moveaxis(mean, 0, -1) ** (1 / 2.2)).astype(np.uint8)


def _label(solids: list[Solid], shown: NDArray) -> tuple[NDArray, NDArray]:
    """Instance and class of most rays of each pixel; of as many, of the nearest."""
    a, b, c, d = np.sort(_quarters(shown), axis=0)
    fewer = np.where(b == c, b, np.where(a == b, a, d))
    instances = np.where(c == d, d, fewer)
    kinds = [1 + SHAPES.index(s.shape) + 3 * s.metal for s in solids]
    return instances, np.array([0, *kinds], np.uint8)[instances]


def _quarters(maps: NDArray) -> list[NDArray]:
    """The four rays of each pixel: (..., S, S) each."""
    steps = range(SAMPLES)
    return [maps[..., i::SAMPLES, j::SAMPLES] for i in steps for j in steps]


def _round(o: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
    """Entry and exit of rays o + t d into the unit ball, or disc if 2-D."""
    a, b, c = (d * d).sum(axis=0), (o * d).sum(axis=0), (o * o).sum(axis=0) - 1
    inside = b * b - a * c
    root = np.sqrt(inside.clip(0))
    miss = inside < 0
    return np.where(miss, np.inf, (-b - root) / a), np.where(miss, -1, (-b + root) / a)


def _slabs(o: NDArray, d: NDArray) -> tuple[NDArray, NDArray]:
    """Entry and exit of rays into |coordinate| <= 1, one by one."""
    d = np.where(abs(d) < 1e-9, np.float32(1e-9), d)
    middle, half = -o / d, 1 / abs(d)
    return middle - half, middle + half


def _unit(vector: NDArray) -> NDArray:
    return vector / np.linalg.norm(vector)
