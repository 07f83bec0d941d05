"""Configs: base.py declares every field, each other file overrides some."""
