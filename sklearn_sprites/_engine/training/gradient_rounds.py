"""Rounds in which sprites take gradient steps, under layers that search finds."""

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.search.batches import BATCH
from sklearn_sprites._engine.search.layers import Layers, Sprites, draw, picture
from sklearn_sprites._engine.search.scene import layers_found, make_searcher
from sklearn_sprites._engine.search.sprites import published, received, with_alpha
from sklearn_sprites._engine.training.adam import Adam, Group
from sklearn_sprites._engine.training.learner import AbstractLearner, Task

PASSES = 4  # over the images of a round
RATE = 2e-2  # step size, in the scale of sprites in [0, 1]
BRIGHTEST = 0.95  # quantile of a sprite that is one: its color does the rest
FAINT = 1e-3  # alpha by which an appearance is divided at least
LEAST = 0.3  # what faint sprites are divided by


class GradientLearner(AbstractLearner):
    """Sprites (K, 1 or 2, h, w), moved by Adam.

    Ink or mask; over a background, where sprites have tints, appearance and mask.
    First sprites are those of `start`.
    """

    def __init__(self, task: Task, start: AbstractLearner) -> None:
        super().__init__(task)
        self.start, self.is_shaded = start, task.spec.is_shaded
        self.explores = start.explores
        self._put(torch.zeros(0))

    def begin(self, images: Tensor) -> None:
        """First sprites as for closed form."""
        self.start.begin(images)
        first = received(self.start.published(), self.spec, str(images.device))
        planes = first.planes[:, :1]
        if self.is_shaded:
            shade = first.ink / first.alpha.clamp_min(FAINT)
            planes = torch.stack([shade, first.alpha], 1)
        self._put(planes.clamp(0, 1))

    def _put(self, planes: Tensor) -> None:
        self.planes = torch.nn.Parameter(planes.clone())
        self.optimizer = Adam([Group([self.planes], RATE)])

    def sprites(self) -> Sprites:
        """Sprites as they are searched with and drawn."""
        if self.is_shaded:
            shade, alpha = self.planes.unbind(1)
            return Sprites(torch.stack([shade * alpha, alpha], 1))
        return with_alpha(self.planes[:, 0], self.spec)

    def round(self, images: Tensor, exploring: bool) -> float:
        """Search, then gradient steps on the error of what was found."""
        quick = self.settings.search.brief
        sprites = Sprites(self.sprites().planes.detach())
        searcher = make_searcher(self.spec, quick, self.penalty, sprites)
        batches, error = [], 0.0
        for x, found in layers_found(images, searcher, BATCH):
            batches.append((x, found.layers))
            error += float(found.picture.error.double().sum())
        for _ in range(PASSES):
            for i in torch.randperm(len(batches), generator=self.draws).tolist():
                self._step(*batches[i])
        self._fix_gauge()
        return error / (len(images) * self.spec.channels * images[0, 0].numel())

    def _step(self, x: Tensor, layers: Layers) -> None:
        """One step on the mean error; colors are solved, places and order stay."""
        with torch.enable_grad():
            drawn = draw(self.sprites(), layers, self.spec.height, self.spec.width)
            loss = picture(x, drawn, layers.over, self.spec).error.sum() / x.numel()
            self.optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.planes.clamp_(0, 1)

    @torch.no_grad()
    def _fix_gauge(self) -> None:
        """How bright or opaque a sprite is, which colors could absorb, stays."""
        planes = self.planes.detach()
        top = planes.flatten(2).quantile(BRIGHTEST, 2).clamp_min(LEAST)
        self.planes.copy_((planes / top[..., None, None]).clamp(0, 1))

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        return published(Sprites(self.sprites().planes.detach()), self.spec)
