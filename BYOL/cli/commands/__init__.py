"""What is done with a finished run: one module a command, each ending in its ``*_run`` function.

A command answers with a dictionary for ``--json`` and a text for a person.
"""
