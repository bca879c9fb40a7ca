"""Plan, edit, eject: a mechanism inside a backbone, whose weights and names stay as they are."""
