"""The learning-rate schedule of a period."""

WARMUP_FRACTION = 0.1  # of the period's steps
START_DIVISOR = 25  # the schedule starts at 1/25 of the peak, as PyTorch's OneCycleLR does


class LinearWarmupDecay:
    """The factor of the learning rate: linear from 1/25 to 1 over the first tenth, then to 0.

    The factor of the last step is 0. `steps` = 0 means a constant rate; so do fewer than 3 steps,
    which are too few for a schedule.
    """

    def __init__(self, steps: int) -> None:
        self.last = steps - 1
        self.warmup = max(1, round(WARMUP_FRACTION * steps))

    def __call__(self, step: int) -> float:
        """The factor of an optimizer step; steps count from 0."""
        if self.last < 2:
            return 1.0
        if step < self.warmup:
            return 1 / START_DIVISOR + (1 - 1 / START_DIVISOR) * step / self.warmup
        return max(0.0, (self.last - step) / (self.last - self.warmup))
