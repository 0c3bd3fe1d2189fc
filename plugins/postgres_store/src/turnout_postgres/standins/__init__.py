"""Servers for tests, demos and benchmarks."""
