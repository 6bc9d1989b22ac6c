"""Adam: running moments of gradients, beside the parameters that they belong to.

Each step is torch's own. Its optimizer classes load torch's compiler when they are
built, which takes seconds and changes the environment and the filters of warnings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


@dataclass
class Group:
    """Parameters that are learned at one rate."""

    parameters: Sequence[nn.Parameter]
    rate: float = 1e-3
    decay: float = 0.0  # times the parameter is added to its gradient


@dataclass(frozen=True)
class Moments:
    """What is known of the gradients of a parameter, changed in place."""

    steps: Tensor  # (), how often it was learned
    first: Tensor
    second: Tensor

    def copy(self) -> "Moments":
        """The same in memory of its own."""
        return Moments(self.steps.clone(), self.first.clone(), self.second.clone())


@dataclass
class Adam:
    """Parameters in groups and the moments of those that have had a gradient.

    If `fused`, all parameters of a group are learned in one operation.
    """

    groups: list[Group]
    fused: bool = False
    moments: dict[nn.Parameter, Moments] = field(default_factory=dict)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group in self.groups:
            learned = [p for p in group.parameters if p.grad is not None]
            found = [self._of(parameter) for parameter in learned]
            adam(
                list[Tensor](learned),
                [p.grad for p in learned if p.grad is not None],
                [m.first for m in found],
                [m.second for m in found],
                [],
                [m.steps for m in found],
                fused=self.fused or None,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group.rate,
                weight_decay=group.decay,
                eps=1e-8,
                maximize=False,
            )

    def copy(self) -> "Adam":
        """The same rates and moments, for the same parameters."""
        groups = [replace(group) for group in self.groups]
        moments = {p: m.copy() for p, m in self.moments.items()}
        return Adam(groups, self.fused, moments)

    def _of(self, parameter: nn.Parameter) -> Moments:
        if parameter not in self.moments:
            where = parameter.device if self.fused else "cpu"
            zero = torch.zeros_like(parameter)
            steps = torch.zeros((), dtype=torch.float32, device=where)
            self.moments[parameter] = Moments(steps, zero, zero.clone())
        return self.moments[parameter]


def adam_of(parameters: Iterable[nn.Parameter], rate: float = 1e-3) -> Adam:
    """Adam for parameters of one group, learned in one operation."""
    return Adam([Group(list(parameters), rate)], fused=True)
