"""TerminateOnNaN: stop training when the loss is NaN or infinite."""

from __future__ import annotations

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs
from outlast.core.numbers import number
from outlast.core.stopping import invalid_loss
from outlast.exceptions import UsageError


class TerminateOnNaN(Callback):
    """Stop training at the first batch after which the loss is NaN or infinite.

    It looks at the loss of every batch, so Keras must wait for each batch to finish.

    Args:
        raise_error: raise an error instead of stopping, so that no callback's ``on_train_end`` runs.

    Raises:
        UsageError: with ``raise_error``, when it happens (a RuntimeError, as in Keras).

    Source: ``keras.callbacks.TerminateOnNaN``.

    Example:
        >>> from outlast.testing import FakeAdapter
        >>> from outlast import CallbackList
        >>> callback, adapter = TerminateOnNaN(), FakeAdapter()
        >>> callbacks = CallbackList([callback], adapter=adapter)
        >>> callback.on_batch_end(3, {"loss": float("nan")})
        Batch 3: Invalid loss, terminating training
        >>> adapter.stopping
        True
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error
        self._epoch = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Remember the thread of the training, to refuse calls from another one."""
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch, for the decision."""
        self._epoch = epoch

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Check the loss."""
        self._check_thread()
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        decision = invalid_loss(number(loss, "loss"), epoch=self._epoch, batch=batch)
        if not decision.stop:
            return
        if self.raise_error:
            raise UsageError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. "
                "Terminating training immediately."
            )
        self.context.say(f"Batch {batch}: Invalid loss, terminating training")
        self.control.stop(decision.sentence)
        self.context.report(decision)
