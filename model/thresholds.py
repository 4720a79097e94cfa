"""Scores from which objects count, unless another threshold is asked for."""

CALIBRATED_THRESHOLD = 0.5
"""Presence from which an object counts as there, where the score was calibrated."""
LEAST_SCORE = 0.5
"""Objects with a lower score are not shown."""
