"""Python source of mechanisms and of composed models, which imports nothing of Composer."""
