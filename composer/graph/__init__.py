"""The graph of a spec, and the passes over it; no torch here."""
