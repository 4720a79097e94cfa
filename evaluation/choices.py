"""What evaluations let people choose from, by name, and numbers that flags are checked by."""

BATCH = 4
"""Episodes decoded together. It is fixed, so that the same numbers come out in any setting."""
RULES = ("nearest", "soft")
"""Where a point of a picture corresponds: the most similar place, or a mean of places."""
FORMS = ("full", "present")
SELF_REFERENCES = ("other", "silenced")
"""What is done where a class's reference is the image itself: another one is taken, or nothing is
said of the class, as SegIC's program does."""
