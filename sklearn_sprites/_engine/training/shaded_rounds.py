"""Rounds for sprites with masks and appearances, in tints, over a background."""

import math

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH
from sklearn_sprites._engine.search.layers import Layers, Sprites, draw, picture
from sklearn_sprites._engine.search.scene import layers_found, make_searcher
from sklearn_sprites._engine.search.sprites import published
from sklearn_sprites._engine.training.components import Windows, object_windows
from sklearn_sprites._engine.training.gauge import (
    Bends,
    full_range,
    gauge_grid,
    opaque,
    sharpened,
    without_holes,
)
from sklearn_sprites._engine.training.learner import AbstractLearner, Task
from sklearn_sprites._engine.training.posed_rounds import CONTRASTS, disc
from sklearn_sprites._engine.training.shaded_evidence import (
    appearance,
    shaded_evidence,
)
from sklearn_sprites._engine.training.shaded_kmeans import BRIGHTEST, shaded_kmeans

MEMORY = 0.8  # of what earlier rounds saw
FIRST = 6.0  # evidence in every pixel that the first sprites are worth
EXPLAINED = 0.3  # share of its energy that a layer leaves which teaches
PRIOR = 0.1  # evidence that a sprite as it was is worth
TRUSTED = 8.0  # times the penalty that a layer saves before it teaches
EXAMPLES = 32  # images on which contrasts of edges are tried
MOST = 1500  # windows from which first sprites are made


class ShadedLearner(AbstractLearner):
    """Sprites (K, 2, h, w), ink and mask, and sums of what rounds saw of them."""

    def __init__(self, task: Task, given: Sprites | None) -> None:
        super().__init__(task)
        self.given = None if given is None else given.planes
        self.planes = torch.zeros(0)
        self.sums = torch.zeros(0)

    def begin(self, images: Tensor) -> None:
        """Clusters of objects that stand alone."""
        if self.given is not None:
            self.planes = self.given
        else:
            windows = object_windows(images, self.spec)
            if not len(windows):
                windows = _one_disc(images, self.spec)
            windows = windows.take(torch.arange(min(len(windows), MOST)))
            k = self.spec.n_sprites
            found = shaded_kmeans(windows, k, self.spec, self.draws)
            self.planes = standard(found, self.spec)
        shade, alpha = appearance(self.planes), self.planes[:, 1]
        every = torch.full_like(alpha, FIRST)
        self.sums = torch.stack([every * alpha, every, every * shade, every], 1)

    def round(self, images: Tensor, exploring: bool) -> float:
        """Search, and solve masks and appearances."""
        quick = self.settings.search.brief
        sprites = Sprites(self.planes)
        searcher = make_searcher(self.spec, quick, self.penalty, sprites)
        sums, error = MEMORY * self.sums, 0.0
        examples: list[tuple[Tensor, Layers]] = []
        bends = Bends(self.spec, images)
        for x, found in layers_found(images, searcher, BATCH):
            seen = shaded_evidence(
                x, found.layers, found.picture, self.planes, self.spec
            )
            taught = found.layers.on * (found.saves > TRUSTED * self.penalty)
            taught = taught * (seen.left < EXPLAINED)
            weight = (taught * seen.weight).flatten()[:, None, None, None]
            sprite = found.layers.sprite.flatten()
            bends.add(found.layers, taught * seen.weight)
            sums = sums.index_add(0, sprite, seen.sums.flatten(0, 1) * weight)
            error += float(found.picture.error.double().sum())
            if len(examples) * BATCH < EXAMPLES:
                examples.append((x, found.layers))
        self.sums = sums
        self.planes = self._solved(sums, examples, bends.mean())
        n_values = len(images) * self.spec.channels * images[0, 0].numel()
        return error / n_values

    def _solved(
        self,
        sums: Tensor,
        examples: list[tuple[Tensor, Layers]],
        bend: Tensor | None,
    ) -> Tensor:
        shade, alpha = appearance(self.planes), self.planes[:, 1]
        alpha = (sums[:, 0] + PRIOR * alpha) / (sums[:, 1] + PRIOR)
        shade = (sums[:, 2] + PRIOR * shade) / (sums[:, 3] + PRIOR)
        alpha = without_holes(alpha.clamp(0, 1))
        if not self.spec.has_bias:
            shade = shade.clamp_min(0)
        planes = torch.stack([shade * alpha, alpha], 1)
        planes = standard(planes, self.spec, bend)
        return sharpest(planes, examples, self.spec)

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        return published(Sprites(self.planes), self.spec)


def standard(planes: Tensor, spec: SceneSpec, bend: Tensor | None = None) -> Tensor:
    """Sprites (K, 2, h, w) opaque, centered, of standard size and brightness."""
    ink, alpha = planes.unbind(1)
    shade, alpha = appearance(planes), opaque(alpha)
    maps = torch.stack([shade * alpha, alpha], 1)
    maps = F.grid_sample(maps, gauge_grid(alpha, spec, bend), align_corners=False)
    ink, alpha = maps.unbind(1)
    if spec.has_bias:
        return torch.stack([full_range(appearance(maps), alpha) * alpha, alpha], 1)
    top = ink.flatten(1).quantile(BRIGHTEST, 1).clamp_min(0.05)[:, None, None]
    ink = torch.minimum(ink / top, alpha)
    return torch.stack([ink, alpha], 1)


def sharpest(
    planes: Tensor, examples: list[tuple[Tensor, Layers]], spec: SceneSpec
) -> Tensor:
    """Sprites with edges as steep as explains example images best."""
    best, least = planes, math.inf
    shade = appearance(planes)
    for contrast in CONTRASTS:
        alpha = sharpened(planes[:, 1], contrast).clamp(0, 1)
        steep, error = torch.stack([shade * alpha, alpha], 1), 0.0
        for x, layers in examples:
            drawn = draw(Sprites(steep), layers, spec.height, spec.width)
            found = picture(x, drawn, layers.over, spec)
            error += float(found.error.double().sum())
        if error < least:
            best, least = steep, error
    return best


def _one_disc(images: Tensor, spec: SceneSpec) -> Windows:
    """A window to start from where nothing stands alone."""
    mask = disc(spec, images)
    black = torch.zeros_like(mask)[:, None].expand(-1, spec.channels, -1, -1)
    return Windows(mask[:, None] * torch.ones_like(black), black, mask)
