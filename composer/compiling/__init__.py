"""Models compiled for what they are to do."""
