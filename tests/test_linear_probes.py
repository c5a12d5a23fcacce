"""Linear probes and scores: what must not matter, what scikit-learn says, edges, bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score
from sklearn.metrics import mean_squared_error as sklearn_mean_squared_error
from sklearn.preprocessing import StandardScaler

from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    PROBE_TASKS,
    Labelled,
    accuracy,
    f1_scores,
    fit_multilabel,
    mean_recall,
    mean_squared_error,
    probe,
    ridge_fitter,
)

ROWS, FEATURES, OUTPUTS = 40, 6, 3
GRID = (100.0, 1.0, 0.01)
REFITTED = ("classification", "regression")  # the third in tests without: a compilation less
tasks = pytest.mark.parametrize("task", PROBE_TASKS)


def _splits(task, seed=0, outputs=OUTPUTS):
    """Noisy linear targets of features of different scales; the test rows have a shift."""
    rng = np.random.default_rng(seed)
    map_ = rng.normal(size=(FEATURES, outputs))
    scale, splits = 10.0 ** np.arange(-2, FEATURES - 2), []
    for shift in (0.0, 0.0, 0.5):
        x = rng.normal(size=(ROWS, FEATURES)) + shift
        y = x @ map_ + 2 * rng.normal(size=(ROWS, outputs))
        if task == "classification":
            y = y.argmax(1)
        elif task == "multilabel":
            y = (y > 1).astype(np.int32)
        labels = y.astype(np.float32) if task == "regression" else y
        splits.append(Labelled((x * scale + 3).astype(np.float32), labels))
    return splits


def _probe(task, *splits, **options):
    usual = dict(strengths=GRID, num_classes=OUTPUTS, refit=task in REFITTED)
    return probe(task, *splits, **(usual | options))


def _same(ours, theirs, tolerance=1e-3):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=tolerance), name


@tasks
def test_units_of_features_do_not_matter(task):
    """They are standardised, by the rows that are fitted on."""
    splits = _splits(task)
    scaled = [s._replace(features=s.features[:, ::-1] * 7 - 2) for s in splits]
    _same(_probe(task, *scaled), _probe(task, *splits))


@tasks
def test_a_column_that_only_validation_rows_have_drowns_no_other(task):
    splits = _splits(task)
    column = [np.zeros(len(s.features)) for s in splits]
    column[1][0] = 1e8
    wide = [
        s._replace(features=np.c_[s.features, more]) for s, more in zip(splits, column, strict=True)
    ]
    _same(_probe(task, *wide), _probe(task, *splits))


@tasks
def test_test_rows_and_validation_rows_choose_nothing_but_what_they_should(task):
    """The shapes are alike everywhere: compiling is what takes long."""
    fit, validation, test = _splits(task)
    other = _splits(task, seed=1)[1]
    far = test._replace(features=1e3 * test.features)
    once = _probe(task, fit, validation, test)
    assert float(_probe(task, fit, validation, far)["l2"]) == float(once["l2"])
    # Where strengths are all the same validation rows choose nothing; but a refit sees them.
    alone = dict(strengths=(1.0,) * len(GRID))
    one, two = (_probe(task, fit, rows, test, **alone) for rows in (validation, other))
    assert any(float(one[k]) != float(two[k]) for k in one) == (task in REFITTED)
    if task == "regression":
        one, two = (_probe(task, fit, v, test, refit=False, **alone) for v in (validation, other))
        _same(one, two, 0)


def test_of_equals_the_first_is_chosen():
    splits = _splits("classification")
    for strengths in ((1.001, 1.0, 0.999), (0.999, 1.0, 1.001)):
        found = _probe("classification", *splits, strengths=strengths)["l2"]
        assert float(found) == np.float32(strengths[0])


def test_many_features_and_targets_at_once_equal_one_by_one():
    both = [_splits("regression", seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *both)
    every = jax.vmap(lambda *splits: _probe("regression", *splits))(*stacked)
    for k, splits in enumerate(both):
        _same({name: v[k] for name, v in every.items()}, _probe("regression", *splits))


@tasks
def test_probes_are_mapped_over_targets(task):
    splits = _splits(task)
    many = [jnp.stack([split.labels] * 4) for split in splits]

    def run(*labels):
        own = (s._replace(labels=y) for s, y in zip(splits, labels, strict=True))
        return _probe(task, *own, num_classes=OUTPUTS)

    assert {v.shape for v in jax.eval_shape(jax.vmap(run), *many).values()} == {(4,)}


def _by_sklearn(task, splits, refit, grid=GRID):
    """The whole protocol with scikit-learn in float64."""
    scaler = StandardScaler().fit(splits[0].features.astype(np.float64))
    x, check, test = (scaler.transform(s.features.astype(np.float64)) for s in splits)
    y, check_y, test_y = (s.labels for s in splits)

    def fitted(x, y, l2):
        logistic = lambda y: LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000).fit(x, y)
        if task == "regression":
            return Ridge(alpha=l2).fit(x, y).predict
        if task == "classification":
            return logistic(y).predict
        each = [logistic(column) for column in y.T]
        return lambda x: np.stack([model.predict(x) for model in each], 1)

    score = {
        "classification": balanced_accuracy_score,
        "multilabel": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
        "regression": lambda y, p: -sklearn_mean_squared_error(y, p),
    }[task]
    l2 = grid[int(np.argmax([score(check_y, fitted(x, y, l2)(check)) for l2 in grid]))]
    if refit:
        x, y = np.concatenate([x, check]), np.concatenate([y, check_y])
    predicted = fitted(x, y, l2)(test)
    if task == "classification":
        recall = balanced_accuracy_score(test_y, predicted)
        return {"accuracy": np.mean(predicted == test_y), "mean_recall": recall, "l2": l2}
    if task == "regression":
        mse = sklearn_mean_squared_error(test_y, predicted)
        return {"mse": mse, "r2": r2_score(test_y, predicted), "l2": l2}
    f1 = lambda average: f1_score(test_y, predicted, average=average, zero_division=0)
    return {f"f1_{name}": f1(name) for name in ("macro", "weighted", "micro")} | {"l2": l2}


@tasks
def test_the_protocol_is_that_of_scikit_learn(task):
    for seed in range(2):
        splits = _splits(task, seed)
        _same(_probe(task, *splits), _by_sklearn(task, splits, task in REFITTED))


def test_two_classes_are_scikit_learns_too():
    """It penalises one vector, not two: at a strength where that tells."""
    splits = _splits("classification", seed=3, outputs=2)
    for l2 in (2.0, 30.0):
        options = dict(num_classes=2, strengths=(l2,) * len(GRID), refit=False)
        theirs = _by_sklearn("classification", splits, False, (l2,))
        _same(_probe("classification", *splits, **options), theirs)


_fit_multilabel = partial(fit_multilabel, max_steps=500, tolerance=1e-6)


@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_multilabel_fit_is_that_of_scikit_learn(l2):
    fit = _splits("multilabel")[0]
    x = StandardScaler().fit_transform(fit.features.astype(np.float64))
    found = _fit_multilabel(jnp.asarray(x, jnp.float32), fit.labels, l2)
    assert found.converged.all() and found.weights.shape == (FEATURES, OUTPUTS)
    for k in range(OUTPUTS):
        theirs = LogisticRegression(C=1 / l2, tol=1e-9, max_iter=5000).fit(x, fit.labels[:, k])
        np.testing.assert_allclose(found.weights[:, k], theirs.coef_[0], atol=2e-3)
        np.testing.assert_allclose(found.bias[k], theirs.intercept_[0], atol=2e-3)


def test_a_class_that_no_row_or_every_row_has_is_predicted_and_others_stay_as_they_are():
    fit = _splits("multilabel")[0]
    x = StandardScaler().fit_transform(fit.features.astype(np.float64)).astype(np.float32)
    with_both = fit.labels.copy()
    with_both[:, 0], with_both[:, 2] = 0, 1
    both, alone = (_fit_multilabel(x, labels, 1.0) for labels in (with_both, fit.labels))
    np.testing.assert_allclose(both.weights[:, 1], alone.weights[:, 1], atol=1e-5)
    assert not np.any(np.asarray(both.weights)[:, [0, 2]]) and both.converged.all()
    odds = np.log([0.5 / (ROWS + 0.5), (ROWS + 0.5) / 0.5])
    np.testing.assert_allclose(np.asarray(both.bias)[[0, 2]], odds, rtol=1e-5)


@pytest.mark.parametrize(("rows", "features"), [(40, 6), (5, 9), (1, 2)])
def test_ridge_is_that_of_scikit_learn(rows, features):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)) + 2
    x[:, -1] = x[:, 0]  # a direction that no row has
    y = rng.normal(size=(rows, 2)) - 5
    strengths = jnp.array([1e-2, 1.0, 1e4, 0.0])
    fit = jax.jit(lambda x, y: jax.vmap(ridge_fitter(x, y))(strengths))
    found = fit(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    for weights, bias, l2 in zip(*found, strengths[:3], strict=False):
        theirs = Ridge(alpha=float(l2), solver="svd").fit(x, y)
        np.testing.assert_allclose(weights.T, theirs.coef_, rtol=1e-3, atol=2e-4)
        np.testing.assert_allclose(bias, theirs.intercept_, rtol=1e-3, atol=1e-3)
    least = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-8)[0]
    np.testing.assert_allclose(found.weights[3], least, rtol=1e-3, atol=1e-3)


@jax.jit
def _scores(true, said, labels, guess, targets, found):
    one = jnp.zeros_like(guess)
    return (
        f1_scores(true, said),
        (accuracy(labels, guess), mean_recall(labels, guess, 6), mean_recall(labels, one, 6)),
        mean_squared_error(targets, found),
    )


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("rate", [0.5, 0.05, 0.0])
def test_scores_are_those_of_scikit_learn(rate):
    """Among them classes without a row, without a decision, and without either."""
    rng = np.random.default_rng(0)
    true, said = rng.random((2, 30, 5)) < np.array([1, 1, 1, 1, 0]) * rate
    true[:, 1] = said[:, 2] = False
    labels, guess = (4 * rng.random((2, 30)) ** (1 / (rate + 0.1))).astype(int)
    labels[0] = 0
    targets, found = rng.normal(size=(2, 30, 3))
    f1, (share, recall, constant), mse = _scores(true, said, labels, guess, targets, found)
    for average, score in f1._asdict().items():
        theirs = f1_score(true, said, average=average, zero_division=0)
        assert float(score) == pytest.approx(theirs, abs=1e-6), average
    assert float(share) == pytest.approx(np.mean(labels == guess))
    assert float(recall) == pytest.approx(balanced_accuracy_score(labels, guess))
    assert float(constant) == pytest.approx(1 / len(set(labels)))  # however rare the others are
    assert float(mse) == pytest.approx(sklearn_mean_squared_error(targets, found))


@tasks
def test_half_precision_and_extreme_strengths_stay_finite(task):
    splits = [s._replace(features=s.features.astype(jnp.bfloat16)) for s in _splits(task)]
    ours = _probe(task, *splits, strengths=(1e6, 0.0, 1e-6))
    assert all(np.isfinite(v) for v in ours.values())


def _changed(task, split, **parts):
    splits = _splits(task)
    splits[split] = splits[split]._replace(**parts)
    return lambda: _probe(task, *splits)


NAN = np.full((ROWS, FEATURES), np.nan, np.float32)
BAD = {
    "task": lambda: _probe("ranking", *_splits("regression")),
    "features of test": _changed("regression", 2, features=np.zeros((ROWS, FEATURES + 1))),
    "features of validation": _changed("multilabel", 1, features=NAN),
    "labels of fit": _changed("classification", 0, labels=np.full(ROWS, OUTPUTS)),
    "labels of test": _changed("multilabel", 2, labels=np.full((ROWS, OUTPUTS), -1)),
    "labels of validation": _changed("multilabel", 1, labels=np.zeros((ROWS, OUTPUTS + 1), int)),
    "labels of test: ": _changed("regression", 2, labels=np.full((ROWS, OUTPUTS), np.inf)),
    "labels of fit: 'float": _changed("classification", 0, labels=np.zeros(ROWS)),
    "labels of fit: ": _changed("classification", 0, labels=np.zeros(ROWS - 1, int)),
    "strengths": lambda: _probe("regression", *_splits("regression"), strengths=()),
    "strengths: ": lambda: _probe("regression", *_splits("regression"), strengths=(-1.0,)),
    "num_classes": lambda: _probe("classification", *_splits("classification"), num_classes=1),
    "max_steps": lambda: _probe("regression", *_splits("regression"), max_steps=0),
    "predicted": lambda: mean_squared_error(np.zeros(3), np.zeros((3, 1))),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    with pytest.raises(InvalidInput, match=name):
        BAD[name]()
