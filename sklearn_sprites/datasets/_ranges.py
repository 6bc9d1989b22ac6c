"""Checks of the numbers that generators take."""

from numbers import Integral, Real
from typing import Any

Range = tuple[int, int]


def check_range(
    name: str, value: Any, least: int, most: int | float = float("inf")
) -> None:
    """Raise ValueError unless `value` is an integer from `least` to `most`."""
    if not _is_integer(value) or not least <= value <= most:
        bound = f"at least {least}" if most == float("inf") else f"{least} to {most}"
        raise ValueError(f"{name} must be an integer, {bound}; got {value!r}.")


def check_counts(name: str, value: Any, most: int) -> Range:
    """A number, or a pair (least, most), as the pair."""
    pair = (value, value) if _is_integer(value) else value
    if not (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(_is_integer(bound) for bound in pair)
        and 1 <= pair[0] <= pair[1] <= most
    ):
        raise ValueError(
            f"{name} must be an integer or a pair (least, most) of integers, "
            f"1 to {most}; got {value!r}."
        )
    return int(pair[0]), int(pair[1])


def check_interval(
    name: str, value: Any, least: float, most: float
) -> tuple[float, float]:
    """A pair (low, high) of numbers within (least, most]."""
    if not (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(v, Real) and not isinstance(v, bool) for v in value)
        and least < value[0] <= value[1] <= most
    ):
        raise ValueError(
            f"{name} must be a pair (low, high) with {least} < low <= high <= {most}; "
            f"got {value!r}."
        )
    return float(value[0]), float(value[1])


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
