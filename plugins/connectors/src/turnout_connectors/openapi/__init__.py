"""Connectors made from OpenAPI documents (2.0, 3.0, 3.1)."""
