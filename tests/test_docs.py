"""The documents' commands parse, and their links lead somewhere."""

import pathlib
import re
import shlex

import pytest
import yaml

import vdr
from vdr.runtime import command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))


def commands():
  """Every vdr command of the documents, as a list of words."""
  found = []
  for name in DOCUMENTS:
    text = (ROOT / name).read_text()
    for block in re.findall(r"```bash\n(.+?)```", text, re.DOTALL):
      for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "vdr.main" in words:
          found.append(pytest.param(words, id=f"{name}: {line}"))
  return found


@pytest.mark.parametrize("words", commands())
def test_a_command_parses(words, monkeypatch):
  monkeypatch.chdir(ROOT)
  assert words[:3] == ["python", "-m", "vdr.main"]
  command_line.parse(words[2:])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_lead_somewhere(name):
  text = (ROOT / name).read_text()
  links = re.findall(r"\]\(([^)#]+)\)", text)
  files = [link for link in links if "://" not in link]
  files += re.findall(
    r"`((?:configs|launch|vdr|tests|benchmarks)/[\w./]*)`", text
  )
  missing = [
    file
    for file in files
    if not (ROOT / file).exists()
    and not file.startswith(("vdr/a/", "tests/a/"))  # made-up examples
  ]
  assert not missing


def test_the_citation_has_the_version_of_the_package():
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  assert citation["version"] == vdr.__version__
