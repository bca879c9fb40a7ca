"""Parameters and FLOPs of any module."""
