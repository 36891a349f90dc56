"""Sound as arrays: clips, effects, mixing, loudness, mastering, measuring."""
