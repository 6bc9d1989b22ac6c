"""Images and estimators that tests of faults share."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from tests.estimators import ESTIMATORS
from tests.pictures import KMEANS, make_model, make_pictures


@pytest.fixture(scope="module")
def pictures():
    return make_pictures()[0]


@pytest.fixture(scope="module")
def fitted(pictures):
    return make_model(**KMEANS).fit(pictures)


@pytest.fixture
def model_file(fitted, tmp_path):
    """Where the fitted clustering is saved."""
    fitted.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module", params=ESTIMATORS.values(), ids=list(ESTIMATORS))
def make(request):
    return request.param


@pytest.fixture(scope="module")
def either(make, pictures):
    """A fitted clustering, or decomposition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make().fit(pictures)
