"""Fits in processes of their own, and fits that end in time: what scripts share."""

import os
import subprocess
import sys
import time
from pathlib import Path


def run_apart(arguments: list[str], output: Path, **environment: str) -> None:
    """Run the script in another process, and append the lines that it prints."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"{' '.join(arguments)} failed")
    with output.open("a") as file:
        file.write(done.stdout)
    sys.stdout.write(done.stdout)
    sys.stdout.flush()


class Budget:
    """Stops a fit after some processor time; see `set_callbacks`."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds

    def setup(self, estimator, context) -> None:
        """Nothing to prepare."""

    def teardown(self, estimator, context) -> None:
        """Nothing to close."""

    def on_fit_task_begin(self, estimator, context) -> None:
        """Nothing to note."""

    def on_fit_task_end(self, estimator, context) -> bool:
        """Whether time is up."""
        return context.task_name == "epoch" and time.process_time() > self.end
