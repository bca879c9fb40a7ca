"""A module of torch as a spec, where its operations have counterparts in the language."""
