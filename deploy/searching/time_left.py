"""How long a search still takes, from the trials that it has run."""

from __future__ import annotations

from collections.abc import Sequence

from edgepress.compress.training.loop.eta import duration


def seconds_left(
    took: Sequence[float], trials: int, running: Sequence[float], workers: int, bound: float | None
) -> float | None:
    """Seconds until the last trial ends.

    Args:
        took: What finished trials took, in seconds.
        trials: Those that are not begun.
        running: How long each that runs has been running.
        workers: Trials that run at once.
        bound: Seconds after which none is begun; None without a bound.

    Returns:
        None where no trial has ended yet.
    """
    if not took:
        return None
    one = sum(took) / len(took)
    rest = [max(0.0, one - seconds) for seconds in running]
    whole = (sum(rest) + one * trials) / workers
    if bound is not None:
        # What runs at the bound is finished.
        whole = min(whole, max(0.0, bound) + one)
    return max([whole, *rest])


def words(seconds: float | None) -> str:
    """The time left for a line of progress; nothing where it isn't known."""
    return "" if seconds is None else f"; about {duration(seconds)} left"
