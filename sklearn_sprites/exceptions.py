"""Errors and warnings raised by the package; every floor may import this file."""

from sklearn.exceptions import ConvergenceWarning


class TrainingDivergedError(RuntimeError):
    """Training produced a loss that is not finite; a clustering has tried twice."""


class ClusterCollapseWarning(ConvergenceWarning):
    """Some sprites draw no image at the end of training."""


class UnitsWarning(UserWarning):
    """Images seem to be in other units than most, or than those that were fitted."""


class ImageSkippedWarning(UserWarning):
    """A file, or some frames of one, was left out."""


class ModelFileError(ValueError):
    """A file does not hold a model as it was saved."""
