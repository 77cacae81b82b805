"""Run folders: their files, checkpoints, resuming, and the recorded outcomes."""
