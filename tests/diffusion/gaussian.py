"""Gaussian data, of which the best denoiser and the exact flow are known.

For x0 ~ N(mean, C) and x = alpha · x0 + sigma · eps, along each eigenvector of
C with eigenvalue c, x has the variance `alpha² c + sigma²`; the best estimates
are linear in x, and the probability flow keeps `(x - alpha · mean) / std(x)`.
"""

import jax.numpy as jnp
import numpy as np

from configs import base
from vdr.diffusion import objective, sampler, schedule

MEAN = np.array([0.5, -1.0, 0.2])
VARIANCES = np.array([0.25, 1.0, 3.0])
AXES = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
COVARIANCE = AXES @ np.diag(VARIANCES) @ AXES.T


def section(name, **fields):
  """A section of the config with other values."""
  cfg = base.default()[name]
  cfg.update(fields)
  return cfg


def make_objective(**fields):
  return objective.Objective.from_config(section("diffusion", **fields))


def make_sampler(**fields):
  return sampler.Sampler.from_config(section("sampler", **fields))


def oracle(task):
  """The best denoiser of an objective."""

  def denoise(x, noise_level, before):
    del before
    mean, variances, axes = (
      jnp.asarray(a, x.dtype) for a in (MEAN[None], VARIANCES[None], AXES)
    )
    alpha, sigma = (
      c.astype(x.dtype)[:, None]
      for c in task.schedule.coefficients(noise_level)
    )
    scaled = (x - alpha * mean) @ axes
    scaled = scaled / (alpha**2 * variances + sigma**2)
    x0 = mean + (alpha * variances * scaled) @ axes.T
    eps = (sigma * scaled) @ axes.T
    return task.make_target(x0, eps, noise_level)

  return denoise


def flow_map(name, first=1.0, last=0.0):
  """The exact path from one noise level to another, as `offset, matrix`."""
  ends = schedule.get_schedule(name).coefficients(np.array([first, last]))
  alpha, sigma = (np.asarray(end, np.float64) for end in ends)
  stds = np.sqrt(np.square(alpha)[:, None] * VARIANCES + sigma[:, None] ** 2)
  matrix = AXES @ np.diag(stds[1] / stds[0]) @ AXES.T
  return alpha[1] * MEAN - matrix @ (alpha[0] * MEAN), matrix


def measure_map(sample):
  """The same of a sampler, which is affine in its noise for this data."""
  noise = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)
  out = np.asarray(sample(jnp.asarray(noise)), np.float64)
  return out[0], (out[1:] - out[0]).T
