"""Inspecting compositions: what their mechanisms attend to, and how two of them differ."""
