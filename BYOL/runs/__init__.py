"""A run folder: the names of its files, opening it again, and weights from a run or from
elsewhere."""
