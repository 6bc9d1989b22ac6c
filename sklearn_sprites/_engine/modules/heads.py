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
        hidden = torch.relu(
            nn.functional.linear(features, self.hidden_weight, self.hidden_bias)
        )
        flat = nn.functional.linear(
            hidden, self.group_weight.flatten(0, 1), self.group_bias.flatten()
        )
        return flat.view(len(features), *self.group_bias.shape)
