"""How XLA compiles: what it did once is read from disk, and options."""

import hashlib
import os
import pathlib
import platform

FOLDER = pathlib.Path("~/.cache/vdr/compilation")
MIN_COMPILE_S = "0.5"  # what compiles faster than this is not worth a file

# For the step of training; docs/performance.md has what each brought.
_STEP_OPTIONS = {
  "gpu": {
    # Products of clips and of images with the same kernel would be made one,
    # whose operands are copied together, with channels no longer side by side.
    "xla_gpu_dot_merger_threshold_mb": 0,
    # cuBLAS is as fast, and there is nothing to try out for half a minute.
    "xla_gpu_enable_triton_gemm": False,
  }
}


def use_cache() -> None:
  """Turns JAX's persistent compilation cache on, for this process.

  To be called before JAX is imported, as it only sets JAX's own environment
  variables, and none that the user has set: `JAX_COMPILATION_CACHE_DIR` names
  another place, `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
  """
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder()))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
  os.environ.setdefault(
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", MIN_COMPILE_S
  )


def step_options(platform: str) -> dict[str, int | bool] | None:
  """Options for `jax.jit` of a training step on devices of that platform."""
  return _STEP_OPTIONS.get(platform)


def folder() -> pathlib.Path:
  """The cache of this kind of machine.

  Programs for CPUs use the instructions of the one that compiled them: machines
  of another kind, which may share a home directory, have a cache of their own.
  """
  kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
  return FOLDER.expanduser() / f"{platform.machine()}-{kind}"


def _processor() -> str:
  """What the processor can do, as Linux tells it."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  names = ("model name", "flags", "Features")
  return "\n".join(
    next((line for line in lines if line.startswith(name)), "")
    for name in names
  )
