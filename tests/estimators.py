"""One estimator of each kind, quick to fit, for tests that ask the same of both."""

from functools import partial

import pytest

from tests.pictures import KMEANS, QUICK, make_model
from tests.scenes import make_small_decomposition

ESTIMATORS = {
    "clustering": partial(make_model, **KMEANS),
    "scenes": make_small_decomposition,
}
TRAINED = {**ESTIMATORS, "clustering": partial(make_model, **QUICK)}
trained = pytest.mark.parametrize("make", TRAINED.values(), ids=list(TRAINED))
