"""A composition on disk: its recipe, its weights, its report; and back again."""
