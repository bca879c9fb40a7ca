"""What was composed, in forms that need no Composer."""
