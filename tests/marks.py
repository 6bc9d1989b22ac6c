"""Marks that tests share."""

import pytest

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
