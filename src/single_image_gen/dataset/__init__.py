"""What a dataset is: its description, its batches, and one sample of it."""
