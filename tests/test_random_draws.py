"""Random numbers are drawn in float32, whatever type they are needed in.

A draw in bfloat16 starts from so few random bits that a normal one has 128
values, none of them beyond 2.9. It is to be made in float32 and cast.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Their type is float32 unless they are told another. Other draws of
# `jax.random` compute in the type of what they are given.
FLOAT_DRAWS = {"normal", "uniform"}
NO_FLOATS = {
  *("key", "PRNGKey", "split", "fold_in", "key_data", "wrap_key_data"),
  *("randint", "permutation"),
}


def complaints(source: str) -> list[str]:
  """Draws of a module that may not be float32.

  Those of `jax.random`, and initial parameters by `jax.nn.initializers`.
  """
  bad, tree = [], ast.parse(source)
  called = {x.func: x for x in ast.walk(tree) if isinstance(x, ast.Call)}
  names = imported(tree)
  for node in ast.walk(tree):
    if not isinstance(node, (ast.Attribute, ast.Name)):
      continue
    first, *rest = ast.unparse(node).split(".")
    module, _, draw = ".".join([names.get(first, first), *rest]).rpartition(".")
    call = called.get(node)
    if module == "jax.nn.initializers":
      call = called.get(call)  # `normal(0.1)(key, shape, dtype)`
    elif module != "jax.random" or draw in NO_FLOATS:
      continue
    elif draw not in FLOAT_DRAWS:
      bad.append(f"{draw} has the type of its input; make it of uniform")
      continue
    if call is None or not is_float32(call):
      bad.append(f"{ast.unparse(call or node)} may not be float32")
  return bad


def imported(tree: ast.AST) -> dict[str, str]:
  """Names of a module → what they were imported as, dotted."""
  found = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found |= {x.asname: x.name for x in node.names if x.asname}
    elif isinstance(node, ast.ImportFrom):
      found |= {
        x.asname or x.name: f"{node.module}.{x.name}" for x in node.names
      }
  return found


def is_float32(call: ast.Call) -> bool:
  """Whether a draw by (key, shape, dtype) is one of float32."""
  words = {keyword.arg: keyword.value for keyword in call.keywords}
  if None in words or any(isinstance(x, ast.Starred) for x in call.args):
    return False
  given = [*call.args[2:3], *(v for k, v in words.items() if k == "dtype")]
  return all(ast.unparse(x) == "jnp.float32" for x in given)


def test_vdr_draws_in_float32():
  paths = sorted((ROOT / "vdr").rglob("*.py"))
  found = {path: complaints(path.read_text()) for path in paths}
  bad = [f"{path}: {text}" for path, texts in found.items() for text in texts]
  assert not bad, "\n".join(bad)
  # It does see them.
  assert sum("jax.random.normal(" in path.read_text() for path in paths) > 5


@pytest.mark.parametrize(
  ("source", "words"),
  [
    ("jax.random.normal(k, x.shape, x.dtype)", "x.dtype"),
    ("jax.random.normal(k, (2,), dtype=jnp.bfloat16)", "bfloat16"),
    ("jax.random.uniform(k, (2,), jnp.float16)", "float16"),
    ("jax.random.normal(k, **fields)", "**fields"),
    ("jax.vmap(jax.random.normal)(keys)", "jax.random.normal"),
    ("jax.random.categorical(k, logits)", "categorical has the type"),
    ("from jax import random as r\nr.bernoulli(k, p)", "bernoulli has"),
    ("from jax.random import gumbel\ngumbel(k, (2,))", "gumbel has"),
    ("import jax.random as r\nr.normal(k, (2,), dtype)", "dtype"),
    ("jax.nn.initializers.normal(0.1)(k, shape, cfg.dtype)", "cfg.dtype"),
    ("f(init=jax.nn.initializers.normal(0.1))", "initializers.normal"),
    ("jax.random.normal(k, (2,)).astype(jnp.bfloat16)", None),
    ("jax.random.normal(k, (2,), jnp.float32)", None),
    ("jax.vmap(jax.random.split)(jax.random.key(0))", None),
    ("jax.nn.initializers.normal(0.1)(k, shape, jnp.float32)", None),
    ("np.random.normal(0, 1, x.shape)", None),
  ],
)
def test_the_rule_sees_a_made_up_draw(source, words):
  found = "\n".join(complaints(source))
  assert found == "" if words is None else words in found
