"""Measurements that print Markdown tables; each says how to run it."""

from vdr.runtime import allocator

allocator.keep_freed()  # as `vdr.main` does, before JAX is used
