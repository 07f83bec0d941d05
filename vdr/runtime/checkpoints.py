"""Checkpoints: whole or absent, on any mesh, and the budgets stay.

A checkpoint is a directory named by its step, number of steps done. It has the
training state (one Orbax tree), the state of the data, and `meta`: config,
versions, and a hash of the parameters and of each average, so that a result can
name what it was computed from and a damaged file is noticed.
"""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from vdr.runtime import errors, fingerprint, trees

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any

FOLDER = "checkpoints"  # in a work directory


class Restored(NamedTuple):
  """What a checkpoint holds."""

  step: int  # steps done
  state: PyTree
  data_state: dict[str, Any]
  meta: dict[str, Any]


def budgets(num_steps: int, percents: Sequence[int]) -> dict[int, int]:
  """The step of each training budget, a percentage of all steps.

  Rounded to the nearest step, and at least 1.
  """
  return {p: max(1, (num_steps * p + 50) // 100) for p in percents}


class Checkpoints:
  """The checkpoints of one training run.

      with Checkpoints(workdir / FOLDER, cfg.saving, num_steps, meta) as c:
        if (step := c.latest_step()) is not None:
          restored = c.restore(mesh.with_shardings(mesh, abstract_state))
        ...
        c.save(step, state, loader_state)

  Attributes:
    budgets: the step of each training budget, by percentage.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    cfg: Config,
    num_steps: int,
    meta: Mapping[str, Any],
  ):
    """Opens the directory, and removes what a killed run left half-written.

    Args:
      directory: of this run alone.
      cfg: of `configs/base.py:saving`.
      num_steps: steps of the whole run; the last is always saved.
      meta: plain JSON that every checkpoint carries: config, versions.
    """
    self.budgets = budgets(num_steps, cfg.budgets_percent)
    self._cfg, self._num_steps = cfg, num_steps
    self._meta = dict(meta)
    self._manager = _open(
      directory,
      cleanup_tmp_directories=True,
      preservation_policy=_keep(cfg, [*self.budgets.values(), num_steps]),
    )

  def due(self, step: int) -> bool:
    """Whether the config asks for a checkpoint after `step` steps."""
    every = self._cfg.every_steps
    return (
      step == self._num_steps
      or step in self.budgets.values()
      or (every > 0 and step > 0 and step % every == 0)
    )

  def save(
    self,
    step: int,
    state: Mapping[str, PyTree],
    data_state: Mapping[str, Any],
    force: bool = False,
  ) -> bool:
    """Saves in the background, if it is due or forced, and not there yet.

    The state may be donated or changed as soon as this returns. Every host
    calls it with the same step.

    Args:
      step: steps done.
      state: nested dicts of arrays; `params` and `ema` at the top.
      data_state: of the iterator, plain JSON, the same on every host.
      force: also when it is not due, before the process ends, for example.

    Returns:
      Whether a checkpoint was started.
    """
    if not (force or self.due(step)) or step in self._manager.all_steps():
      return False
    meta = self._meta | {
      "step": step,
      "num_steps": self._num_steps,
      "budgets": {str(p): s for p, s in self.budgets.items()},
      "hashes": _hashes(state),
    }
    return self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeSave(dict(state)),
        data=ocp.args.JsonSave(dict(data_state)),
        meta=ocp.args.JsonSave(meta),
      ),
      force=True,
    )

  def latest_step(self) -> int | None:
    """Steps of the last whole checkpoint; None if there is none."""
    return self._manager.latest_step()

  def steps(self) -> list[int]:
    """Steps of all whole checkpoints, in order."""
    return sorted(self._manager.all_steps())

  def restore(self, abstract: PyTree, step: int | None = None) -> Restored:
    """Reads a checkpoint onto any mesh.

    Args:
      abstract: the state as `jax.ShapeDtypeStruct`s with shardings
        (`mesh.with_shardings`); the mesh need not be the one that saved.
      step: which; the last by default.

    Raises:
      UserError: there is no such checkpoint, it is of another architecture, or
        it is damaged.
    """
    self.wait()
    return _restore(self._manager, abstract, step)

  def wait(self) -> None:
    """Waits until what was saved is on disk; raises what went wrong."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, and lets go of the directory."""
    self._manager.wait_until_finished()
    # Orbax doesn't wait for the thread that it removes leftovers in, and the
    # thread complains if the interpreter ends first.
    leftovers = getattr(self._manager, "_cleanup_tmp_directory_future", None)
    if leftovers is not None:
      leftovers.result()
    self._manager.close()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *unused) -> None:
    self.close()


def restore_params(
  path: pathlib.Path,
  which: str = "ema",
  step: int | None = None,
  abstract: PyTree = None,
) -> tuple[PyTree, dict[str, Any]]:
  """Reads the parameters alone, without optimiser, for evaluation.

  Args:
    path: a work directory, its folder of checkpoints, or one checkpoint.
    which: "params"; "ema", the average with the largest decay; or "ema/0.999".
    step: which checkpoint, if `path` is not one itself; the last by default.
    abstract: parameters as `jax.ShapeDtypeStruct`s with shardings; None gives
      what is there on the first device.

  Returns:
    The parameters and the checkpoint's meta; `meta["hash"]` is that of these
    parameters.

  Raises:
    UserError: there is no such checkpoint, it is of another architecture, or it
      is damaged.
  """
  directory, found = locate(path)
  with _open(directory, alone=True) as manager:
    step = _step(manager, directory, found if step is None else step)
    saved = _saved(manager, directory, step)
    name = _which(saved, which, manager.directory / str(step))
    prefix = f"{name}/"
    if abstract is None:
      device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
      abstract = trees.subtree(manager.item_metadata(step)["state"].tree, name)
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        abstract,
      )
    part = {k: v for k, v in saved.items() if k.startswith(prefix)}
    wanted = abstract
    for key in reversed(name.split("/")):
      wanted = {key: wanted}
    _refuse_other(part, wanted, manager.directory / str(step))
    restored = _read(manager, step, wanted, partial=True)
    meta = dict(restored["meta"])
    params = trees.subtree(restored["state"], name)
    _refuse_damage({name: params}, meta, manager.directory / str(step))
    return params, meta | {"which": name, "hash": meta["hashes"][name]}


def read_meta(path: pathlib.Path, step: int | None = None) -> dict[str, Any]:
  """The meta of a checkpoint: config, versions, step, budgets, hashes.

  Args:
    path: a work directory, its folder of checkpoints, or one checkpoint.
    step: which checkpoint, if `path` is not one itself; the last by default.

  Raises:
    UserError: there is no such checkpoint.
  """
  directory, found = locate(path)
  with _open(directory, alone=True) as manager:
    step = _step(manager, directory, found if step is None else step)
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    return dict(manager.restore(step, args=args)["meta"])


def locate(path: pathlib.Path) -> tuple[pathlib.Path, int | None]:
  """The folder of checkpoints that a path means, and the step if it names one.

  Raises:
    UserError: there are no checkpoints.
  """
  if path.name.isdigit() and (path / "meta").is_dir():
    return path.parent, int(path.name)
  directory = path / FOLDER if (path / FOLDER).is_dir() else path
  if not directory.is_dir():
    raise errors.UserError(
      f"{path} has no checkpoints; name a work directory of the verb train, or"
      " one of its checkpoints"
    )
  return directory, None


def _open(
  directory: pathlib.Path, alone: bool = False, **options: Any
) -> ocp.CheckpointManager:
  """A manager; Orbax has all hosts meet in it, unless one reads `alone`."""
  who = ocp.options.MultiprocessingOptions()
  if alone:
    index = jax.process_index()
    who = ocp.options.MultiprocessingOptions(index, {index}, f"reader-{index}")
    options |= {"read_only": True, "create": False}
  options["multiprocessing_options"] = who
  absl = logging.getLogger("absl")
  level = absl.level
  absl.setLevel(logging.ERROR)  # Orbax warns of reading only
  json = ocp.JsonCheckpointHandler(multiprocessing_options=who)
  state = ocp.PyTreeCheckpointHandler(multiprocessing_options=who)
  try:
    return ocp.CheckpointManager(
      directory.absolute(),
      options=managers.CheckpointManagerOptions(**options),
      item_handlers={"state": state, "data": json, "meta": json},
    )
  finally:
    absl.setLevel(level)


def _keep(cfg: Config, always: Sequence[int]) -> managers.AnyPreservationPolicy:
  policies: list[managers.PreservationPolicy] = [
    managers.LatestN(int(cfg.keep_last)),
    managers.CustomSteps(always),
  ]
  if cfg.keep_every > 0:
    policies.append(managers.EveryNSteps(int(cfg.keep_every)))
  return managers.AnyPreservationPolicy(policies)


def _restore(
  manager: ocp.CheckpointManager,
  abstract: PyTree,
  step: int | None,
) -> Restored:
  step = _step(manager, manager.directory, step)
  place = manager.directory / str(step)
  _refuse_other(_saved(manager, manager.directory, step), abstract, place)
  items = _read(manager, step, abstract, partial=False)
  state = items["state"]
  parts = {name: trees.subtree(state, name) for name in _named(abstract)}
  _refuse_damage(parts, items["meta"], place)
  return Restored(step, state, dict(items["data"]), items["meta"])


def _read(
  manager: ocp.CheckpointManager, step: int, abstract: PyTree, partial: bool
) -> Any:
  to_read = dict(
    state=ocp.args.PyTreeRestore(
      item=abstract,
      restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
      partial_restore=partial,
    ),
    meta=ocp.args.JsonRestore(),
  )
  if not partial:
    to_read["data"] = ocp.args.JsonRestore()
  try:
    return manager.restore(step, args=ocp.args.Composite(**to_read))
  except Exception as error:  # Orbax and TensorStore raise many kinds
    raise _damaged(manager.directory / str(step), str(error)) from error


def _step(manager: Any, directory: Any, step: int | None) -> int:
  """The step to read: the one asked for, or the last."""
  steps = sorted(manager.all_steps())
  if not steps:
    raise errors.UserError(f"{directory} has no whole checkpoint; train first")
  if step is None:
    return steps[-1]
  if step not in steps:
    raise errors.UserError(
      f"{directory} has no checkpoint of step {step}; it has"
      f" {', '.join(str(s) for s in steps)}"
    )
  return step


def _saved(manager: Any, directory: Any, step: int) -> dict[str, str]:
  """Shape and type of each saved leaf, by path."""
  try:
    return trees.shapes(manager.item_metadata(step)["state"].tree)
  except Exception as error:  # see _read
    raise _damaged(directory / str(step), str(error)) from error


def _refuse_other(
  saved: Mapping[str, str], abstract: PyTree, place: Any
) -> None:
  """Raises UserError at the first leaf that is not as it was saved."""
  if found := trees.difference(saved, trees.shapes(abstract)):
    name, there, here = found
    raise errors.UserError(
      f"{place} is a checkpoint of another architecture or optimiser: there"
      f" {name} is {there}, here {here}; use the config it was trained with"
    )


def _named(state: Mapping[str, PyTree]) -> list[str]:
  """The parts of a state that have a hash of their own."""
  names = ["params"] if "params" in state else []
  return names + [f"ema/{name}" for name in state.get("ema", {})]


def _hashes(state: Mapping[str, PyTree]) -> dict[str, str]:
  return {
    name: fingerprint.of(trees.subtree(state, name)) for name in _named(state)
  }


def _which(saved: Mapping[str, Any], which: str, place: Any) -> str:
  """The part of a state that `which` means."""
  parts = {name.split("/")[0] for name in saved}
  averages = {name.split("/")[1] for name in saved if name.startswith("ema/")}
  known = [n for n in ("params",) if n in parts]
  known += [f"ema/{name}" for name in sorted(averages, key=float)]
  if which == "ema" and averages:
    return known[-1]
  if which not in known:
    raise errors.UserError(
      f"{place} has no parameters {which!r}; it has {', '.join(known)}"
    )
  return which


def _refuse_damage(
  parts: Mapping[str, PyTree], meta: Mapping[str, Any], place: Any
) -> None:
  for name, tree in parts.items():
    if fingerprint.of(tree) != meta["hashes"].get(name):
      raise _damaged(place, f"the hash of {name} differs")


def _damaged(place: Any, why: str) -> errors.UserError:
  why = " ".join(why.split())[:200]
  return errors.UserError(
    f"{place} is damaged ({why}); delete that directory to go on from the"
    " checkpoint before it"
  )
