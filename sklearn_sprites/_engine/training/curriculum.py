"""Which transformations are active when: stages, made before training starts."""

from dataclasses import dataclass
from itertools import pairwise

from sklearn_sprites._engine.settings import Milestones
from sklearn_sprites._engine.spec import COLORS, ModelSpec

LATE = ("thin_plate_spline", "thickness", "morphological", "projective")
SETTLE_RATE = 0.1  # factor of the learning rate in the last stage
DETAIL_RATES = (50.0, 10.0)  # of sprites, times that of the network


@dataclass(frozen=True)
class Stage:
    """A part of training: active transformations and a share of the epochs.

    The learning rate is multiplied by ``rate``, that of sprites and backgrounds by
    ``drawn`` besides. The last stage moves no sprites; one that is fixed has all its
    epochs.
    """

    name: str
    active: frozenset[str]
    share: float
    is_last: bool = False
    rate: float = 1.0
    is_fixed: bool = False
    drawn: float = 1.0


def _ordered(spec: ModelSpec) -> list[str]:
    both = (*spec.transformations, *spec.background_transformations)
    return list(dict.fromkeys(both))


def named_steps(spec: ModelSpec, curriculum: str) -> list[tuple[str, ...]]:
    """The growing sets of active transformations of a named curriculum."""
    names = _ordered(spec)
    if curriculum == "all_at_once":
        return [tuple(names)]
    if curriculum == "identity_first":
        return [(), tuple(names)]
    early = tuple(n for n in names if n not in LATE)
    if curriculum == "grouped":
        return [(), early, tuple(names)] if early else [(), tuple(names)]
    # one by one; what is solved needs no stage of its own
    steps: list[tuple[str, ...]] = [()]
    for name in names:
        grown = (*steps[-1], name)
        steps = [*steps[:-1], grown] if name in spec.solved else [*steps, grown]
    return steps


def make_stages(
    spec: ModelSpec,
    curriculum: str | tuple[tuple[str, ...], ...],
    is_started: bool,
) -> list[Stage]:
    """Stages of training, their shares of the epochs adding up to one.

    `is_started` says that sprites come aligned, so a named curriculum skips the
    identity; stages that are listed are kept as they are. The last set of
    transformations gets most of the time: it has the most to learn.
    """
    if isinstance(curriculum, str):
        steps = list(dict.fromkeys(named_steps(spec, curriculum)))
        predicted = [s for s in steps if set(s) - {*COLORS, *spec.solved}]
        steps = predicted if is_started and predicted else steps
    else:
        steps = list(curriculum)
    weights = [1.0] * (len(steps) - 1) + [2.5]
    total = sum(weights) / 0.85
    stages = [
        Stage("+".join(step) or "identity", frozenset(step), weight / total)
        for step, weight in zip(steps, weights, strict=True)
    ]
    last = frozenset(steps[-1])
    return [*stages, Stage("settle", last, 0.15, is_last=True, rate=SETTLE_RATE)]


def detail_stages(spec: ModelSpec) -> list[Stage]:
    """Stages in which sprites that were learned from reduced images get details.

    What transforms them is known, so the network moves little.
    """
    everything = frozenset(_ordered(spec))
    first, last = (
        Stage("details", everything, share, True, SETTLE_RATE, True, rate)
        for share, rate in zip((2 / 3, 1 / 3), DETAIL_RATES, strict=True)
    )
    return [first, last]


def dated_stages(
    spec: ModelSpec, milestones: Milestones, max_epochs: int
) -> list[Stage]:
    """Stages between one date and the next, until `max_epochs`."""
    dates = {0, max_epochs, *milestones.joins, *milestones.drops}
    ordered = sorted(date for date in dates if date <= max_epochs)
    stages = []
    for start, end in pairwise(ordered):
        active = [
            name
            for names in (spec.transformations, spec.background_transformations)
            for name, join in zip(names, milestones.joins, strict=False)
            if join <= start
        ]
        active = list(dict.fromkeys(active))
        rate = milestones.factor ** sum(drop <= start for drop in milestones.drops)
        share = (end - start) / max_epochs
        name = "+".join(active) or "identity"
        stages.append(Stage(name, frozenset(active), share, rate=rate, is_fixed=True))
    return stages
