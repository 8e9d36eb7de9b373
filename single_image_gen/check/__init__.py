"""Whether a dataset is whole, and how to make it so again."""
