"""Turnout with services of AWS. Nothing here is imported before it is asked for."""
