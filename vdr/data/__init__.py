"""Clips from anywhere, as batches of one documented schema."""
