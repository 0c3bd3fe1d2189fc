"""Turnout: integrations that are written once and run where configuration says.

What is exported here is the public surface for people who write definitions and plugins; it is loaded when first used.
"""
