"""Which transformations are active when: stages, made before training starts."""

from dataclasses import dataclass

from sklearn_sprites._engine.spec import ModelSpec

LATE = ("thin_plate_spline", "morphological", "projective")


@dataclass(frozen=True)
class Stage:
    """A part of training: active transformations and a share of the epochs.

    The last stage lowers the learning rate and moves no sprites.
    """

    name: str
    active: frozenset[str]
    share: float
    is_last: bool = False


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
    # one by one; a color that is solved needs no stage of its own
    solved = spec.color == "solve"
    steps: list[tuple[str, ...]] = [()]
    for name in names:
        colors = name in ("color", "linear_color") and solved
        grown = (*steps[-1], name)
        steps = [*steps[:-1], grown] if colors else [*steps, grown]
    return steps


def make_stages(
    spec: ModelSpec,
    curriculum: str | tuple[tuple[str, ...], ...],
    is_started: bool,
) -> list[Stage]:
    """Stages of training, their shares of the epochs adding up to one.

    `is_started` says that sprites come aligned, so the identity is skipped. The last
    set of transformations gets most of the time: it has the most to learn.
    """
    if isinstance(curriculum, str):
        steps = named_steps(spec, curriculum)
    else:
        steps = [tuple(step) for step in curriculum]
    steps = list(dict.fromkeys(tuple(step) for step in steps))
    predicted = [s for s in steps if s not in ((), ("color",), ("linear_color",))]
    if is_started and predicted:
        steps = predicted
    weights = [1.0] * (len(steps) - 1) + [2.5]
    total = sum(weights) / 0.85
    stages = [
        Stage("+".join(step) or "identity", frozenset(step), weight / total)
        for step, weight in zip(steps, weights, strict=True)
    ]
    return [*stages, Stage("settle", frozenset(steps[-1]), 0.15, is_last=True)]
