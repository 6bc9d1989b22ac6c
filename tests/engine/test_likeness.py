"""Sprites of the same thing are brought to one pose, others left alone."""

import math

import pytest
import torch

from sklearn_sprites._engine.modules.families import make_family
from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.training import likeness
from sklearn_sprites._engine.training.likeness import (
    ALIKE,
    aligned,
    in_every_pose,
    in_one_pose,
)

SIDE = 24
GRID = make_grid(SIDE, SIDE, device=torch.device("cpu"), dtype=torch.float32)


def ring(x, y, radius, gain=1.0):
    """A ring that is open to the right, (2, SIDE, SIDE), on gray."""
    rows, columns = torch.meshgrid(*[torch.arange(SIDE) + 0.5] * 2, indexing="ij")
    across, down = (columns - x) / radius, (rows - y) / radius
    edge = 0.35 - (torch.hypot(across, down) - 0.6).abs()
    gap = (across > 0) & (down.abs() < 0.3)
    ink = (edge * radius + 0.5).clamp(0, 1) * ~gap
    return torch.stack([0.2 + gain * 0.7 * ink, 0.1 + 0.3 * ink])


def cross():
    """A cross, (2, SIDE, SIDE)."""
    image = torch.full((2, SIDE, SIDE), 0.2)
    image[:, 10:14, 4:20] = image[:, 4:20, 10:14] = 0.8
    return image


def family(freedom, images, name="affine"):
    return make_family(name, freedom, images, GRID)


@pytest.mark.parametrize(("freedom", "gain"), [(0, 1.0), (2, 1.0), (2, 0.5)])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_same_thing_is_brought_to_where_most_images_show_it(freedom, gain, largest):
    sprites = torch.stack([ring(11, 12.5, 9.5), ring(13, 11, 8.0, gain), cross()])
    counts = torch.tensor([10, 10, 30]) + 5 * torch.eye(3, dtype=torch.int64)[largest]
    likely = family(freedom, sprites)
    found, moved = in_one_pose(sprites, counts, likely)
    other = 1 - largest
    assert moved == [other]
    assert torch.equal(found[[largest, 2]], sprites[[largest, 2]])
    _, before = aligned(sprites, likely)
    maps, after = aligned(found, likely)
    assert before[largest, other] < ALIKE < before[2, largest]
    assert after[largest, other] < 1.5 * ALIKE
    assert maps[largest, other].abs().max() < 0.1
    if freedom == 0:
        kept = (found[other] - found[largest]).square().sum()
        gone = (sprites[other] - sprites[largest]).square().sum()
        assert kept < 0.1 * gone


def test_a_sprite_is_like_itself_where_it_is():
    sprites = torch.stack([ring(11, 13, 9.5), cross()])
    maps, left = aligned(sprites, family(2, sprites))
    assert left.diagonal().abs().max() < 1e-3
    assert maps[0, 0].abs().max() < 1e-2
    assert left[0, 1] > ALIKE < left[1, 0]


@pytest.mark.parametrize("values", [0.5, math.nan])
def test_nothing_is_like_what_is_blank(values):
    sprites = torch.stack([torch.full((2, SIDE, SIDE), values), cross(), cross()])
    found, moved = in_one_pose(
        sprites[:2], torch.tensor([3, 2]), family(2, sprites[1:])
    )
    assert moved == []
    assert torch.equal(found[1], sprites[1])


def test_pairs_of_many_sprites_are_compared_in_parts(monkeypatch):
    sprites = torch.stack([ring(11, 12.5, 9.5), ring(13, 11, 8.0), cross()])
    wanted = aligned(sprites, family(2, sprites))
    monkeypatch.setattr(likeness, "PAIRS", 4)
    for one, other in zip(aligned(sprites, family(2, sprites)), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    counts = torch.arange(3)
    assert in_one_pose(sprites, counts, family(2, sprites))[1] == [0]
    monkeypatch.setattr(likeness, "MOST", 2)
    found, moved = in_one_pose(sprites, counts, family(2, sprites))
    assert moved == []
    assert torch.equal(found, sprites)


def test_what_shows_the_same_is_seen_in_the_pose_of_each_other():
    sprites = torch.stack([ring(11, 12.5, 9.5), cross(), ring(13, 11, 8.0)])
    posed = in_every_pose(sprites, family(2, sprites))
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (1, 2), (2, 1)]:
        assert torch.equal(posed[a, b], sprites[b])
    for a, b in [(0, 2), (2, 0)]:
        left = (posed[a, b] - sprites[a]).square().sum()
        assert left < 0.2 * (sprites[b] - sprites[a]).square().sum()


@pytest.mark.parametrize("values", [0.5, math.nan])
def test_where_nothing_shows_the_same_there_are_no_other_poses(monkeypatch, values):
    blank = torch.full((2, SIDE, SIDE), values)
    sprites = torch.stack([ring(11, 12.5, 9.5), cross(), blank])
    assert in_every_pose(sprites, family(2, sprites[:2])) is None
    monkeypatch.setattr(likeness, "MOST", 1)
    twice = torch.stack([cross(), cross()])
    assert in_every_pose(twice, family(2, twice)) is None
