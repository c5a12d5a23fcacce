"""What estimators take."""

import jax
import numpy as np
from sklearn.utils import check_random_state

from mmjax.types import Key

FLOATS = (np.float64, np.float32)
RandomState = int | np.random.RandomState | None


def key_of(random_state: RandomState) -> Key:
    """A key from what scikit-learn takes as a source of randomness."""
    return jax.random.key(int(check_random_state(random_state).randint(2**31 - 1)))
