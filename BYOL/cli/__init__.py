"""The command line: parser, commands and sweeps. No logic lives here."""
