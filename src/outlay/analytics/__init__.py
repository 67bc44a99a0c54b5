"""What the figures mean: pure functions from answers to answers. No store, no clock, no I/O."""
