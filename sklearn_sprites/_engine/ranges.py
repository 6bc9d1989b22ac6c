"""What settings may be: values out of range are refused, by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Numbers:
    """Numbers from `least` to `most`: whole ones alone, or without `least` itself.

    Examples
    --------
    >>> print(Numbers(1, whole=True))
    a whole number, at least 1
    >>> 0.5 in Numbers(0, 1), 0 in Numbers(0, is_open=True), True in Numbers(0, 1)
    (True, False, False)
    """

    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    is_open: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these; NaN, infinity and booleans never are."""
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        if self.whole and not isinstance(value, Integral):
            return False
        number = int(value) if isinstance(value, Integral) else float(value)
        high = self.least < number if self.is_open else self.least <= number
        return high and number <= self.most and abs(number) < math.inf

    def __str__(self) -> str:
        """What is expected."""
        kind = "a whole number" if self.whole else "a number"
        if self.least > -math.inf:
            kind += f", {'above' if self.is_open else 'at least'} {self.least:g}"
        return kind + (f", at most {self.most:g}" if self.most < math.inf else "")


@dataclass(frozen=True)
class Names:
    """Names that exist."""

    valid: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these."""
        return isinstance(value, str) and value in self.valid

    def __str__(self) -> str:
        """What is expected."""
        names = ", ".join(map(repr, self.valid))
        return names if len(self.valid) == 1 else f"one of {names}"


@dataclass(frozen=True)
class Either:
    """Values of one of two ranges."""

    one: "Range"
    other: "Range"

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these."""
        return value in self.one or value in self.other

    def __str__(self) -> str:
        """What is expected."""
        return f"{self.one}, or {self.other}"


@dataclass(frozen=True)
class OrNone:
    """A value of some range, or None."""

    other: "Range"

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these."""
        return value is None or value in self.other

    def __str__(self) -> str:
        """What is expected."""
        return f"{self.other}, or None"


@dataclass(frozen=True)
class Several:
    """Tuples of values of some range, of `fewest` values at least."""

    each: "Range"
    fewest: int = 0

    def __contains__(self, values: object) -> bool:
        """Whether a value is one of these."""
        if not isinstance(values, tuple | list) or len(values) < self.fewest:
            return False
        return all(value in self.each for value in values)

    def __str__(self) -> str:
        """What is expected."""
        some = "a tuple" if not self.fewest else f"a tuple of {self.fewest} or more"
        return f"{some}, each of it {self.each}"


@dataclass(frozen=True)
class Kind:
    """Objects of a class."""

    of: type

    def __contains__(self, value: object) -> bool:
        """Whether a value is one of these."""
        return isinstance(value, self.of)

    def __str__(self) -> str:
        """What is expected."""
        return "True or False" if self.of is bool else f"a {self.of.__name__}"


Range = Numbers | Names | Either | OrNone | Several | Kind

COUNT = Numbers(1, whole=True)
COUNT_OR_ZERO = Numbers(0, whole=True)
POSITIVE = Numbers(0, is_open=True)
NOT_NEGATIVE = Numbers(0)
SHARE = Numbers(0, 1)


def refuse(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Raise ValueError for the first of the settings that is out of its range."""
    for name, valid in ranges.items():
        value = getattr(settings, name)
        if value not in valid:
            owner = type(settings).__name__
            raise ValueError(f"{name}={value!r}: {owner} expects {valid}.")
