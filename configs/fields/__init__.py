"""Sections of configs/base.py that fill a file."""
