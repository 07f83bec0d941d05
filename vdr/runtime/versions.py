"""What a result was made with: versions, commit, devices."""

import functools
import importlib.metadata
import pathlib
import platform
import subprocess

import vdr

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "grain",
  "numpy",
  "mujoco",
  "av",
  "pillow",
)


def collect(
  device_kind: str = "", device_count: int = 0, process_count: int = 1
) -> dict[str, str | int]:
  """Versions of everything that may change a result, as plain JSON.

  Args:
    device_kind: `jax.devices()[0].device_kind`; "" if no device was used.
    device_count: devices over all hosts.
    process_count: hosts.
  """
  found: dict[str, str | int] = {
    "vdr": vdr.__version__,
    "git": git_hash(),
    "python": platform.python_version(),
    "platform": platform.platform(),
  }
  found |= {name: _version(name) for name in PACKAGES}
  if device_kind:
    found["device_kind"] = device_kind
    found["device_count"] = device_count
    found["process_count"] = process_count
  return found


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ""


@functools.cache
def git_hash(root: pathlib.Path = ROOT) -> str:
  """The commit of the source, "-dirty" if files differ; "" outside git."""
  if not (root / ".git").exists():  # installed: another repository may be above
    return ""
  commit = _git(root, "rev-parse", "HEAD")
  changed = _git(root, "status", "--porcelain", "--untracked-files=no")
  return f"{commit}-dirty" if commit and changed else commit


def _git(root: pathlib.Path, *args: str) -> str:
  try:
    done = subprocess.run(
      ["git", "-C", str(root), *args],
      capture_output=True,
      text=True,
      timeout=10,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return ""
  return done.stdout.strip()
