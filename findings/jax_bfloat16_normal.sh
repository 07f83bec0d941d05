#!/usr/bin/env bash
# Surprise: jax.random.normal(key, shape, jnp.bfloat16) has 128 values in all,
# none beyond 2.9, and a mean of -.012; categorical on bfloat16 logits never
# returns most of 16,384 equally likely classes.
#
# Most people expect the float32 draw, rounded: bfloat16 can hold thousands of
# values between -5 and 5, and tails to 1e38. But the draw starts from uniform
# numbers of that type, which have as many random bits as its mantissa: seven.
#
# Why it matters: noise, initial weights and sampled tokens are often drawn "in
# the model's type". Nothing fails; the tails and most of a vocabulary are
# missing. Draw in float32 and cast; give categorical float32 logits.
#
# Installs the versions below in a temporary folder. Exits 1 if they behave
# otherwise than printed here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 ml_dtypes==0.6.0 scipy==1.17.1 \
  opt_einsum==3.4.0
cd "$folder"
env -u PYTHONPATH JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import numpy as np

print("python", sys.version.split()[0], "jax", jax.__version__, "numpy",
      np.__version__)
N = 1_000_000
key = jax.random.key(0)
seen = {}
for name, draw in {
    "normal in bfloat16": jax.random.normal(key, (N,), jnp.bfloat16),
    "normal in float16": jax.random.normal(key, (N,), jnp.float16),
    "normal in float32, cast to bfloat16":
        jax.random.normal(key, (N,)).astype(jnp.bfloat16),
    "uniform in bfloat16": jax.random.uniform(key, (N,), jnp.bfloat16),
}.items():
  x = np.asarray(draw.astype(jnp.float32), np.float64)
  seen[name] = dict(values=len(np.unique(x)), least=x.min(), most=x.max(),
                    mean=x.mean(), std=x.std(),
                    beyond_3=float(np.mean(np.abs(x) > 3)))
  print(f"{name}: " + ", ".join(f"{k} {v:.5g}" for k, v in seen[name].items()))

CLASSES, DRAWS = 16_384, 40_000
classes = {}
for dtype in (jnp.bfloat16, jnp.float32):
  logits = jnp.zeros(CLASSES, dtype)
  drawn = jax.lax.map(
      lambda k: jax.random.categorical(k, logits), jax.random.split(key, DRAWS),
      batch_size=1000)
  classes[dtype] = counts = np.bincount(np.asarray(drawn), minlength=CLASSES)
  print(f"categorical, {CLASSES} equal logits in {jnp.dtype(dtype)},"
        f" {DRAWS} draws: {np.sum(counts > 0)} classes drawn, the largest"
        f" index {np.flatnonzero(counts).max()}")

half, cast = seen["normal in bfloat16"], seen[
    "normal in float32, cast to bfloat16"]
same = (
    half["values"] == 128
    and -2.9 < half["least"] and half["most"] < 2.9
    and -0.014 < half["mean"] < -0.010  # 10 standard errors from 0
    and half["beyond_3"] == 0
    and cast["values"] > 1000 and cast["most"] > 4
    and abs(cast["mean"]) < 0.004
    and np.sum(classes[jnp.bfloat16] > 0) < CLASSES / 10
    and np.sum(classes[jnp.float32] > 0) > 0.85 * CLASSES
)
print("as described" if same else "the behaviour has changed")
sys.exit(not same)
PYTHON
