"""Plan, edit, eject: insert a mechanism into a backbone without changing its weights and names."""
