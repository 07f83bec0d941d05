"""Stand-ins for the programs of clusters: they note how they were called.

A flag that the real program does not have is an error, as it is there. The
lists are those of the official documents: `gcloud … --help` (Google Cloud SDK
528), `kubectl … --help` (1.33), the manual pages of Slurm 22.05, and
cloud.google.com/storage/docs/gcsfuse-cli.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

GCLOUD_WIDE = "project= format= quiet verbosity= account= configuration="
SSH = (
  "dry-run force-key-file-overwrite internal-ip plain ssh-key-file="
  " strict-host-key-checking= worker= zone= ssh-key-expiration="
  " ssh-key-expire-after= " + GCLOUD_WIDE
)
SLURM_BOTH = (
  "account= chdir= comment= constraint= contiguous cpus-per-gpu="
  " cpus-per-task= dependency= error= exclude= exclusive export= gpu-bind="
  " gpu-freq= gpus= gpus-per-node= gpus-per-socket= gpus-per-task= gres= hint="
  " input= job-name= licenses= mem= mem-per-cpu= mem-per-gpu= nodelist= nodes="
  " ntasks= ntasks-per-core= ntasks-per-gpu= ntasks-per-node= open-mode="
  " output= partition= qos= quiet reservation= signal= threads-per-core= time="
  " time-min= tmp= verbose"
)
# Words that name a command → its flags; with "=" those that have a value.
FLAGS = {
  "gcloud compute tpus tpu-vm ssh": "command= output-directory= ssh-flag= "
  + SSH,
  "gcloud compute tpus tpu-vm scp": "compress recurse scp-flag= " + SSH,
  "gcloud compute tpus queued-resources create": (
    "zone= runtime-version= accelerator-type= topology= type= node-id="
    " node-count= node-prefix= async data-disk= description= guaranteed"
    " internal-ips labels= metadata= metadata-from-file= network= range="
    " reserved scopes= service-account= shielded-secure-boot spot subnetwork="
    " tags= valid-after-duration= valid-after-time= valid-until-duration="
    " valid-until-time= reservation-host-folder= reservation-host-organization="
    " reservation-host-project= " + GCLOUD_WIDE
  ),
  "gcloud compute tpus queued-resources describe": "zone= " + GCLOUD_WIDE,
  "gcloud compute tpus queued-resources delete": "zone= async force "
  + GCLOUD_WIDE,
  "kubectl apply": (
    "filename= namespace= all cascade= dry-run= field-manager= force"
    " force-conflicts grace-period= kustomize= output= overwrite prune"
    " recursive selector= server-side timeout= validate= wait context="
  ),
  "kubectl logs": (
    "all-containers all-pods container= follow ignore-errors limit-bytes="
    " max-log-requests= namespace= pod-running-timeout= prefix previous"
    " selector= since= since-time= tail= timestamps context="
  ),
  "kubectl delete": (
    "all all-namespaces cascade= dry-run= field-selector= filename= force"
    " grace-period= ignore-not-found namespace= now output= selector= timeout="
    " wait context="
  ),
  "sbatch": SLURM_BOTH
  + " array= begin= deadline= export-file= get-user-env= ignore-pbs"
  " kill-on-invalid-dep= mail-type= mail-user= no-requeue parsable requeue"
  " test-only wait wait-all-nodes= wrap=",
  "srun": SLURM_BOTH + " bcast= cpu-bind= distribution= exact immediate= jobid="
  " kill-on-bad-exit= label mpi= multi-prog no-kill overlap prolog= pty"
  " quit-on-interrupt unbuffered wait=",
  "scontrol requeue": "",
  "docker build": "file= tag= build-arg= platform= no-cache pull target=",
  "docker push": "quiet all-tags",
  "nvidia-smi": "list-gpus",
  "gcsfuse": (
    "implicit-dirs rename-dir-limit= metadata-cache-ttl-secs= file-mode="
    " dir-mode= only-dir= temp-dir= o= key-file= log-file= foreground"
  ),
}

PROGRAM = """\
#!{python}
import sys
sys.path.insert(0, {folder!r})
import stubs
sys.exit(stubs.stand_in({name!r}, {log!r}, sys.argv[1:]))
"""


def stand_in(name, log, argv):
  """What a stub does: checks its flags, notes them, and answers."""
  words, flags = _command(name, argv)
  allowed = dict.fromkeys(flags.split())
  rest = argv[len(words) - 1 :]
  options, places = {}, []
  while rest:
    word = rest.pop(0)
    if not word.startswith("--"):
      places.append(word)
      if name in ("srun", "sbatch"):  # the rest is that program's
        places += rest
        break
      continue
    flag, equals, value = word[2:].partition("=")
    if f"{flag}=" in allowed and equals:
      options[flag] = value
    elif flag in allowed and not equals:
      options[flag] = True
    else:
      print(f"{name}: unrecognized arguments: {word}", file=sys.stderr)
      return 2
  call = {"command": " ".join(words), "options": options, "places": places}
  if not sys.stdin.isatty() and "-" == options.get("filename"):
    call["stdin"] = sys.stdin.read()
  with open(log, "a") as file:
    file.write(json.dumps(call) + "\n")
  return _answer(call)


def _command(name, argv):
  for words, flags in FLAGS.items():
    if words.split() == [name, *argv][: len(words.split())]:
      return words.split(), flags
  if name in FLAGS:
    return [name], FLAGS[name]
  sys.exit(f"{name}: no such command: {' '.join(argv)}")


def _answer(call):
  """Prints, and exits with, the next of what the test has prepared.

  `answers/COMMAND` has a JSON list of [status, text] pairs; the last one stays.
  """
  folder = pathlib.Path(os.environ["STUB_ANSWERS"])
  path = folder / call["command"].replace(" ", "_")
  if not path.exists():
    return 0
  answers = json.loads(path.read_text())
  status, text = answers.pop(0) if len(answers) > 1 else answers[0]
  path.write_text(json.dumps(answers))
  if text:
    print(text)
  return status


class Stubs:
  """A PATH of stubs for one test, and what they were called with."""

  def __init__(self, folder):
    self.folder, self.log = folder, folder / "log"
    self.bin, self.answers = folder / "bin", folder / "answers"
    self.bin.mkdir()
    self.answers.mkdir()
    self.log.touch()
    for name in {words.split()[0] for words in FLAGS}:
      self.write(
        name,
        PROGRAM.format(
          python=sys.executable,
          folder=str(pathlib.Path(__file__).parent),
          name=name,
          log=str(self.log),
        ),
      )
    self.write("sleep", '#!/bin/sh\necho "$1" >> "$STUB_ANSWERS/slept"\n')

  def checkout(self, *names):
    """A made-up checkout with these launch scripts, which packs nothing."""
    launch = self.folder / "checkout" / "launch"
    launch.mkdir(parents=True)
    for name in (*names, "flags.sh"):
      shutil.copy(ROOT / "launch" / name, launch)
    (launch / "pack.sh").write_text('#!/bin/sh\ntar -czf "$1" -T /dev/null\n')
    (launch / "pack.sh").chmod(0o755)
    return launch

  def write(self, name, text):
    """Puts a program on the PATH."""
    (self.bin / name).write_text(text)
    (self.bin / name).chmod(0o755)

  def answer(self, command, *answers):
    """Prepares (status, text) pairs for the calls of a command."""
    path = self.answers / command.replace(" ", "_")
    path.write_text(json.dumps(answers))

  def run(self, *argv, stdin="", cwd=ROOT, **env):
    """Runs a script on this PATH; what it printed, and did."""
    self.log.write_text("")
    done = subprocess.run(
      list(map(str, argv)),
      input=stdin,
      capture_output=True,
      text=True,
      cwd=cwd,
      timeout=60,
      env={
        "PATH": f"{self.bin}:/usr/bin:/bin",
        "HOME": str(self.folder),
        "TMPDIR": str(self.folder),
        "STUB_ANSWERS": str(self.answers),
        "LC_ALL": "C.UTF-8",
      }
      | env,
    )
    done.calls = self.calls()
    return done

  def calls(self):
    return [json.loads(line) for line in self.log.read_text().splitlines()]


def assert_dry_run_is_the_run(stubs, *argv):
  """What --dry_run prints, typed in, makes the calls of the script itself."""
  done = stubs.run(*argv)
  assert done.returncode == 0, done.stderr
  words = list(argv)
  words.insert(words.index("--") if "--" in words else len(words), "--dry_run")
  dry = stubs.run(*words)
  assert (dry.returncode, dry.stderr) == (0, "")
  assert dry.calls == []
  typed = stubs.run("bash", "-e", stdin=dry.stdout)
  assert typed.returncode == 0, typed.stderr
  assert typed.calls == done.calls
  assert done.calls
  return done.calls


def assert_one_line(done, words, script):
  """A mistake: one line that starts with the script, and status 2."""
  assert done.returncode == 2
  assert done.stderr.startswith(f"{script}: ")
  assert words in done.stderr
  assert done.stderr.count("\n") == 1
  assert done.calls == []
