"""The layers of whole images whose sprites have their own colors."""

import torch
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH, by_parts, take
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import Layers, Picture
from sklearn_sprites._engine.search.painted import (
    Painted,
    composed,
    make_kernels,
    ordered,
    redrawn,
    search_painted,
)
from sklearn_sprites._engine.search.poses import corner_pose
from sklearn_sprites._engine.search.scene import Found, Searcher

BETTER = 1e-3  # squared error of a pixel that a layer improves


def painted_layers(batches: list[Tensor], searcher: Searcher) -> Found:
    """Search the layers of batches of views, and drop those that do not pay."""
    spec, views = searcher.spec, torch.cat(batches)
    planes, sides = searcher.sprites.planes, searcher.sprites.sides
    kernels = make_kernels(planes, spec.height, spec.width)
    every = search_painted(views, kernels, spec, searcher.search, searcher.penalty)

    def judge(rows: Tensor) -> Found:
        images = image_of(views[rows], spec)
        found = redrawn(take(every, rows), planes, images)
        found, saves, share = paying(images, found, searcher.penalty)
        pose = corner_pose(found.row.to(images), found.column.to(images), sides)
        layers = Layers(found.sprite, pose, found.on, found.over)
        return Found(layers, _picture(found, spec), saves, share)

    return by_parts(judge, len(views), BATCH, views.device)


def _picture(found: Painted, spec: SceneSpec) -> Picture:
    """Colors and error, which is all that records tell; gains are one."""
    b, n, c = found.drawn.shape[0], spec.n_layers, spec.channels
    colors = found.drawn.new_ones((b, n, c))
    if spec.has_level:
        colors = torch.cat([found.ground[:, None, :, 0, 0], colors], 1)
    drawn, image = found.drawn[..., :0, :0], found.ground[..., :0, :0]
    return Picture(drawn, found.over, colors, image, found.error)


def paying(
    images: Tensor, found: Painted, penalty: float
) -> tuple[Painted, Tensor, Tensor]:
    """Without layers that save too little, in each image the worst first.

    With what each saves, (B, L), and the share of the pixels that it shows which are
    better for it.
    """
    for _ in range(found.on.shape[1]):
        saves, share = worth(images, found)
        useful = torch.where(found.on > 0, saves, torch.inf)
        least, worst = useful.min(1, keepdim=True)
        kept = (least > penalty).to(found.on)
        if bool(kept.all()):
            break
        on = found.on.scatter(1, worst, kept * found.on.gather(1, worst))
        drawn = found.drawn * on[..., None, None, None]
        over, error = ordered(images, drawn, found.over, found.ground)
        found = found._replace(on=on, drawn=drawn, over=over, error=error)
    saves, share = worth(images, found)
    return found, saves * found.on, share * found.on


def worth(images: Tensor, found: Painted) -> tuple[Tensor, Tensor]:
    """What errors rise by without each layer (B, L), and where: a share of its mask."""
    now = (images - composed(found.drawn, found.over, found.ground)).square().sum(1)
    saves, shares = [], []
    for i in range(found.on.shape[1]):
        others = found.drawn.clone()
        others[:, i] = 0
        rest = composed(others, found.over, found.ground)
        more = (images - rest).square().sum(1) - now
        shown = (found.drawn[:, i, -1] > 0.5).to(more)
        better = ((more > BETTER).to(more) * shown).sum((1, 2))
        saves.append(more.sum((1, 2)))
        shares.append(better / shown.sum((1, 2)).clamp_min(1))
    return torch.stack(saves, 1), torch.stack(shares, 1)
