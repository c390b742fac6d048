"""Sweeps: ``spec`` reads a sweep file, ``run`` executes the runs, ``results`` reads the results of
complete runs, and ``summary`` writes the table and the plot."""
