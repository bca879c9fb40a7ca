"""Whether a mechanism helps: runs over mechanisms, places and seeds, with controls."""
