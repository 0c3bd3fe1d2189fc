"""Services: units of placement. Each is written without knowing where it runs, and gets what it works with."""
