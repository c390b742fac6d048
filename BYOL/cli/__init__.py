"""The command line: parser, commands and sweeps."""
