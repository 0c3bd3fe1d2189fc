"""Values that every other part shares: definitions, executions, events, files. Imports the standard library alone."""
