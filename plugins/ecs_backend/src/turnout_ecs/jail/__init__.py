"""Sandboxes of hostile code: a root-owned, read-only tree, a launcher that closes what Linux leaves open, a uid a process."""
