"""The benchmarks that `python -m benchmarks` runs, by name.

Each is a module that also runs by itself; here are the settings that it gets,
and what it needs.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
  """One benchmark.

  Attributes:
    module: in this folder.
    about: what it tells, in a few words.
    full: its arguments.
    quick: its arguments where a quarter of an hour has to do for all rows;
      None: left out then.
    gpu: arguments on a GPU, in place of both.
    needs: "torch", "gpu" or "".
  """

  module: str
  about: str
  full: tuple[str, ...] = ()
  quick: tuple[str, ...] | None = ()
  gpu: tuple[str, ...] | None = None
  needs: str = ""

  def args(self, quick: bool, backend: str) -> tuple[str, ...] | None:
    """Of its command line; None: it is left out."""
    if backend == "gpu" and self.gpu is not None:
      return self.gpu
    return self.quick if quick else self.full


@dataclasses.dataclass(frozen=True)
class Machine:
  """What there is to measure on.

  Attributes:
    backend: of JAX: cpu, gpu or tpu.
    device: its name.
    has_torch: whether PyTorch is installed.
  """

  backend: str
  device: str
  has_torch: bool


ROWS = {
  "train_step": Row(
    "train_step",
    "training step against PyTorch",
    quick=("--rounds=3", "--seconds=0.5"),
    gpu=(
      *("--size=base", "--grid=5,16,16", "--channels=8"),
      *("--batch=16", "--images=16"),
    ),
    needs="torch",
  ),
  "peak": Row(
    "peak",
    "training step's share of the device's own matrix products",
    needs="gpu",
  ),
  "extraction": Row(
    "extraction",
    "features at two thirds of the depth, against PyTorch",
    quick=("--size=tiny", "--rounds=5", "--seconds=0.5"),
    gpu=("--size=base", "--grid=5,16,16", "--batch=32"),
    needs="torch",
  ),
  "features": Row(
    "features",
    "features of layers, against one forward pass",
    quick=("--rounds=3", "--side=32", "--downsample=4"),
  ),
  "probes": Row(
    "probes",
    "one engine against separate fits",
    full=("--only=engine",),
    quick=("--only=engine", "--rounds=2", "--steps=1"),
  ),
  "probe_grid": Row(
    "probe_grid",
    "20 probes, against V-JEPA 2's way in PyTorch",
    quick=("--size=tiny", "--rounds=3"),
    needs="torch",
  ),
  "inputs": Row(
    "inputs",
    "from files to the device, against bare reading",
    quick=("--rounds=3", "--seconds=2", "--videos=4"),
  ),
  "loader": Row("loader", "what the loader costs", quick=None),
  "decode": Row("decode", "videos, against bare PyAV", quick=None),
  "physics": Row("physics", "simulation, and reading its clips", quick=None),
  "waiting": Row(
    "waiting",
    "share of a step's time that training waits",
    quick=("--steps=30", "--clips=128", "--videos=8"),
  ),
  "start": Row("start", "imports, first steps", quick=("--rounds=1",)),
  "compile_time": Row(
    "compile_time",
    "compiling walt_1p9b, over walt_284m",
    quick=None,
  ),
  "memory": Row(
    "memory",
    "training over the least there can be; longest clips",
    full=("--size=base", "--rounds=3", "--verify"),
  ),
}


def choose(
  names: list[str], quick: bool, machine: Machine
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
  """The rows to run, with their arguments, and a line for each left out.

  Args:
    names: of the rows; none: all.
    quick: the settings that take a quarter of an hour.
    machine: what there is.

  Raises:
    ValueError: there is no row of a name.
  """
  for name in names:
    if name not in ROWS:
      raise ValueError(f"no row {name!r}; there are {', '.join(ROWS)}")
  chosen, left_out = {}, []
  for name, row in ROWS.items():
    if names and name not in names:
      continue
    args = row.args(quick, machine.backend)
    if row.needs == "torch" and not machine.has_torch:
      left_out.append(
        f"{name} is left out: it needs PyTorch (launch/setup.sh metrics)"
      )
    elif row.needs == "gpu" and machine.backend != "gpu":
      left_out.append(f"{name} is left out: it needs a GPU")
    elif args is None and names:
      chosen[name] = row.full  # asked for by name
    elif args is None:
      left_out.append(f"{name} is left out of --quick")
    else:
      chosen[name] = args
  return chosen, left_out
