"""The steps of Composer's own layout, in the order of their names on `composer.drawing.layers`."""
