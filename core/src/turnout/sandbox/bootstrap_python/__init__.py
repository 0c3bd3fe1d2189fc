"""What runs Python code steps, one job after another, for a Turnout process at the other end of file descriptor 3.

These modules run in the sandboxed process, by an interpreter that has the standard library alone, and import nothing else.
They are loaded before any customer code.
"""
