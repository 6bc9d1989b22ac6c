"""Objects that stand alone: connected pixels that are not ground, seen as windows."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import ground_of, image_of
from sklearn_sprites._engine.training.gauge import SPREAD
from sklearn_sprites._engine.training.scene_evidence import into_frame

CLEARLY = 3.5e-3  # squared error per channel of a pixel that is not ground
NOISE = 12.0  # the same in medians of all pixels
SMALLEST = 6  # pixels of a side of what is looked at
THINNEST = 4  # the same where all forms are
FILLED = 0.55  # share of its box that an object covers
LOOSE = 0.25  # share of the blobs that is left out as least compact
PIXEL = 1 / 12  # mean squared distance of a pixel's points from its center
CHUNK = 128
CROSS = np.zeros((3, 3, 3), bool)  # neighbors by sides, within an image
CROSS[1, 1, :] = CROSS[1, :, 1] = True


class Windows(NamedTuple):
    """What objects look like in their own frames.

    ``image`` and ``ground`` (n, C, h, w), ``mask`` (n, h, w) of the object's pixels.
    """

    image: Tensor
    ground: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def take(self, index: Tensor) -> "Windows":
        """Some of the windows."""
        return Windows(*(part[index] for part in self))


def behind(views: Tensor, spec: SceneSpec) -> Tensor:
    """What lies behind the objects of views, (B, C, H, W)."""
    if spec.has_picture:
        return ground_of(views, spec)
    if spec.has_level:
        level = views.flatten(2).median(2).values
        return level[..., None, None].expand_as(views)
    return torch.zeros_like(views)


def foreground(images: Tensor, ground: Tensor) -> Tensor:
    """Whether pixels (B, H, W) differ clearly from the ground."""
    wrong = (images - ground).square().sum(1)
    least = max(CLEARLY * images.shape[1], NOISE * float(wrong.median()))
    return wrong > least


def components(shown: Tensor) -> Tensor:
    """Labels (B, H, W) of pixels connected by their sides; 0 where nothing is shown.

    A label is the number of the last pixel of its component, row by row, from 1.
    """
    height, width = shown.shape[1:]
    names, count = ndimage.label(shown.cpu().numpy(), CROSS)
    number = np.tile(np.arange(1, height * width + 1), len(shown))
    last = np.zeros(count + 1, np.int64)
    last[names.ravel()] = number  # of pixels with one name the last remains
    last[0] = 0
    return torch.from_numpy(last[names]).to(shown.device)


class Blobs(NamedTuple):
    """Connected pixels: image and label, center, moments, box and area of each."""

    image: Tensor  # (n,)
    label: Tensor
    center: Tensor  # (n, 2), x and y in pixels
    spread: Tensor  # (n, 2), mean squared distance from it
    slant: Tensor  # (n,), mean product of these distances
    low: Tensor  # (n, 2), of the box
    high: Tensor
    area: Tensor
    compact: Tensor  # area relative to the ellipse of the same moments


def numbered(label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (p, 3) of :func:`components`, names (n,) of these, and whose pixels are.

    A name is the image's number times one more than its pixels, and the label.
    """
    where = label.nonzero()
    numbers = where[:, 0] * (label[0].numel() + 1) + label[tuple(where.T)]
    names, index = numbers.unique(return_inverse=True)
    return where, names, index


def blobs(label: Tensor) -> Blobs:
    """Measure the components of :func:`components`."""
    where, names, index = numbered(label)
    points = where[:, [2, 1]].to(torch.float32) + 0.5
    zeros = points.new_zeros((len(names), 2))
    area = torch.bincount(index, minlength=len(names)).to(points)
    center = zeros.index_add(0, index, points) / area[:, None]
    far = points - center[index]
    along = zeros.index_add(0, index, far.square()) / area[:, None]
    across = zeros[:, 0].index_add(0, index, far.prod(1)) / area
    both = (along + PIXEL).prod(1) - across.square()
    every = index[:, None].expand(-1, 2)
    return Blobs(
        names // (label[0].numel() + 1),
        names % (label[0].numel() + 1),
        center,
        along,
        across,
        zeros.scatter_reduce(0, every, points, "amin", include_self=False) - 0.5,
        zeros.scatter_reduce(0, every, points, "amax", include_self=False) + 0.5,
        area,
        area / (4 * math.pi * both.sqrt()),
    )


def inside(found: Blobs, height: int, width: int) -> Tensor:
    """Whether blobs (n,) are away from the border."""
    size = torch.tensor([width, height]).to(found.low)
    return ((found.low > 0) & (found.high < size)).all(1)


def alone(found: Blobs, height: int, width: int) -> Tensor:
    """Whether blobs (n,) are compact, large enough, and away from the border."""
    sides = found.high - found.low
    compact = found.area > FILLED * sides.prod(1)
    return inside(found, height, width) & compact & (sides.amin(1) >= SMALLEST)


def _least_compact(compact: Tensor) -> Tensor:
    """How compact blobs (n,) must be; objects that touch are less so."""
    if not len(compact):
        return compact.new_zeros(())
    return compact.sort().values[int(LOOSE * len(compact))]


def shown_apart(views: Tensor, spec: SceneSpec) -> Tensor:
    """Labels (B, H, W) of what differs from the ground, as of :func:`components`."""
    return components(foreground(image_of(views, spec), behind(views, spec)))


class Apart(NamedTuple):
    """What stands apart from the ground: labels (B, H, W), blobs, which are whole.

    ``whole`` (n,): away from the border, and not too thin.
    """

    label: Tensor
    found: Blobs
    whole: Tensor


def standing_apart(views: Tensor, spec: SceneSpec) -> Apart:
    """All that stands apart, whatever its form; what touches is one."""
    label = shown_apart(views, spec)
    found = blobs(label)
    thin = (found.high - found.low).amin(1) < THINNEST
    return Apart(label, found, inside(found, spec.height, spec.width) & ~thin)


def where_whole(apart: Apart) -> Tensor:
    """Whether pixels (B, H, W) are of blobs that are whole."""
    names = apart.label.new_zeros((len(apart.label), apart.label[0].numel() + 1))
    rows, labels = apart.found.image[apart.whole], apart.found.label[apart.whole]
    names[rows, labels] = 1
    return names.gather(1, apart.label.flatten(1)).view_as(apart.label) > 0


def object_windows(views: Tensor, spec: SceneSpec) -> Windows:
    """Windows of objects that stand alone, centered and of standard size."""
    label = shown_apart(views, spec)
    found = blobs(label)
    good = alone(found, spec.height, spec.width)
    good = good & (found.compact >= _least_compact(found.compact[good]))
    return windows_of(views, spec, Apart(label, found, good))


def windows_of(views: Tensor, spec: SceneSpec, apart: Apart) -> Windows:
    """Windows of the blobs that are whole, centered and of standard size."""
    images, ground = image_of(views, spec), behind(views, spec)
    label, found = apart.label, apart.found
    good = apart.whole.nonzero()[:, 0]
    sides = (spec.sprite_height, spec.sprite_width)
    size = torch.tensor([sides[1], sides[0]]).to(images)
    scale = (4 * found.spread / size.square()).sum(1).sqrt() / SPREAD
    if not spec.has_scale:
        scale = torch.ones_like(scale)
    flat = torch.zeros_like(scale)
    pose = torch.stack([*found.center.T, scale.log(), flat], 1)
    parts = [images.new_zeros((0, 2 * spec.channels + 1, *sides))]
    for some in good.split(CHUNK):
        row = found.image[some]
        mask = (label[row] == found.label[some, None, None])[:, None].to(images)
        maps = torch.cat([images[row], ground[row], mask], 1)
        parts.append(into_frame(maps, pose[some], sides))
    image, behind_it, mask = torch.cat(parts).split([spec.channels] * 2 + [1], 1)
    return Windows(image, behind_it, mask[:, 0])
