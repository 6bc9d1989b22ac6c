"""Slow, obviously right twins of the engine's operations.

Everything here loops over images and pixels, works on one number at a time where it
can, and is differentiable, so that values and gradients can be compared.
"""

import math

import torch


def hat(distance):
    """The bilinear kernel: one at zero, zero from one pixel on."""
    return (1 - distance.abs()).clamp_min(0)


def read(image, x, y, padding):
    """Read one channel (H, W) at one point in [-1, 1], half-pixel centers."""
    height, width = image.shape
    column, row = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
    if padding == "border":
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    columns = hat(column - torch.arange(width, dtype=image.dtype))
    rows = hat(row - torch.arange(height, dtype=image.dtype))
    return rows @ image @ columns


def centers(height, width):
    """Pixel centers as a list of (x, y), row by row."""
    return [
        ((2 * j + 1) / width - 1, (2 * i + 1) / height - 1)
        for i in range(height)
        for j in range(width)
    ]


def sample(images, points, padding):
    """Read images (m, D, H, W) at points (m, 2, P): (m, D, P)."""
    rows = [
        torch.stack([read(channel, x, y, padding) for x, y in places.T])
        for image, places in zip(images, points, strict=True)
        for channel in image
    ]
    return torch.stack(rows).view(*images.shape[:2], -1)


def warp_matrix(name, p, aspect):
    """The 3 x 3 matrix of a rigid warp for one parameter vector, by its definition.

    Rotations and similarities are rigid where x is measured in heights, not widths.
    """
    one, zero = torch.ones_like(p[0]), torch.zeros_like(p[0])

    def in_pixels(a, b):
        """[[a, -b], [b, a]] between coordinates that count x in heights."""
        return [[a, -b / aspect], [b * aspect, a]]

    shift = [zero, zero]
    if name == "translation":
        linear, shift = [[one, zero], [zero, one]], [p[0], p[1]]
    elif name == "position":
        scale = torch.exp(p[0])
        linear, shift = [[scale, zero], [zero, scale]], [p[1], p[2]]
    elif name == "rotation":
        linear = in_pixels(torch.cos(p[0]), torch.sin(p[0]))
    elif name == "similarity":
        linear, shift = in_pixels(1 + p[0], p[1]), [p[2], p[3]]
    elif name == "affine":
        linear, shift = [[1 + p[0], p[1]], [p[3], 1 + p[4]]], [p[2], p[5]]
    elif name == "projective":
        entries = torch.cat([p, p.new_zeros(1)]).view(3, 3)
        return torch.eye(3, dtype=p.dtype) + entries
    rows = [[*linear[0], shift[0]], [*linear[1], shift[1]], [zero, zero, one]]
    return torch.stack([torch.stack(row) for row in rows])


def warp_point(name, p, aspect, x, y):
    """Where the rigid warp sends one point."""
    moved = warp_matrix(name, p, aspect) @ torch.stack([x, y, torch.ones_like(x)])
    return moved[0] / moved[2], moved[1] / moved[2]


def radial(a, b, c, d):
    """The thin plate's kernel r^2 log r between (a, b) and (c, d)."""
    squared = (a - c) ** 2 + (b - d) ** 2
    if squared == 0:
        return 0.0
    logarithm = squared.log() if torch.is_tensor(squared) else math.log(squared)
    return squared * logarithm / 2


def spline_point(p, side, x, y):
    """Where a thin-plate spline sends one point: its equations are solved anew."""
    line = torch.linspace(-1, 1, side, dtype=p.dtype).tolist()
    control = [(a, b) for b in line for a in line]
    n = len(control)
    system = torch.zeros(n + 3, n + 3, dtype=p.dtype)
    for i, (a, b) in enumerate(control):
        for j, (c, d) in enumerate(control):
            system[i, j] = radial(a, b, c, d)
        for j, value in enumerate((1, a, b)):
            system[i, n + j] = system[n + j, i] = value
    targets = torch.tensor(control, dtype=p.dtype) + p.view(n, 2)
    right = torch.cat([targets, torch.zeros(3, 2, dtype=p.dtype)])
    solved = torch.linalg.solve(system, right)  # (n + 3, 2)
    moved = solved[n] + solved[n + 1] * x + solved[n + 2] * y
    for i, (a, b) in enumerate(control):
        moved = moved + solved[i] * radial(x, y, a, b)
    return moved


def sequence_point(names, params, aspect, side, x, y):
    """Where an output point looks in the source: the last transformation comes first.

    `params` maps names to one parameter vector each; a name without is skipped.
    """
    for name in reversed([name for name in names if name in params]):
        if name == "thin_plate_spline":
            x, y = spline_point(params[name], side, x, y)
        else:
            x, y = warp_point(name, params[name], aspect, x, y)
    return x, y


def window_weight(b):
    """Weight of one neighbor in the morphological window."""
    start = 1 / (1 + math.exp(5))
    return (torch.sigmoid(b - 5) - start).clamp_min(0)


def morphological(images, params, kernel):
    """Soft dilation of (m, D, H, W), pixel by pixel and neighbor by neighbor."""
    _, _, height, width = images.shape
    half = kernel // 2
    out = []
    for image, p in zip(images, params, strict=True):
        for channel in image:
            for i in range(height):
                for j in range(width):
                    over, under = 0, 0
                    for di in range(-half, half + 1):
                        for dj in range(-half, half + 1):
                            if not (0 <= i + di < height and 0 <= j + dj < width):
                                continue
                            at = 1 + (di + half) * kernel + dj + half
                            weight = window_weight(p[at]) if di or dj else 1
                            x = channel[i + di, j + dj]
                            mass = weight * torch.exp(p[0] * x)
                            over, under = over + mass * x, under + mass
                    out.append(over / under)
    return torch.stack(out).view(images.shape)


def slopes(images, step):
    """Values per pixel between a pixel's neighbors, less what counts as flat."""
    out, flat = torch.empty_like(images), 1e-3
    height, width = images.shape[-2:]
    for i in range(height):
        for j in range(width):
            above, below = max(i - step, 0), min(i + step, height - 1)
            left, right = max(j - step, 0), min(j + step, width - 1)
            down = (images[..., below, j] - images[..., above, j]) / (2 * step)
            across = (images[..., i, right] - images[..., i, left]) / (2 * step)
            out[..., i, j] = (down**2 + across**2 + flat**2).sqrt() - flat
    return out


def thickness(drawn, slope, target, weight, is_gained, is_biased, strength, prior):
    """Growth (m,) in pixels of one channel (m, P), together with gain and bias."""
    out = torch.zeros_like(drawn[:, 0])
    for i, (x, e, y) in enumerate(zip(drawn, slope, target, strict=True)):
        columns, first, pulls = [e], [0.0], [prior]
        if is_gained:
            columns, first, pulls = [*columns, x], [*first, 1.0], [*pulls, strength]
        else:
            y = y - x
        if is_biased:
            columns = [*columns, torch.ones_like(x)]
            first, pulls = [*first, 0.0], [*pulls, 0.0]
        numbers = [[x.new_tensor(v) for v in some] for some in (first, pulls)]
        found = ridge(torch.stack(columns, 1), y, weight[i], *numbers)
        out[i] = found[0] / (found[1] if is_gained else 1)
    return out


def softclip(x):
    """One number clipped to [0, 1], but for a slope of 0.01 outside."""
    if x < 0:
        return 0.01 * x
    if x > 1:
        return 1 + 0.01 * (x - 1)
    return x


def apply_color(images, params):
    """Gain and bias per channel, (m, C, P) and (m, C, 2)."""
    out = torch.empty_like(images)
    for i, image in enumerate(images):
        for c, channel in enumerate(image):
            out[i, c] = (1 + params[i, c, 0]) * channel + params[i, c, 1]
    return out


def ridge(columns, target, weights, prior, strength, ties=()):
    """Least squares with a pull towards `prior`, as rows added to the equations.

    Minimizes ``sum_p w_p (y_p - a_p theta)^2 + sum_j s_j (theta_j - t_j)^2``, plus
    ``(b theta)^2`` for every row b of `ties`.
    """
    root = weights.sqrt()
    pull = torch.diag(torch.stack(strength).sqrt())
    equations = torch.cat([columns * root[:, None], pull, *ties])
    right = torch.cat([target * root, pull @ torch.stack(prior)])
    right = torch.cat([right, right.new_zeros(len(equations) - len(right))])
    return torch.linalg.lstsq(equations, right[:, None]).solution[:, 0]


def solve_layers(appearances, shares, freedoms, target, strength, tie=0.0, pull=0.0):
    """Gains and biases of all layers: one image after the other, all channels at once.

    Every color that is solved, of one channel or (freedom 3) of all of them, is a
    column over the pixels of all channels. With freedom 4, its squared distance from
    its mean over the channels costs `tie`, and a squared bias `pull`.
    """
    m, channels, pixels = target.shape
    out = [torch.zeros(m, channels, 2, dtype=target.dtype) for _ in freedoms]
    number = target.new_tensor
    for i in range(m):
        columns, prior, pulls, whose, rest = [], [], [], [], target[i].clone()
        for layer, freedom in enumerate(freedoms):
            shown = shares[layer][i].expand(channels, -1)
            terms = (shown * appearances[layer][i], shown)  # of a gain, of a bias
            for which, seen in enumerate(terms):
                if freedom <= which:
                    rest = rest - (seen if which == 0 else 0)
                    continue
                every = list(range(channels))
                for group in [every] if freedom == 3 else [[c] for c in every]:
                    column = torch.zeros_like(seen)
                    column[group] = seen[group]
                    columns.append(column.flatten())
                    prior.append(number(1.0 - which))
                    more = pull if (freedom, which) == (4, 1) else 0
                    pulls.append(number((strength + more) * len(group)))
                    whose.append((layer, group, which))
        ties = []
        for layer, which in [(k, w) for k in range(len(freedoms)) for w in (0, 1)]:
            if freedoms[layer] == 4:
                ours = [(k, w) == (layer, which) for k, _, w in whose]
                spread = target.new_zeros(channels, len(whose))
                spread[:, ours] = torch.eye(channels).to(target) - 1 / channels
                ties.append(tie**0.5 * spread)
        found = ridge(
            torch.stack(columns, 1),
            rest.flatten(),
            target.new_full((channels * pixels,), 1 / pixels),
            prior,
            pulls,
            ties,
        )
        for value, (layer, group, which) in zip(found, whose, strict=True):
            out[layer][i, group, which] = value - (1.0 - which)
    return out


def shifted_twin(images, offset):
    """Pixel p is pixel p + offset of the original; borders repeat. Pixel by pixel."""
    out = torch.empty_like(images)
    _, _, height, width = images.shape
    for i, (dx, dy) in enumerate(offset.tolist()):
        for y in range(height):
            for x in range(width):
                row = min(max(y + dy, 0), height - 1)
                column = min(max(x + dx, 0), width - 1)
                out[i, :, y, x] = images[i, :, row, column]
    return out


def explained_by_halves(points, sides):
    """Squared distances that two means take away from those to one, summed."""
    halves = [[p for p, s in zip(points, sides, strict=True) if s == t] for t in (0, 1)]

    def scatter(some):
        middle = sum(some) / len(some)
        return sum(float((p - middle).square().sum()) for p in some)

    return scatter(points) - sum(scatter(half) for half in halves if half)


def area_means(image, size):
    """Each new pixel: the mean over all pixels of (H, W) that it touches."""
    rows, columns = (
        [(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]
        for old, new in zip(image.shape, size, strict=True)
    )
    means = [[image[a:b, c:d].mean() for c, d in columns] for a, b in rows]
    return torch.stack([torch.stack(row) for row in means])


def slopes_of_light(image, weights):
    """Slopes along x and y of the plane nearest to an image (H, W), weighed."""
    x, y = image.new_tensor(centers(*image.shape)).T
    root = weights.flatten().sqrt()
    columns = torch.stack([torch.ones_like(x), x, y], 1) * root[:, None]
    target = (root * image.flatten())[:, None]
    return torch.linalg.lstsq(columns, target).solution[1:, 0]


def enlarged(image, size):
    """Each new pixel's center read in the old image (H, W), whose border goes on."""
    points = image.new_tensor(centers(*size)).T
    return sample(image[None, None], points[None], "border").view(size)
