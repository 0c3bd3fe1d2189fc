"""The engine: runs the steps of one execution, and goes on from where it was after a crash.

Reads and writes nothing itself: the journal, payloads, sandboxes and connectors it uses come in as `Backends`.
"""
