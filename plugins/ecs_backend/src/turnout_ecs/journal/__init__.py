"""The journal on Redis."""
