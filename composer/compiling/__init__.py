"""Models compiled for inference or training."""
