"""What follows: memory, verdicts, speed and comparisons, from the catalog alone. No torch."""

from advisor.answers import Answer, best, fit, gpus, models

__all__ = ["Answer", "best", "fit", "gpus", "models"]
