"""Scores as pure functions: no model, no files."""
