"""Files of one kind: every way that they can be wrong is told in one line."""
