"""The state store on Redis."""
