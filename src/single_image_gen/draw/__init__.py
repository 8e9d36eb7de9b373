"""All randomness: what is drawn for each image."""
