"""Photographs to sRGB pixels."""
