"""What all tests share: checked shapes, strict numerics, fixed examples."""

import atexit
import glob
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile

# Before anything imports JAX, and for the processes that tests start, too. A
# silent broadcast or promotion is a bug more often than a wish.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
os.environ.setdefault("MPLBACKEND", "agg")
# Where libtpu is installed only to compile for TPUs that are not there, JAX
# would look for them, and libtpu complain about that on stderr.
if importlib.util.find_spec("libtpu") and not (
  glob.glob("/dev/accel*") + glob.glob("/dev/vfio/*")
):
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A program that several tests compile, in this process or in one that they
# start, is compiled once.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="vdr-xla-")
  atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Most programs run once, for a moment: compiled with less of LLVM's effort they
# take half as long, all in all. XLA's own passes are the same.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Without its newer way of writing kernels XLA compiles networks in a quarter of
# the time. A flag that it does not know ends the process: versions that are not
# known to have this one go without.
if importlib.metadata.version("jaxlib").startswith("0.10."):
  flags = os.environ.get("XLA_FLAGS", "")
  if "fusion_emitters" not in flags:
    flags += " --xla_cpu_use_fusion_emitters=false"
  os.environ["XLA_FLAGS"] = flags.strip()
# Threads of NumPy's products wait for one another: where another test has one
# of two cores, the axes of 768 numbers take 6 s, and .14 s in one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jaxtyping

# Every annotation of vdr is checked at every call, in tests only. The hook
# works on modules that are imported later, so it stands before them all.
jaxtyping.install_import_hook("vdr", "beartype.beartype")

# The same examples every time, however slow the machine is at the moment.
hypothesis.settings.register_profile(
  "vdr", deadline=None, derandomize=True, max_examples=50, print_blob=True
)
hypothesis.settings.load_profile("vdr")
