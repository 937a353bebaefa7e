"""The progress line of a training: where it stands and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from edgepress.compress.kernel.progress import Progress

_BETWEEN_REPORTS_S = 0.2


class Clock:
    """Tells a `Progress` about steps, not too often, with the time left.

    Args:
        progress: Who is told.
        epochs: Epochs of the whole training.
        steps: Steps in an epoch.
    """

    def __init__(self, progress: Progress, epochs: int, steps: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._steps = steps
        self._start: tuple[float, int] | None = None
        self._reported = 0.0

    def tick(self, epoch: int, done: int, columns: Mapping[str, float]) -> None:
        """`done` steps of an epoch (from 0) are finished.

        Args:
            epoch: The epoch, from 0.
            done: Its finished steps.
            columns: Figures to show.
        """
        now = time.monotonic()
        total = epoch * self._steps + done
        # The first step compiles; counting from its end keeps the estimate honest.
        if self._start is None:
            self._start = (now, total)
        if now - self._reported < _BETWEEN_REPORTS_S and done < self._steps:
            return
        self._reported = now
        shown = [f"epoch {epoch + 1}/{self._epochs}"]
        shown += [f"{name} {value:.4g}" for name, value in columns.items()]
        left = self._left(now, total)
        shown += [] if left is None else [f"{left} left"]
        self._progress.step(total, self._epochs * self._steps, ", ".join(shown))

    def _left(self, now: float, total: int) -> str | None:
        start, first = self._start or (now, total)
        if total <= first:
            return None
        rest = (self._epochs * self._steps - total) * (now - start) / (total - first)
        return duration(rest)


def duration(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on.

    >>> duration(75.2), duration(3661)
    ('1:15', '1:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
