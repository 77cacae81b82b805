"""The learning rate over a period's steps."""

WARMUP_FRACTION = 0.1  # part of a period's steps over which a scheduled learning rate rises
START_DIVISOR = 25  # a scheduled learning rate starts at 1/25 of its peak, as OneCycleLR's default


class LinearWarmupDecay:
    """The learning rate's factor: from 1/25 to 1 over the first tenth, then linearly to 0.

    The last step's is 0. `steps` = 0 stands for a constant rate; so do fewer than 3 steps, which
    leave nothing to schedule.
    """

    def __init__(self, steps: int) -> None:
        self.last = steps - 1
        self.warm_up = max(1, round(WARMUP_FRACTION * steps))

    def __call__(self, step: int) -> float:
        """The factor of the optimizer step with this number, from 0."""
        if self.last < 2:
            return 1.0
        if step < self.warm_up:
            return 1 / START_DIVISOR + (1 - 1 / START_DIVISOR) * step / self.warm_up
        return max(0.0, (self.last - step) / (self.last - self.warm_up))
