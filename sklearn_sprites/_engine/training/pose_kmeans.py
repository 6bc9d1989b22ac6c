"""k-means of windows up to the poses that layers may have.

Each round compares all windows with every sprite in a grid of poses in one matrix
product, turns each window back by its best pose, and averages.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.poses import to_frame
from sklearn_sprites._engine.training.lloyd import squared_distances
from sklearn_sprites._engine.training.scene_evidence import frame_points

TURNS = 24
SCALES = (0.75, 0.87, 1.0, 1.15, 1.33)
SHIFTS = (-0.1, 0.0, 0.1)  # of half a sprite
RESTARTS = 8
ROUNDS = 8


def all_poses(spec: SceneSpec, like: Tensor) -> Tensor:
    """Poses (P, 4): shift in halves of a sprite, log-scale, and angle."""
    turns = range(TURNS) if spec.has_rotation else (0,)
    scales = SCALES if spec.has_scale else (1.0,)
    poses = [
        (dx, dy, math.log(scale), 2 * math.pi * turn / TURNS)
        for turn in turns
        for scale in scales
        for dx in SHIFTS
        for dy in SHIFTS
    ]
    return torch.tensor(poses).to(like)


def sampling_grids(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Where to look in sprites that are drawn in poses (P, 4): (P, h, w, 2)."""
    points = frame_points(sides, pose) - pose[:, None, :2]
    return (points @ _matrix(pose, sides).mT).view(-1, *sides, 2)


def sampling_maps(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """The same as affine maps (P, 2, 3) of points (x, y, 1)."""
    matrix = _matrix(pose, sides)
    return torch.cat([matrix, -matrix @ pose[:, :2, None]], 2)


def returning_grids(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Where to look in windows to turn them back from poses (P, 4): (P, h, w, 2)."""
    back = frame_points(sides, pose) @ torch.linalg.inv(_matrix(pose, sides)).mT
    return (back + pose[:, None, :2]).view(-1, *sides, 2)


def _matrix(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """From a window to a sprite, between coordinates in [-1, 1], (P, 2, 2)."""
    half = torch.tensor([sides[1] / 2, sides[0] / 2]).to(pose)
    return to_frame(pose, sides) * half


def pose_grids(spec: SceneSpec, like: Tensor) -> tuple[Tensor, Tensor]:
    """Sampling grids (P, h, w, 2) of sprites in poses, and of windows turned back."""
    pose, sides = all_poses(spec, like), (spec.sprite_height, spec.sprite_width)
    return sampling_grids(pose, sides), returning_grids(pose, sides)


def match_poses(
    windows: Tensor, sprites: Tensor, there: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared distance (n, K) to each sprite in its best pose, and the pose's index."""
    bank = torch.cat(
        [
            F.grid_sample(s.expand(len(there), 1, -1, -1), there, align_corners=False)
            for s in sprites
        ]
    )
    distance = squared_distances(windows.flatten(1), bank.flatten(1))
    return distance.view(len(windows), len(sprites), -1).min(2)


def pose_kmeans(
    windows: Tensor, k: int, spec: SceneSpec, draws: torch.Generator
) -> Tensor:
    """K sprites (k, h, w) from windows (n, h, w), the best of some starts."""
    there, back = pose_grids(spec, windows)
    best, loss = windows[:1].expand(k, -1, -1), math.inf
    for _ in range(RESTARTS):
        sprites = _seeds(windows, k, there, draws)
        total = math.inf
        for _ in range(ROUNDS):
            distance, pose = match_poses(windows, sprites, there)
            nearest, label = distance.min(1)
            total = float(nearest.sum())
            turned = back[pose.gather(1, label[:, None])[:, 0]]
            aligned = F.grid_sample(windows[:, None], turned, align_corners=False)[:, 0]
            sprites = torch.stack(
                [
                    aligned[label == j].mean(0) if bool((label == j).any()) else old
                    for j, old in enumerate(sprites)
                ]
            )
        if total < loss:
            best, loss = sprites, total
    return best.clamp(0, 1)


def _seeds(windows: Tensor, k: int, there: Tensor, draws: torch.Generator) -> Tensor:
    nearest = torch.ones_like(windows[:, 0, 0])
    chosen: list[int] = []
    for turn in range(k):
        chance = nearest.clamp_min(0).double().cpu() + 1e-30
        chosen.append(int(torch.multinomial(chance, 1, generator=draws)))
        distance, _ = match_poses(windows, windows[chosen[-1:]], there)
        nearest = torch.minimum(nearest, distance[:, 0]) if turn else distance[:, 0]
    return windows[chosen]
