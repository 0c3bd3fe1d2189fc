"""OAuth 2.0 for connections: connecting in a browser, tokens that are kept sealed, renewed once and in time, and revoked."""
