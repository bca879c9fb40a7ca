"""Pictures: a graph or an outline as a diagram, and the diagram in every format; without torch."""
