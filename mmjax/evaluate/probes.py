"""Linear classifiers on frozen features."""

from functools import partial

import jax

from mmjax.evaluate.logistic import fit_logistic, logistic_accuracy
from mmjax.evaluate.regression import standardise
from mmjax.types import Array


@partial(jax.jit, static_argnums=(4,))
def linear_probe_accuracy(
    train: Array,
    train_labels: Array,
    test: Array,
    test_labels: Array,
    num_classes: int,
    l2: float = 1.0,
) -> Array:
    """Test accuracy of multinomial logistic regression, the objective of scikit-learn's.

    Minimises sum of cross-entropies + l2 / 2 |W|^2 (intercept free) by L-BFGS, on features
    standardised with the training set's mean and deviation.

    Args:
      train, test: `[n, f]`, `[m, f]` float features.
      train_labels, test_labels: `[n]`, `[m]` int in 0..num_classes-1.
      num_classes: >= 2.
      l2: inverse of scikit-learn's C.

    Returns:
      Scalar in [0, 1].
    """
    train, test = standardise(train, test)
    model = fit_logistic(train, train_labels, num_classes, l2)
    return logistic_accuracy(model, test, test_labels)
