"""Rounds in which sprites take gradient steps, under layers that search finds."""

from dataclasses import replace

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Layers, draw, picture
from sklearn_sprites._engine.search.scene import find_layers, make_searcher
from sklearn_sprites._engine.search.sprites import published, received, with_alpha
from sklearn_sprites._engine.training.posed_rounds import PosedLearner
from sklearn_sprites._engine.training.shifted_rounds import ShiftedLearner

BATCH = 16
PASSES = 4  # over the images of a round
RATE = 2e-2  # step size, in the scale of sprites in [0, 1]
BRIGHTEST = 0.95  # quantile of a sprite that is one: its color does the rest
LEAST = 0.3  # what faint sprites are divided by


class GradientLearner:
    """Sprites as one plane each (K, h, w), ink or mask, moved by Adam.

    First sprites are those of `start`, a learner that solves them.
    """

    def __init__(
        self,
        spec: SceneSpec,
        settings: SceneSettings,
        penalty: float,
        draws: torch.Generator,
        start: ShiftedLearner | PosedLearner,
    ) -> None:
        self.spec, self.settings, self.penalty = spec, settings, penalty
        self.draws, self.start = draws, start
        self.plane = torch.nn.Parameter(torch.zeros(0))
        self.optimizer = torch.optim.Adam([self.plane], lr=RATE)

    def begin(self, images: Tensor) -> None:
        """First sprites as for closed form."""
        self.start.begin(images)
        first = received(self.start.published(), self.spec, str(images.device)).ink
        self.plane = torch.nn.Parameter(first.clamp(0, 1).clone())
        self.optimizer = torch.optim.Adam([self.plane], lr=RATE)

    def round(self, images: Tensor, exploring: bool) -> float:
        """Search, then gradient steps on the error of what was found."""
        quick = replace(self.settings.search, restarts=0, replacements=0)
        sprites = with_alpha(self.plane.detach(), self.spec)
        searcher = make_searcher(self.spec, quick, self.penalty, sprites)
        batches, error = [], 0.0
        for x in images.split(BATCH):
            found = find_layers(x, searcher)
            batches.append((x, found.layers))
            error += float(found.picture.error.double().sum())
        for _ in range(PASSES):
            for i in torch.randperm(len(batches), generator=self.draws).tolist():
                self._step(*batches[i])
        self._fix_gauge()
        return error / images.numel()

    def _step(self, x: Tensor, layers: Layers) -> None:
        """One step on the mean error; colors are solved, places and order stay."""
        with torch.enable_grad():
            sprites = with_alpha(self.plane, self.spec)
            drawn = draw(sprites, layers, self.spec.height, self.spec.width)
            loss = picture(x, drawn, layers.over, self.spec).error.sum() / x.numel()
            self.optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.plane.clamp_(0, 1)

    @torch.no_grad()
    def _fix_gauge(self) -> None:
        """How bright or opaque a sprite is, which colors could absorb, stays."""
        plane = self.plane.detach()
        top = plane.flatten(1).quantile(BRIGHTEST, 1).clamp_min(LEAST)
        self.plane.copy_((plane / top[:, None, None]).clamp(0, 1))

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        return published(with_alpha(self.plane.detach(), self.spec), self.spec)
