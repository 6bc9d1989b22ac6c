"""Slow, obviously right twins of what scenes are made and found with."""

import math
from itertools import permutations, product

import numpy as np
import torch
import torch.nn.functional as F


def correlation(image, sprite):
    """Of one map (H, W) with one filter (h, w) at every place, by sums."""
    (height, width), (h, w) = image.shape, sprite.shape
    rows, columns = height + 1 - h % 2, width + 1 - w % 2
    found = torch.zeros(rows, columns, dtype=image.dtype)
    for i in range(rows):
        for j in range(columns):
            for u in range(h):
                for v in range(w):
                    y, x = i - h // 2 + u, j - w // 2 + v
                    if 0 <= y < height and 0 <= x < width:
                        found[i, j] += image[y, x] * sprite[u, v]
    return found


def painted(alpha, ink, colors, level, order):
    """A scene painted from back to front: alpha, ink (L, H, W), colors (L, C).

    `level` (C,) is the background's color; `order` lists layers, the last in front.
    """
    image = level[:, None, None].expand(-1, *alpha.shape[1:]).clone()
    for i in order:
        image = image * (1 - alpha[i]) + ink[i] * colors[i, :, None, None]
    return image


def hides(order):
    """(L, L) with one where layer i is painted after layer j."""
    over = torch.zeros(len(order), len(order), dtype=torch.float64)
    for rank, i in enumerate(order):
        for j in order[:rank]:
            over[i, j] = 1
    return over


def all_orders(n):
    """Every order of n layers."""
    return list(permutations(range(n)))


def best_shift(image, sprites):
    """Sprite, row, column and gain of the layer that saves most, by trying all.

    image (C, H, W), sprites (K, h, w), as `search_shifts` counts on black.
    """
    best = (-1.0, 0, 0, 0)
    (_, height, width), (_, h, w) = image.shape, sprites.shape
    inside = torch.ones(height, width, dtype=image.dtype)
    for k, sprite in enumerate(sprites):
        seen = torch.stack([correlation(channel, sprite) for channel in image])
        energy = correlation(inside, sprite.square())
        saved = seen.clamp_min(0).square().sum(0) / (energy + 0.5)
        value, spot = saved.flatten().max(0)
        if value > best[0]:
            row, column = divmod(int(spot), saved.shape[1])
            best = (float(value), k, row - h // 2, column - w // 2)
    return best


def composite(color, alpha, behind, over):
    """A composite (C, P) of layers color (L, C, P), alpha (L, P), by its definition."""
    image = behind.clone()
    for layer_alpha in alpha:
        image = image * (1 - layer_alpha)
    for i in range(len(alpha)):
        share = alpha[i].clone()
        for j in range(len(alpha)):
            if j != i:
                share = share * (1 - over[j, i] * alpha[j])
        image = image + share * color[i]
    return image


def chosen_objective(color, alpha, target, behind, over, penalty, choice):
    """Squared error and penalties of a choice of sprites, K being none.

    color (L, K, C, P), alpha (L, K, P), target and behind (C, P), over (L, L).
    """
    n_layers, k = alpha.shape[:2]
    colors = [color[i, choice[i]] for i in range(n_layers) if choice[i] < k]
    alphas = [alpha[i, choice[i]] for i in range(n_layers) if choice[i] < k]
    kept = [i for i in range(n_layers) if choice[i] < k]
    among = over[kept][:, kept]
    image = composite(colors, alphas, behind, among)
    return float((target - image).square().sum()) + penalty * len(kept)


def best_choice(color, alpha, target, behind, over, penalty, may_be_empty=True):
    """The choice of least objective, by trying all, and its objective."""
    n_layers, k = alpha.shape[:2]
    options = range(k + 1 if may_be_empty else k)
    return min(
        (chosen_objective(color, alpha, target, behind, over, penalty, c), c)
        for c in product(options, repeat=n_layers)
    )


def greedy_choice(color, alpha, target, behind, over, penalty, sweeps, may_be_empty):
    """One layer after the other, each candidate judged by a composite of its own."""
    n_layers, k = alpha.shape[:2]
    choice = [k] * n_layers
    history = []
    for _ in range(sweeps):
        for i in range(n_layers):
            tried = []
            for option in range(k + 1 if may_be_empty else k):
                other = [*choice[:i], option, *choice[i + 1 :]]
                value = chosen_objective(
                    color, alpha, target, behind, over, penalty, other
                )
                tried.append((value, option))
            choice[i] = min(tried)[1]
            history.append(min(tried)[0])
    return choice, history


def _monomials(height, width):
    """For every pixel, row by row: 1, x, y, x^2, x y, y^2."""
    rows = []
    for i in range(height):
        for j in range(width):
            y, x = (2 * i + 1) / height - 1, (2 * j + 1) / width - 1
            rows.append([1, x, y, x * x, x * y, y * y])
    return np.array(rows)


def lit_picture(picture, light):
    """A picture (C, H, W) in a light (C, 6)."""
    terms = _monomials(*picture.shape[1:])
    return np.stack(
        [p * (terms @ w).reshape(p.shape) for p, w in zip(picture, light, strict=True)]
    )


def solved_light(image, picture, weight, ridge):
    """The light (C, 6) in which a picture comes closest to an image, pixels weighted.

    `ridge` pulls it to the picture as it is.
    """
    terms, root = _monomials(*weight.shape), np.sqrt(weight.reshape(-1, 1))
    pull, plain = np.sqrt(ridge) * np.eye(6), np.sqrt(ridge) * np.eye(6)[0]
    solved = []
    for x, p in zip(image, picture, strict=True):
        left = np.concatenate([root * terms * p.reshape(-1, 1), pull])
        right = np.concatenate([root[:, 0] * x.ravel(), plain])
        solved.append(np.linalg.lstsq(left, right, rcond=None)[0])
    return np.stack(solved)


def shadowed(image, ground, darkest, scale=4e-4, against=0.03):
    """The ground (C, H, W) in a shadow, averaged over 3 x 3 pixels one by one."""
    _, height, width = image.shape
    drawn = ground.clone()
    for i in range(height):
        for j in range(width):
            light = count = 0.0
            for y, x in product(range(i - 1, i + 2), range(j - 1, j + 2)):
                if not (0 <= y < height and 0 <= x < width):
                    continue
                seen, plain = image[:, y, x], ground[:, y, x]
                factor = float(seen @ plain / (plain @ plain))
                factor = min(max(factor, darkest), 1.0)
                far = float((seen - factor * plain).square().sum()) / scale
                light += factor / (1 + far) ** 2 / 9
                count += 1 / (1 + far) ** 2 / 9
            drawn[:, i, j] *= (light + against) / (count + against)
    return drawn


def connected(shown):
    """Labels (H, W) of pixels connected by their sides, one seed after the other."""
    label = np.zeros(shown.shape, np.int64)
    for seed in zip(*np.nonzero(shown), strict=True):
        if label[seed]:
            continue
        label[seed], todo = label.max() + 1, [seed]
        while todo:
            i, j = todo.pop()
            for near in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                inside = 0 <= near[0] < shown.shape[0] and 0 <= near[1] < shown.shape[1]
                if inside and shown[near] and not label[near]:
                    label[near] = label[seed]
                    todo.append(near)
    return label


def window_error(change, ground, sprite, there, ridge=1e-2):
    """What a sprite (2, h, w), placed by a grid, leaves of a window (C, P)."""
    drawn = torch.nn.functional.grid_sample(
        sprite[None], there[None], align_corners=False
    )
    ink, alpha = drawn[0].flatten(1)
    left = 0.0
    for x, g in zip(change, ground, strict=True):
        y = x + alpha * g
        along = max(float(y @ ink), 0.0)
        left += float(y @ y) - along**2 / (float(ink @ ink) + ridge)
    return left


def placed_point(point, pose, sides):
    """Where a point (x, y) in [-1, 1] of a sprite is in an image, number by number."""
    x, y, log_scale, angle, log_stretch, shear, *tilt = pose
    (h, w), (u, v) = sides, point
    depth = 1 + sum(t * each for t, each in zip(tilt, point, strict=False))
    across, down = u / depth * w / 2, v / depth * h / 2
    across, down = across + shear * down, down
    across, down = np.exp(log_stretch) * across, down / np.exp(log_stretch)
    cos, sin = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
    return [x + cos * across - sin * down, y + sin * across + cos * down]


def painted_change(image, front, free, behind, planes):
    """How each sprite at each place would change a squared error, by drawing it.

    image, front, behind (C, H, W), free (1, H, W), planes (K, C + 1, h, w): inks and
    mask. The picture is ``front + free * behind``; what is drawn is free as that is.
    """
    (height, width), (k, _, h, w) = image.shape[1:], planes.shape
    before = (image - front - free * behind).square().sum()
    found = image.new_zeros(k, height + 1 - h % 2, width + 1 - w % 2)
    for index in range(k):
        for i in range(found.shape[1]):
            for j in range(found.shape[2]):
                now = behind.clone()
                for u in range(h):
                    for v in range(w):
                        y, x = i - h // 2 + u, j - w // 2 + v
                        if 0 <= y < height and 0 <= x < width:
                            one = planes[index, :, u, v]
                            now[:, y, x] = one[:-1] + (1 - one[-1]) * behind[:, y, x]
                after = (image - front - free * now).square().sum()
                found[index, i, j] = after - before
    return found


def mask_cost(alpha, weight, mask, there, odd=0.1, unexplained=0.03, faint=0.05):
    """Least cost of a mask (h, w) in poses (P, h, w, 2) for a window, and which pose.

    Every pose drawn by itself; the cost is the logarithm of the share that is left.
    """
    energy = float((weight * alpha**2).sum()) + faint
    costs = []
    for where in there:
        drawn = F.grid_sample(mask[None, None], where[None], align_corners=False)[0, 0]
        left = float((weight * (drawn - alpha) ** 2).sum())
        costs.append(left / energy)
    best = min(range(len(costs)), key=costs.__getitem__)
    return math.log(min(costs[best], odd) + unexplained), best
