"""The commands, one a module: each has a `command`, which `turnout.cli.program` names in its table."""
