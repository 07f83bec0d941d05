"""The cells of a study on a cluster, through what clusters already have."""

import json
import pathlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vdr.runtime import errors, plain_configs
from vdr.runtime import workdir as workdirs
from vdr.study.cells import Cell

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
LOGS = "jobs"  # what submitit keeps of its jobs
CLUSTERS = ("slurm", "local")


def command(cell: Cell, study: str | pathlib.Path) -> str:
  """What runs one cell, from a shell; it waits for the cell's inputs."""
  return shlex.join(arguments(cell, study))


def arguments(cell: Cell, study: str | pathlib.Path) -> list[str]:
  """`command` as a list."""
  return [
    "python",
    "-m",
    "vdr.main",
    f"--config={study}/{workdirs.CONFIG_NAME}",
    f"--workdir={study}",
    "--config.runner.kind=work",
    f"--config.runner.only=('{cell.name}',)",
  ]


def submit(
  config: Config, study: pathlib.Path, loop: Callable[[dict, str], None]
) -> Iterator[None]:
  """Submits loops, and yields until all have ended.

  Args:
    config: of the study; read is config.runner.
    study: its work directory, which all jobs see.
    loop: what a job runs, with the config as plain JSON and the directory.

  Raises:
    UserError: submitit is missing, or knows no such cluster.
  """
  cfg = config.runner.submitit
  if cfg.cluster not in CLUSTERS:
    raise errors.UserError(
      f"runner.submitit.cluster={cfg.cluster!r} is unknown; choose from"
      f" {', '.join(CLUSTERS)}"
    )
  try:
    import submitit  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise errors.UserError(
      "runner.kind=submitit needs submitit: pip install submitit"
    ) from error
  executor = submitit.AutoExecutor(folder=study / LOGS, cluster=cfg.cluster)
  options = {"timeout_min": round(60 * cfg.hours), "name": "vdr-study"}
  if cfg.cluster == "slurm":
    options |= {
      "gpus_per_node": cfg.gpus,
      "cpus_per_task": cfg.cores,
      "mem_gb": cfg.memory_gb,
    }
    if cfg.partition:
      options["slurm_partition"] = cfg.partition
  executor.update_parameters(**options)
  plain = plain_configs.to_json(config)
  jobs = [
    executor.submit(loop, plain, str(study))
    for _ in range(config.runner.processes)
  ]
  print(f"jobs {', '.join(job.job_id for job in jobs)}; logs in {study / LOGS}")
  while not all(job.done() for job in jobs):
    yield


def job_list(cells: Sequence[Cell], config: Config) -> str:
  """Kubernetes jobs, one for each cell, as a list that `kubectl apply` takes.

  Jobs may start in any order: each waits for its inputs. JSON is YAML.

  Args:
    cells: those to run.
    config: of the study; read is config.runner.kubernetes.

  Raises:
    UserError: the image or the claim is not named.
  """
  cfg = config.runner.kubernetes
  for name in ("image", "claim"):
    if not cfg[name]:
      raise errors.UserError(
        f"runner.kubernetes.{name} is empty; the jobs need it"
      )
  items = [_job(cell, cfg) for cell in cells]
  return json.dumps(
    {"apiVersion": "v1", "kind": "List", "items": items}, indent=2
  )


def _job(cell: Cell, cfg: Config) -> dict[str, Any]:
  container: dict[str, Any] = {
    "name": "vdr",
    "image": cfg.image,
    "command": arguments(cell, cfg.mount),
    "volumeMounts": [{"name": "study", "mountPath": cfg.mount}],
  }
  if cfg.gpus:
    container["resources"] = {"limits": {"nvidia.com/gpu": cfg.gpus}}
  name = f"vdr-{cell.name}-{cell.key[:8]}".replace("_", "-").lower()
  claim = {"claimName": cfg.claim}
  pod = {
    "restartPolicy": "OnFailure",
    "containers": [container],
    "volumes": [{"name": "study", "persistentVolumeClaim": claim}],
  }
  return {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": name, "labels": {"app": "vdr-study"}},
    "spec": {"backoffLimit": 10, "template": {"spec": pod}},
  }
