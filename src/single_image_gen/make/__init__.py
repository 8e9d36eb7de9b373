"""Runs: make a dataset, forecast that, and render some of its images again."""
