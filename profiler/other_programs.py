"""How much of the machine's processors other programs take while something is timed."""

from __future__ import annotations

import psutil

LEAST_S = 1.0
"""Processor time from which a share of it is known to a hundredth: systems count it in hundredths of a second."""


class OtherPrograms:
    """Watches from when it is made."""

    def __init__(self) -> None:
        self.before = _worked()

    def share(self) -> float | None:
        """The share of all processor time since then that other programs took; None where too little of it has passed."""
        busy, own, whole = (after - before for after, before in zip(_worked(), self.before, strict=True))
        return round(min(1.0, max(0.0, (busy - own) / whole)), 3) if whole >= LEAST_S else None


def _worked() -> tuple[float, float, float]:
    """Seconds that the processors have worked, that they have for this process, and that there were."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    # `user` and `nice` already hold the time of guests.
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return whole - times.idle - getattr(times, "iowait", 0.0), own.user + own.system, whole
