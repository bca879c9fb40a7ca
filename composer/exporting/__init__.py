"""Models without Composer: what was composed, in the formats that others read.

The package is not called `export`, for `composer.export` is the call.
"""
