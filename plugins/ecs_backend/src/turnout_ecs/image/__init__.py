"""The project's image: what it is built from, and nothing else."""
