"""How slow this processor is just now: tests may share it with anything."""

import time

import numpy as np

USUAL = 0.05  # seconds of a core that `_job` takes where limits were chosen


def pace() -> float:
    """What to multiply a limit in seconds of a core by: 1, or more where it is slow."""
    return max(1.0, least_seconds([_job] * 5) / USUAL)


def least_seconds(jobs) -> float:
    """The least time of a core that one of these calls takes."""
    return min(map(_seconds, jobs))


def _seconds(job) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def _job() -> None:
    """Short calls of NumPy on arrays that fit into the caches, as most code has."""
    x = np.linspace(-1, 1, 12_000, dtype=np.float32).reshape(3, -1)
    for _ in range(2000):
        y = np.sqrt((x * x).sum(axis=0))
        x = np.stack([x[1], x[2], x[0] + y]).clip(-1, 1)
