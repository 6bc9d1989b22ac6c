import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

from tests import pictures


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device that the tests fit on")


@pytest.fixture
def device(request):
    return request.config.getoption("--device")


def pytest_configure(config):
    pictures.DEVICE = config.getoption("--device")


def pytest_collection_modifyitems(items):
    """Examples in docstrings are short: they stop before they have converged."""
    short = pytest.mark.filterwarnings("ignore:[A-Za-z]+ stopped after")
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(short)
