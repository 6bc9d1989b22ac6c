import os

import pytest

from tests import pictures

os.environ["MPLBACKEND"] = "Agg"


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
