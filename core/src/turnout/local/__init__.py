"""The `local` backend: everything on one machine, in SQLite and files. It has no privileges that a plugin lacks."""
