"""Training: the session, the training loop, budgets, sweeps and tracking."""
