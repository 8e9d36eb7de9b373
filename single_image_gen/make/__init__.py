"""A run: making a dataset, foretelling it, and making parts of it again."""
