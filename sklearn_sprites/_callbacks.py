"""Progress: scikit-learn's callbacks where it has them, lines of text if asked for."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    CALLBACKS_SUPPORTED = True
except ImportError:
    CALLBACKS_SUPPORTED = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method as it is."""
        return method


if TYPE_CHECKING:
    from sklearn_sprites._engine.records import EpochInfo, FittedModel

__all__ = ["CALLBACKS_SUPPORTED", "CallbackSupportMixin", "Progress", "with_callbacks"]


class Progress:
    """Tell callbacks and the reader of stdout how a fit goes; ask whether to stop.

    The tasks are ``fit``, in it one ``restart`` per initialization, in it one
    ``epoch`` per pass over the images. ``describe`` turns a model as it stands into
    the attributes with which an estimator can predict.
    """

    def __init__(
        self,
        estimator: Any,
        data: tuple[Any, Any],
        n_restarts: int,
        describe: Callable[["FittedModel"], dict[str, Any]],
    ) -> None:
        self.estimator = estimator
        self.describe = describe
        self.hooks = {"estimator": estimator, "X": data[0], "y": data[1]}
        self.was_stopped = False
        self._restart: Any = None
        self._root = None
        if CALLBACKS_SUPPORTED:
            self._root = estimator._init_callback_context(max_subtasks=n_restarts)
            self._root.call_on_fit_task_begin(**self.hooks)

    def begin_restart(self) -> None:
        """Forget the task of the last restart; the first epoch opens the next."""
        self._restart = None

    def end_restart(self) -> None:
        """Close the task of this restart."""
        if self._root is not None and self._restart is not None:
            self._restart.call_on_fit_task_end(**self.hooks)

    def end(self, attributes: dict[str, Any]) -> None:
        """Close the task of the whole fit."""
        if self._root is not None:
            self._root.call_on_fit_task_end(
                **self.hooks, reconstruction_attributes=attributes
            )

    def on_epoch(self, info: "EpochInfo") -> bool:
        """Tell about one epoch; True stops this restart."""
        if self.estimator.verbose:
            owner = type(self.estimator).__name__
            what = f"{info.epoch}/{info.max_epochs}"
            is_round = info.stage == "rounds"  # of search, which has no stages
            what = f"round {what}" if is_round else f"epoch {what} ({info.stage})"
            sys.stdout.write(f"[{owner}] {what}: loss {info.loss:.6g}\n")
        stop = self._root is not None and self._call_epoch(info)
        self.was_stopped |= stop
        return stop

    def _call_epoch(self, info: "EpochInfo") -> bool:
        if self._restart is None:
            self._restart = self._root.subcontext(
                task_name="restart", max_subtasks=info.max_epochs
            )
            self._restart.call_on_fit_task_begin(**self.hooks)
        epoch = self._restart.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**self.hooks)
        return epoch.call_on_fit_task_end(
            **self.hooks,
            reconstruction_attributes=lambda: self.describe(info.fitted()),
        )
