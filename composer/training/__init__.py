"""What a trainer needs from a composed model: its parameters, their groups, and their reset."""
