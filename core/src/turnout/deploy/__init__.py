"""Placement: where each service runs, and whether it fits there. Knows no cloud: targets say what they give."""
