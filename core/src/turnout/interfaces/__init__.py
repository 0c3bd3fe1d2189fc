"""What backends implement and plugins offer. An interface's methods are primitives, its docstrings promises."""
