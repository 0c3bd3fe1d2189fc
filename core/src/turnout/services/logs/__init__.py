"""The logs service: what executions and the platform log, shipped to where people look."""
