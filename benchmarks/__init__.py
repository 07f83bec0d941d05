"""Measurements that print Markdown tables; each says how to run it."""
