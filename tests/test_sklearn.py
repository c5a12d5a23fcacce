"""Estimators agree with scikit-learn's own and keep its conventions."""

import pickle
from functools import cache

import numpy as np
import pytest
import sklearn.cross_decomposition
import sklearn.decomposition
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from mmjax import nets
from mmjax.errors import InvalidInput
from mmjax.sklearn import CCA, PCA, ContrastiveEmbedding, FastICA

# What a check asks that doesn't apply, and why.
_SCORES = "fit_transform gives the scores of X alone, so that CCA can stand in a Pipeline"
EXPECTED = {
    CCA: {"check_transformer_general": _SCORES, "check_transformer_data_not_an_array": _SCORES}
}
ESTIMATORS = {
    "FastICA": FastICA(2, max_iter=50),
    "PCA": PCA(2),
    "PCA, white": PCA(whiten=True),
    "CCA": CCA(1),
    "ContrastiveEmbedding": ContrastiveEmbedding(2, nets={"x": nets.linear()}, steps=2),
}
QUICK = (
    "check_no_attributes_set_in_init",
    "check_transformers_unfitted",
    "check_estimators_nan_inf",
    "check_n_features_in",
    "check_estimator_sparse_array",
    "check_fit2d_1sample",
)


@cache
def _data(rows=200, features=4, seed=0):
    """Mixed Laplace sources of unequal variance, far from 0; and a second block that shares two."""
    rng = np.random.default_rng(seed)
    sources = rng.laplace(size=(rows, features))
    mixed = sources @ rng.normal(size=(features, features)) * 3 + 5
    other = sources[:, :2] @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(rows, 3)) - 2
    return sources, mixed, other


@pytest.mark.parametrize("check", QUICK)
@pytest.mark.parametrize("name", ["FastICA", "PCA", "CCA"])
def test_conventions_in_short(name, check):
    getattr(estimator_checks, check)(type(ESTIMATORS[name]).__name__, clone(ESTIMATORS[name]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_conventions(name):
    estimator = ESTIMATORS[name]
    expected = EXPECTED.get(type(estimator), {})
    told = check_estimator(
        estimator, expected_failed_checks=expected, on_skip=None, on_fail="raise"
    )
    failed = {r["check_name"] for r in told if r["status"] == "xfail"}
    assert failed == set(expected) and len(told) > 40


def _signed(a, b):
    """Columns of b with the signs of a's."""
    return b * np.sign(np.sum(a * b, axis=0))


@pytest.mark.parametrize("rows, features", [(200, 4), (5, 9)])
def test_pca_is_sklearn_s(rows, features):
    _, x, _ = _data(rows, features)
    for whiten in (False, True):
        k = min(rows - 1, features - 1)
        ours = PCA(k, whiten=whiten).fit(x)
        theirs = sklearn.decomposition.PCA(k, whiten=whiten, svd_solver="full").fit(x)
        same = dict(rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, **same)
        ratio = theirs.explained_variance_ratio_
        np.testing.assert_allclose(ours.explained_variance_ratio_, ratio, **same)
        scores, expected = ours.transform(x), theirs.transform(x)
        np.testing.assert_allclose(_signed(expected, scores), expected, rtol=1e-6, atol=1e-7)
        back = theirs.inverse_transform(expected)
        np.testing.assert_allclose(ours.inverse_transform(scores), back, rtol=1e-6, atol=1e-7)
        largest = np.abs(ours.components_).argmax(axis=1)
        assert (ours.components_[np.arange(k), largest] > 0).all()


@pytest.mark.parametrize("algorithm, contrast", [("picard", "logcosh"), ("parallel", "cube")])
def test_fast_ica_is_sklearn_s(algorithm, contrast):
    sources, x, _ = _data(2000)
    ours = FastICA(algorithm=algorithm, contrast=contrast, tol=1e-9, random_state=0).fit(x)
    theirs = sklearn.decomposition.FastICA(
        whiten="unit-variance", fun=contrast, tol=1e-12, max_iter=2000, random_state=0
    ).fit(x)
    found, expected = ours.transform(x), theirs.transform(x)
    alike = np.corrcoef(found.T, expected.T)[:4, 4:]
    match = np.abs(alike).argmax(axis=1)
    assert sorted(match) == [0, 1, 2, 3]
    np.testing.assert_allclose(np.abs(alike[np.arange(4), match]), 1, atol=1e-7)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(ours.inverse_transform(found), x, rtol=1e-8)
    np.testing.assert_allclose(ours.components_ @ ours.mixing_, np.eye(4), atol=1e-8)
    true = np.abs(np.corrcoef(found.T, sources.T)[:4, 4:]).max(axis=1)
    assert (true > 0.97).all() and ours.n_iter_ > 1 and (np.diff(ours.negentropy_) <= 0).all()


def test_cca_is_sklearn_s():
    _, x, y = _data()
    ours = CCA(3).fit(x, y)
    theirs = sklearn.cross_decomposition.CCA(3, max_iter=20000, tol=1e-14).fit(x, y)
    for found, expected in zip(ours.transform(x, y), theirs.transform(x, y), strict=True):
        alike = np.diag(np.corrcoef(found.T, expected.T)[:3, 3:])
        np.testing.assert_allclose(np.abs(alike), 1, atol=1e-5)
        np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=1e-5)
    # By the angles between the column spaces (Bjorck and Golub 1973).
    left, right = (np.linalg.qr(v - v.mean(0))[0] for v in (x, y))
    angles = np.linalg.svd(left.T @ right, compute_uv=False)
    np.testing.assert_allclose(ours.correlations_, angles, rtol=1e-6)
    scores = ours.transform(x, y)
    pairs = np.diag(np.corrcoef(scores[0].T, scores[1].T)[:3, 3:])
    np.testing.assert_allclose(pairs, ours.correlations_, rtol=1e-6)


def test_inverse_of_cca_is_least_squares():
    _, x, y = _data()
    scores = CCA(2).fit(x, y).transform(x, y)
    back = CCA(2).fit(x, y).inverse_transform(*scores)
    for values, score, found in zip((x, y), scores, back, strict=True):
        centred = values - values.mean(0)
        expected = score @ np.linalg.lstsq(score, centred, rcond=None)[0] + values.mean(0)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_are_kept_and_fitted_ones_travel(dtype):
    _, x, y = (v.astype(dtype) for v in _data())
    for estimator in (FastICA(3, random_state=0), PCA(3), CCA(3)):
        fitted = clone(estimator).fit(x, y)
        again = pickle.loads(pickle.dumps(fitted))
        assert fitted.transform(x).dtype == dtype
        np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
        kinds = {type(v).__module__.split(".")[0] for v in vars(fitted).values()}
        assert kinds <= {"numpy", "builtins"}
        name = type(fitted).__name__.lower()
        assert fitted.get_feature_names_out().tolist() == [f"{name}{i}" for i in range(3)]
        shown = [v for v in vars(clone(fitted)) if v.endswith("_")]
        assert not shown and clone(fitted).get_params() == estimator.get_params()


def test_they_stand_in_pipelines():
    sources, x, y = _data()
    label = sources[:, 0] > 0
    ica = make_pipeline(StandardScaler(), FastICA(4, random_state=0), LogisticRegression())
    assert cross_val_score(ica, x, label, cv=3).min() > 0.8
    search = GridSearchCV(
        make_pipeline(PCA(), Ridge()), {"pca__n_components": [1, 4], "pca__whiten": [True]}, cv=3
    )
    assert search.fit(x, sources[:, 1]).best_params_["pca__n_components"] == 4
    assert make_pipeline(CCA(2), Ridge()).fit(x, y).score(x, y) > 0.5


def test_what_is_not_allowed_is_told():
    _, x, y = _data()
    for call, told in (
        (lambda: PCA(5).fit(x), "n_components: 5 is not allowed; use None, or a whole number from"),
        (lambda: PCA(0.9).fit(x), "n_components: 0.9"),
        (lambda: FastICA(0).fit(x), "n_components: 0"),
        (lambda: FastICA(algorithm="jade").fit(x), "algorithm: 'jade'"),
        (lambda: CCA(4).fit(x, y), "n_components: 4"),
        (lambda: CCA(None).fit(x, y), "n_components: None"),
        (lambda: CCA(1).fit(x, y).transform(x, y[:, :2]), "y: (200, 2)"),
        (lambda: PCA(2).fit(x).inverse_transform(x), "components: (200, 4)"),
    ):
        with pytest.raises(InvalidInput) as error:
            call()
        assert told in str(error.value)
    with pytest.warns(ConvergenceWarning, match="no convergence in 1 passes"):
        FastICA(max_iter=1, tol=1e-12).fit(x)


def test_directions_that_the_rows_do_not_have_are_left_out():
    _, x, _ = _data()
    twice = np.hstack([x, x])
    assert FastICA(random_state=0).fit(twice).components_.shape == (4, 8)


BLOCKS = {"x": slice(0, 5), "t": [5, 6, 7, 8]}


@cache
def _shared():
    """Two blocks of the same two factors, each bent or not, and noise of its own."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    blocks = np.tanh(z @ rng.normal(size=(2, 5))), z @ rng.normal(size=(2, 4))
    return z, np.hstack([b + 0.1 * rng.normal(size=b.shape) for b in blocks])


def _embedding(**how):
    linear = dict.fromkeys(BLOCKS, nets.linear())
    how = dict(blocks=BLOCKS, nets=linear, random_state=0, head="none") | how
    return ContrastiveEmbedding(2, **how)


def test_a_block_may_be_called_as_an_argument_is():
    _, x = _shared()
    blocks = {"data": BLOCKS["x"], "self": BLOCKS["t"]}
    linear = dict.fromkeys(blocks, nets.linear())
    renamed = _embedding(steps=2, blocks=blocks, nets=linear).fit(x[:20])
    assert np.isfinite(renamed.transform(x[:5])).all()


def test_a_contrastive_embedding_stands_in_a_pipeline_and_travels():
    z, x = _shared()
    line = make_pipeline(StandardScaler(), _embedding(steps=200), Ridge()).fit(x[:300], z[:300])
    assert line.score(x[300:], z[300:]) > 0.8
    fitted = line[1]
    again = pickle.loads(pickle.dumps(fitted))
    out = fitted.transform(x)
    assert out.shape == (400, 4) and out.dtype == np.float32
    np.testing.assert_array_equal(again.transform(x), out)
    # Programs of so many rows: machines sum these in another order.
    np.testing.assert_allclose(fitted.transform(x[7:9]), out[7:9], rtol=1e-5, atol=1e-6)
    assert again.get_params()["blocks"] == BLOCKS
    # Block after block: the first columns are of the first block alone.
    changed = np.where(np.arange(9) < 5, x, 0)
    np.testing.assert_array_equal(fitted.transform(changed)[:, :2], out[:, :2])
    assert fitted.get_feature_names_out().tolist() == [f"contrastiveembedding{i}" for i in range(4)]
    fresh = clone(fitted)
    assert not hasattr(fresh, "model_") and fresh.steps == 200


def test_losses_of_an_embedding_follow_from_what_it_is_given():
    whole = slice(0, 9)
    for how, loss in (
        ({}, "info_nce"),
        ({"blocks": None, "nets": None}, "nt_xent"),
        ({"blocks": {"x": whole}, "nets": None, "use_y": True}, "supcon"),
        ({"loss": "siglip"}, "siglip"),
    ):
        estimator = _embedding(**how)
        estimator.blocks_ = estimator.blocks or {"x": whole}
        assert estimator._loss() == loss


def test_blocks_that_are_not_there_are_told():
    z, x = _shared()
    for how, told in (
        ({"blocks": {}}, "blocks: {}"),
        ({"blocks": {"x": [9]}}, "blocks: x: index 9 is out of bounds"),
        ({"blocks": {"x": slice(9, 12)}}, "blocks: x: slice(9, 12, None)"),
        ({"blocks": {"x": slice(0, 99)}}, "blocks: x: slice(0, 99, None) ends behind"),
        ({"blocks": {"x": "ab"}}, "blocks: x: "),
        ({"use_y": True}, "y: None is not allowed; use classes, with use_y=True"),
    ):
        with pytest.raises(InvalidInput) as error:
            _embedding(**how).fit(x)
        assert told in str(error.value)
