"""Linear classifiers on frozen features."""

from functools import partial

import jax

from mmjax.evaluate.labels import as_codes
from mmjax.evaluate.logistic import fit_logistic, logistic_accuracy
from mmjax.evaluate.regression import standardise
from mmjax.numerics import centred, require_strength
from mmjax.types import AnyArray, Array


def linear_probe_accuracy(
    train: AnyArray,
    train_labels: AnyArray,
    test: AnyArray,
    test_labels: AnyArray,
    num_classes: int,
    l2: float = 1.0,
) -> Array:
    """Test accuracy of multinomial logistic regression, the objective of scikit-learn's.

    Minimises sum of cross-entropies + l2 / 2 |W|^2 (intercept free) by L-BFGS, on features
    standardised with the training set's mean and deviation.

    Args:
      train, test: `[n, f]`, `[m, f]` features of any real type.
      train_labels, test_labels: `[n]`, `[m]` int in 0..num_classes-1, or of another type, of at
        most num_classes values (see as_codes).
      num_classes: >= 2.
      l2: inverse of scikit-learn's C.

    Returns:
      Scalar in [0, 1]; NaN where a feature is not finite.

    Raises InvalidInput for labels out of range, and for an l2 that is negative or not finite,
    unless traced.
    """
    require_strength("l2", l2)
    codes = as_codes(train_labels, test_labels, num_classes=num_classes)
    train, test = centred(train, test)  # here, where a float64 array still has its digits
    return _accuracy(train, codes[0], test, codes[1], num_classes, l2)


@partial(jax.jit, static_argnums=(4,))
def _accuracy(train, train_codes, test, test_codes, num_classes, l2) -> Array:
    train, test = standardise(train, test)
    model = fit_logistic(train, train_codes, num_classes, l2)
    return logistic_accuracy(model, test, test_codes)
