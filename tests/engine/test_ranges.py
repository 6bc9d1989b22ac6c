"""Values of settings: what is out of range is refused, by name, when it is given."""

import math
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites import (
    Attention,
    ClonePerturb,
    ConstantSprites,
    Distilled,
    GaussianWindow,
    Milestones,
    Regression,
    Search,
    Swap,
)
from sklearn_sprites._engine.ranges import (
    COUNT,
    POSITIVE,
    SHARE,
    Either,
    Kind,
    Names,
    Numbers,
    OrNone,
    Several,
)

COUNTS, ZEROS = (0, -1, 2.5, "2", None, True, np.nan), (-1, 0.5, "2", None, False)
SHARES, RATES = (-0.1, 1.1, np.nan, "x", None), (0, -1.0, np.inf, np.nan, "x", None)
SIZES, FLAGS = (-0.1, np.inf, np.nan, "x", None), (0, 1, None, "yes")
BAD = {
    Search: {
        "sweeps": COUNTS,
        "peaks": (0, 2.5, "2"),
        "hypotheses": (0, 2.5, "2"),
        "rotations": COUNTS,
        "scales": ((), (0.5, 0), (1, np.nan), 1.0, "x", (True,)),
        "refine_steps": (-1, 0.5, "2"),
        "visible": SHARES,
        "restarts": (-1, 0.5, "2"),
        "replacements": ZEROS,
        "poor": SIZES,
        "parts": SHARES,
    },
    Distilled: {
        "search": ("search", 3),
        "steps": COUNTS,
        "batch_size": (*COUNTS, 1),
        "drawn": SHARES,
        "learning_rate": RATES,
        "angles": COUNTS,
        "polish": ZEROS,
        "end_to_end": ZEROS,
    },
    Attention: {
        "features": ("large", None, 3),
        "n_features": COUNTS,
        "refines": FLAGS,
        "freeze": ZEROS,
        "mask_noise": SIZES,
        "sweeps": COUNTS,
        "empty": FLAGS,
        "entropy": SIZES,
        "reassignment": ("clone", Swap()),
        "batch_size": (*COUNTS, 1),
        "learning_rate": RATES,
        "warmup": ZEROS,
        "drops": ((-1,), 3, (0.5,)),
        "joins": (-1, 0.5),
        "stops": FLAGS,
    },
    Regression: {
        "encoder": ("resnet50", None),
        "pool": COUNTS,
        "color": ("gain", None),
        "background": ("median", np.nan, np.inf, [1], (0.5,), True),
        "per_sprite": FLAGS,
        "joins": (-1, 0.5),
        "first_scale": RATES,
        "freeze": ZEROS,
        "mask_noise": SIZES,
        "selection": ("all", None),
        "sweeps": COUNTS,
        "empty": FLAGS,
        "reassignment": ("clone", Swap()),
        "batch_size": COUNTS,
        "learning_rate": RATES,
        "drops": ((-1,), 3, (0.5,)),
        "factor": RATES,
        "stops": FLAGS,
    },
    Swap: {
        "every": (0, -1, 1.5, "2", True),
        "spares": (-1, 0.5),
        "until": SHARES,
        "n_images": COUNTS,
        "size_power": [bad for bad in SHARES if bad is not None],
    },
    ClonePerturb: {"check": COUNTS, "threshold": SIZES, "noise": SIZES},
    Milestones: {
        "joins": ((-1,), (0.5,), 3, None),
        "drops": ((-2,), 5),
        "factor": RATES,
    },
    GaussianWindow: {"width": (0, -1, np.inf, "wide")},
    ConstantSprites: {"color": (np.nan, "white", None), "mask_width": (0, -1, np.inf)},
}
NEEDED = {Milestones: {"joins": (1,)}}
CASES = [
    (kind, name, value)
    for kind, names in BAD.items()
    for name, values in names.items()
    for value in values
]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_values_out_of_range_are_refused_by_name(kind, name, value):
    expected = re.escape(f"{name}={value!r}")
    with pytest.raises(ValueError, match=expected):
        kind(**{**NEEDED.get(kind, {}), name: value})


@pytest.mark.parametrize("kind", BAD)
def test_every_setting_has_a_range(kind):
    kind(**NEEDED.get(kind, {}))
    assert {each.name for each in fields(kind)} == set(BAD[kind])


def test_what_is_expected_is_told():
    with pytest.raises(ValueError, match="sweeps=0: Search expects a whole number, at"):
        Search(sweeps=0)
    with pytest.raises(ValueError, match="expects one of 'small', 'unet'"):
        Attention(features="large")
    with pytest.raises(ValueError, match="at least 0, at most 1"):
        Swap(until=7)
    with pytest.raises(ValueError, match="expects a number, or 'mean', or None"):
        Regression(background=True)
    assert Regression(background="mean").background == "mean"
    assert Regression(background=np.float32(0.5)).background == 0.5
    assert Swap(every=np.int64(3), until=np.float32(0.5)).every == 3
    assert 10**400 in COUNT  # larger than any float


@given(st.one_of(st.integers(-9, 9), st.floats(), st.booleans(), st.none(), st.text()))
def test_ranges_are_what_their_words_say(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    finite = number and math.isfinite(value)
    assert (value in COUNT) == (number and isinstance(value, int) and value >= 1)
    assert (value in POSITIVE) == bool(finite and value > 0)
    assert (value in SHARE) == bool(number and 0 <= value <= 1)
    assert (value in Numbers()) == bool(finite)
    name = value in ("a", "b")
    assert (value in Either(SHARE, Names(("a", "b")))) == (value in SHARE or name)
    assert (value in OrNone(SHARE)) == (value is None or value in SHARE)
    assert (value in Kind(bool)) == isinstance(value, bool)
    assert (value in Names(("a", "b"))) == name
    assert ((value, 0.5) in Several(SHARE)) == (value in SHARE)
