"""What data and keys a training had, told in a few numbers: kept in its checkpoints."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.types import Tree

_BLOCK = 4096
_CLOSE = 1e-4  # rounding of another kind of machine is far below it


def _of_floats(x: np.ndarray) -> list:
    """Largest size, norm and a random projection, in units of the norm.

    The projection tells another order of rows, and a single other row among some 1e7; a hash would
    also tell a last bit apart, which differs between machines where data are generated.
    """
    x = np.asarray(x, np.float32).reshape(-1)
    largest = float(np.max(np.abs(x), initial=0.0))
    x = x / (largest if 0 < largest < np.inf else 1.0)
    norm = float(np.sqrt(np.dot(x, x)))
    whole = len(x) // _BLOCK * _BLOCK
    rng = np.random.default_rng(0)
    within = rng.standard_normal(_BLOCK, np.float32)
    across = rng.standard_normal(whole // _BLOCK, np.float32)
    blocks, tail = x[:whole].reshape(-1, _BLOCK), x[whole:]
    projection = across @ (blocks @ within) + tail @ within[: len(tail)]
    return [largest, norm, float(projection) / max(norm, 1e-30)]


def fingerprint(tree: Tree) -> list[dict[str, Any]]:
    """Of every leaf its dtype, its shape and what stands for its values; goes through JSON.

    Args:
      tree: arrays, keys among them; integers and keys are hashed, floats projected.
    """

    @np.errstate(all="ignore")  # NaN and infinity have a fingerprint too
    def one(leaf):
        is_key = jnp.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key)
        x = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        inexact = jnp.issubdtype(x.dtype, jnp.floating)
        values = (
            _of_floats(x)
            if inexact
            else hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
        )
        return {"dtype": str(x.dtype), "shape": list(x.shape), "values": values}

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def same_fingerprint(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Whether both are of the same data, up to rounding."""

    def same(one, other):
        if {**one, "values": 0} != {**other, "values": 0}:
            return False
        if isinstance(one["values"], str):
            return one["values"] == other["values"]
        return np.allclose(one["values"], other["values"], rtol=_CLOSE, atol=_CLOSE, equal_nan=True)

    return len(a) == len(b) and all(map(same, a, b))
