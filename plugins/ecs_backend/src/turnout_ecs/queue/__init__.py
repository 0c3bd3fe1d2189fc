"""The queue on Redis."""
