"""What is known of every image's error under every sprite.

Most sprites are hopeless for most images, so a training step looks only at a few: the
best known ones and the one that was looked at longest ago. The table also tells what
the removal of a sprite would cost, without a pass over the images.
"""

import torch
from torch import Tensor

SHORTLIST = 4  # candidates per image and step
WIDE = 16  # candidates per image before the first step
RETIRED = torch.iinfo(torch.int32).max


class Ledger:
    """Last known errors (n, K) and the step at which each was seen.

    It starts from a guess, and every entry is looked at in time; `size` candidates per
    image and step.
    """

    def __init__(self, guess: Tensor, size: int = SHORTLIST) -> None:
        self.errors = guess.clone()
        self.seen = torch.zeros_like(guess, dtype=torch.int32)
        self.size = min(size, guess.shape[1])
        self.step = 0

    def candidates(self, index: Tensor) -> Tensor:
        """Sprites worth looking at for images (B,): (B, S)."""
        errors = self.errors[index]
        if self.size == errors.shape[1]:
            every = torch.arange(self.size, device=errors.device)
            return every.expand(len(index), -1)
        best = errors.topk(self.size - 1, 1, largest=False).indices
        age = self.seen[index].scatter(1, best, RETIRED)
        return torch.cat([best, age.argmin(1, keepdim=True)], 1)

    def most_likely(self, index: Tensor, width: int) -> Tensor:
        """The best known sprites of images (B,), at most `width`: (B, S)."""
        errors = self.errors[index]
        width = min(width, errors.shape[1])
        return errors.topk(width, 1, largest=False).indices

    def record(self, index: Tensor, candidates: Tensor, errors: Tensor) -> Tensor:
        """Note errors (B, S) of candidates (B, S) of images (B,).

        Returns them, infinite where a candidate is out of use.
        """
        self.step += 1
        rows = index[:, None]
        seen = self.seen[rows, candidates]
        retired = seen == RETIRED
        errors = torch.where(retired, torch.inf, errors)
        self.errors[rows, candidates] = errors
        self.seen[rows, candidates] = seen.masked_fill(~retired, self.step)
        return errors

    def copy(self, source: int, target: int) -> None:
        """Sprite `target` is about what `source` is."""
        self.errors[:, target] = self.errors[:, source]
        self.seen[:, target] = self.seen[:, source]

    def retire(self, sprites: list[int]) -> None:
        """Sprites are out of use: no image looks at them again."""
        self.errors[:, sprites] = torch.inf
        self.seen[:, sprites] = RETIRED
