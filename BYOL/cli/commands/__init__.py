"""The commands, one module each, with a function ``COMMAND_run``.

The function takes the settings of the command. It returns a dictionary for ``--json`` and a text
for a terminal.
"""
