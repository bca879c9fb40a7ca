"""Models without Composer: compositions in formats that other tools read.

The package is not called `export`, since `composer.export` is the function.
"""
