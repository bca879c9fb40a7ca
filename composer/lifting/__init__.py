"""Lifting: from a torch module to a spec, if its operations have counterparts in the language."""
