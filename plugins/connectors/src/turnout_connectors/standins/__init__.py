"""Stand-ins: small servers that answer as the real services document, for tests, demos and examples.

They hold everything in memory, listen on loopback alone, and are no part of any connector.
"""
