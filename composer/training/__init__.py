"""What a trainer asks of a composed model: its parameters, their groups, and how they begin."""
