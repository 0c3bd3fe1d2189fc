"""Alerts: rules over what happens, incidents that begin and end once, and messages about them."""
