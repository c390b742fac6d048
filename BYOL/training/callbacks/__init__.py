"""Lightning callbacks of a run, one concern per file."""
