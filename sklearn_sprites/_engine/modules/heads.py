"""Regression heads: features of an image to the parameters of every sprite."""

import math

import torch
from torch import Tensor, nn

HIDDEN = 128


class GroupedHead(nn.Module):
    """Parameters of one transformation for all groups (sprites) in one product.

    The hidden layer is shared, the last layer is per group and starts at zero, so that
    a new head predicts the identity.
    """

    def __init__(
        self, features: int, groups: int, outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        device = generator.device
        bound = 1 / math.sqrt(features)
        shape = (HIDDEN, features)
        uniform = torch.empty(shape, dtype=torch.float32, device=device)
        self.hidden_weight = nn.Parameter(
            uniform.uniform_(-bound, bound, generator=generator)
        )
        self.hidden_bias = nn.Parameter(uniform.new_zeros(HIDDEN))
        self.group_weight = nn.Parameter(uniform.new_zeros(groups, outputs, HIDDEN))
        self.group_bias = nn.Parameter(uniform.new_zeros(groups, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, F) to parameters (B, groups, outputs)."""
        return self.tell(self.hidden(features))

    def hidden(self, features: Tensor) -> Tensor:
        """What all groups are told from, (B, HIDDEN)."""
        return torch.relu(
            nn.functional.linear(features, self.hidden_weight, self.hidden_bias)
        )

    def tell(self, hidden: Tensor) -> Tensor:
        """From what is hidden to parameters (B, groups, outputs)."""
        flat = nn.functional.linear(
            hidden, self.group_weight.flatten(0, 1), self.group_bias.flatten()
        )
        return flat.view(len(hidden), *self.group_bias.shape)

    def tell_one(self, hidden: Tensor, groups: Tensor) -> Tensor:
        """Parameters (B, outputs) of one group for each image, `groups` (B,)."""
        n_groups = len(self.group_bias)
        counts = torch.bincount(groups, minlength=n_groups).tolist()  # a sync
        order = groups.argsort(stable=True)
        told = [
            nn.functional.linear(part, weight, bias)
            for part, weight, bias in zip(
                hidden[order].split(counts),
                self.group_weight,
                self.group_bias,
                strict=True,
            )
        ]
        found = torch.cat(told)
        return torch.empty_like(found).index_copy_(0, order, found)
