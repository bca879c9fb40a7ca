"""Parameters and multiply-adds of any module."""
