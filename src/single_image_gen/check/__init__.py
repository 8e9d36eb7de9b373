"""Check a dataset and repair it."""
