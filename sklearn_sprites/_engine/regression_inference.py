"""Regressed scenes: layers found by one pass of the network, and drawn.

Batches are padded to :data:`BATCH` images, so that every image passes the same kernels
whatever the number, the order and the company of images; nothing is drawn at random.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.modules.ground_head import GroundPose
from sklearn_sprites._engine.ops.ground import TERMS
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.ops.selection import Stage, composed, shown_share
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.scene_records import (
    FittedScenes,
    LayerRecord,
    Rendered,
    pose_fields,
)
from sklearn_sprites._engine.scene_settings import Gradient
from sklearn_sprites._engine.training.regressed import (
    Look,
    Rule,
    Shown,
    chosen,
    ground,
    recolored,
    show,
)
from sklearn_sprites._engine.training.scene_gradient import scene_model

BATCH = 16


class RegressionPredictor:
    """Finds the layers of images, and draws layers.

    Parameters
    ----------
    fitted : FittedScenes
        Sprites, backgrounds and network.
    regression : Regression or Attention
        What the network is made of.
    penalty : float
        What a layer must save, in squared error summed over an image.
    device : str
        Where to compute.
    """

    def __init__(
        self, fitted: FittedScenes, regression: Gradient, penalty: float, device: str
    ) -> None:
        self.spec, self.device = fitted.spec, device
        with isolated(grad=False):
            self.model = scene_model(fitted, regression, device).eval()
            sprites = np.array(fitted.sprites, np.float32)
            self.look = Look(torch.from_numpy(sprites).to(device))
        self.rule = Rule(penalty if regression.empty else 0.0, regression.empty)

    def decompose(self, images: NDArray) -> LayerRecord:
        """The layers of images (n, C, H, W) float32, in model units."""
        parts = []
        with isolated(grad=False):
            for start in range(0, max(len(images), 1), BATCH):
                some = images[start : start + BATCH]
                batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
                batch[: len(some)] = some
                parts.append(self._find(torch.from_numpy(batch).to(self.device)))
        return LayerRecord.concatenate(parts).take(slice(0, len(images)))

    def render(self, record: LayerRecord) -> Rendered:
        """Draw records, edited or not."""
        n = len(record)
        parts = []
        with isolated(grad=False):
            for start in range(0, max(n, 1), BATCH):
                rows = np.minimum(np.arange(start, start + BATCH), max(n - 1, 0))
                parts.append(self._draw(record.take(rows)))
        return Rendered(
            *(np.concatenate(column)[:n] for column in zip(*parts, strict=True))
        )

    def _find(self, images: Tensor) -> LayerRecord:
        """The layers of one batch, those that save most first."""
        regressed = self.model(images)
        shown, _, _ = show(images, self.model, regressed, self.look, self.rule)
        shown = shown._replace(over=(shown.over > 0.5).to(images))
        error, saves = self._judged(images, shown)
        return _record(shown, error, saves, self.spec.n_sprites)

    def _judged(self, images: Tensor, shown: Shown) -> tuple[Tensor, Tensor]:
        """Squared errors (B,), and by how much each layer lowers them, (B, L)."""
        color, alpha = self._chosen(shown)
        color = recolored(color, shown.color)
        target = flat(images)
        stage = Stage(
            target, ground(self.model, shown.behind, shown.ground), shown.over
        )

        def error(alpha: Tensor) -> Tensor:
            return (target - composed(color, alpha, stage)).square().sum((1, 2))

        found, saves = error(alpha), []
        for layer in range(self.spec.n_layers):
            without = alpha.clone()
            without[:, layer] = 0
            saves.append(error(without) - found)
        return found, torch.stack(saves, 1) if saves else alpha.new_zeros(
            alpha.shape[:2]
        )

    def _chosen(self, shown: Shown) -> tuple[Tensor, Tensor]:
        """Color and alpha of layers."""
        where = (shown.choice, shown.pose, shown.spline)
        return chosen(self.look, *where, self.spec)

    def _draw(self, record: LayerRecord) -> tuple[NDArray, NDArray, NDArray]:
        """Images, masks and visible masks of one batch."""
        shown = self._shown(record)
        color, alpha = self._chosen(shown)
        behind = ground(self.model, shown.behind, shown.ground)
        stage = Stage(torch.zeros_like(behind), behind, shown.over)
        image = composed(recolored(color, shown.color), alpha, stage)
        size = (self.spec.height, self.spec.width)
        pixels = size[0] * size[1]
        parts = (image, alpha, shown_share(alpha, shown.over))
        images, masks, visible = (
            part[..., :pixels].unflatten(-1, size).cpu().numpy().copy()
            for part in parts
        )
        return images, masks, visible

    def _shown(self, record: LayerRecord) -> Shown:
        """What a record says, as tensors."""

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.array(values, np.float32)).to(self.device)

        sprite = np.where(record.sprite < 0, self.spec.n_sprites, record.sprite)
        behind = (record.background_gain, record.background_bias)
        return Shown(
            torch.from_numpy(sprite).to(self.device),
            tensor(record.pose()),
            tensor(record.spline),
            tensor(record.over),
            tensor(np.stack([record.gain, record.bias], -1)),
            tensor(np.stack(behind, -1)),
            GroundPose(
                tensor(record.background_pose), tensor(record.background_spline)
            ),
        )


def _record(shown: Shown, error: Tensor, saves: Tensor, empty: int) -> LayerRecord:
    """To NumPy, the layers that save most first, empty ones last."""
    on = shown.choice < empty
    key = torch.where(on, saves, -torch.inf)
    order = key.sort(dim=1, descending=True, stable=True).indices.cpu().numpy()
    sort = _sorter(order)
    shows = sort(on)
    pose = sort(shown.pose) * shows[..., None]
    color = sort(shown.color) * shows[..., None, None]
    over = np.take_along_axis(sort(shown.over), order[:, None], 2) > 0
    behind = shown.behind.cpu().numpy()
    return LayerRecord(
        sprite=np.where(shows, sort(shown.choice), -1),
        **pose_fields(pose, sort(shown.spline) * shows[..., None, None]),
        gain=color[..., 0],
        bias=color[..., 1],
        over=over & shows[:, :, None] & shows[:, None],
        saves=sort(saves) * shows,
        background=np.zeros(len(order), np.int64),
        background_gain=behind[..., 0].copy(),
        background_bias=behind[..., 1].copy(),
        background_light=np.zeros((*behind.shape[:2], TERMS - 1), np.float32),
        background_pose=shown.ground.pose.cpu().numpy().copy(),
        background_spline=shown.ground.spline.cpu().numpy().copy(),
        error=error.cpu().numpy().copy(),
    )


def _sorter(order: NDArray) -> Callable[[Tensor], Any]:
    """Values (B, L, ...) with layers in an order (B, L), as NumPy."""

    def sort(values: Tensor) -> Any:
        found = values.cpu().numpy()
        index = order.reshape(*order.shape, *[1] * (found.ndim - 2))
        return np.take_along_axis(found, index, 1).copy()

    return sort
