"""What follows: memory, verdicts, speed and comparisons, from the catalog alone. No torch."""
