"""When a stage has learned what it can."""

WINDOW = 4  # epochs whose mean is compared with the mean of as many before


def has_converged(losses: list[float], least: float) -> bool:
    """Whether the loss fell by no more than `least` per epoch.

    Means over windows of epochs are compared, so that noise does not decide.
    """
    if len(losses) < 2 * WINDOW:
        return False
    now = sum(losses[-WINDOW:]) / WINDOW
    before = sum(losses[-2 * WINDOW : -WINDOW]) / WINDOW
    return before - now <= least * WINDOW


def has_settled(losses: list[float], least: float) -> bool:
    """Whether the loss fell by no more than `least` per epoch from first to last."""
    steps = len(losses) - 1
    return steps > 0 and losses[0] - losses[-1] <= least * steps
