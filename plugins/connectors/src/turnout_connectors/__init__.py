"""The connectors that ship with Turnout."""
