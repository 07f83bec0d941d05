"""Measurements that print Markdown tables; each says how to run it."""

from vdr.runtime import huge_pages

huge_pages.use("benchmarks")  # as `vdr.main` does
