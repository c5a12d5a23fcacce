"""Scores are of values: not of the type they are kept in, nor of units and offset; NaN is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import evaluate as ev
from mmjax.disentangle import (
    UNMIXINGS,
    canonical_directions,
    components,
    determined,
    fast_ica,
    pca,
    transform,
)
from mmjax.errors import InvalidInput
from mmjax.numerics import floating, normalise, require_finite, safe_norm

ROWS = 240
KEY = jax.random.key(0)
_RNG = np.random.default_rng(0)
LABELS = np.arange(ROWS) % 3
# Whole numbers of at most 7 bits, so that every type below holds them exactly.
_SOURCES = _RNG.laplace(size=(ROWS, 3)) + np.eye(3)[LABELS]
X = np.clip(np.round(12 * _SOURCES @ _RNG.normal(size=(3, 3))), -90, 90)
Y = np.clip(np.round(X @ _RNG.normal(size=(3, 2)) / 3 + 9 * _RNG.normal(size=(ROWS, 2))), -90, 90)
HALF = ROWS // 2
PROMPTS = np.stack([np.round(X[LABELS == k].mean(0)) for k in range(3)])


def _rows(x, part):
    return ev.Labelled(x[part::3], LABELS[part::3] * 0 + np.arange(ROWS)[part::3] % 2)


def _mapped(name):
    def score(x):
        affine = UNMIXINGS[name](x, KEY, 2)
        y = components(affine, x)
        return ev.correlations(y, x)

    return score


# name -> (score of x `[240, 3]`, whether an offset changes it)
SCORES = {
    "pearson": (lambda x: ev.mcc(x, Y[:, :2]), False),
    "spearman": (lambda x: ev.mcc(Y[:, :2], x, kind="spearman"), False),
    "r2 of features": (lambda x: ev.linear_r2(x, Y), False),
    "r2 of targets": (lambda x: ev.linear_r2(Y, x), False),
    "kernel": (lambda x: ev.kernel_r2(x, Y, alphas=(0.1,), gammas=(0.2,)).r2, False),
    "kernel's targets": (lambda x: ev.kernel_r2(Y, x, alphas=(0.1,), gammas=(0.2,)).r2, False),
    "network": (lambda x: ev.mlp_r2(x, Y, KEY, width=8, steps=20), False),
    "dci": (lambda x: ev.dci(x, {"y": Y[:, 0], "label": LABELS}).informativeness, False),
    "dci's factor": (lambda x: ev.dci(Y, {"x": x[:, 0] + 0.0}).informativeness, False),
    "mig": (lambda x: ev.mig(x, {"label": LABELS}).mean, False),
    "sap": (lambda x: ev.sap(x, {"y": Y[:, 0], "label": LABELS}).mean, False),
    "kurtosis": (ev.excess_kurtosis, False),
    "sparsity": (ev.sparsity, True),
    "linear probe": (
        lambda x: ev.linear_probe_accuracy(x[:HALF], LABELS[:HALF], x[HALF:], LABELS[HALF:], 3),
        False,
    ),
    "probe": (
        lambda x: ev.probe(
            "classification", *(_rows(x, k) for k in range(3)), strengths=(1.0,), refit=False
        )["accuracy"],
        False,
    ),
    "probe of targets": (
        lambda x: ev.probe(
            "regression", *(ev.Labelled(Y[k::3], x[k::3]) for k in range(3)), refit=False
        )["r2"],
        False,
    ),
    "neighbours": (
        lambda x: ev.knn_accuracy(x[:HALF], LABELS[:HALF], x[HALF:], LABELS[HALF:], 3),
        True,
    ),
    "zero-shot": (lambda x: ev.zero_shot_accuracy(x, LABELS, PROMPTS, np.arange(3)), True),
    "standardise": (lambda x: ev.standardise(x[:HALF], x[HALF:])[1], False),
    "cosines": (lambda x: normalise(x) @ normalise(PROMPTS).T, True),
    "pca": (lambda x: pca(x).directions ** 2, False),
    "whitening": (lambda x: (floating(x) - pca(x).mean) @ pca(x).whiten[:, :1], False),
    "fastica": (lambda x: jnp.abs(transform(fast_ica(x, KEY), x)), False),
    "canonical": (lambda x: canonical_directions(x, Y).correlations, False),
    "geometry": (
        lambda x: ev.geometry_of(x, x[:, ::-1], KEY, folds=2, candidates=16, steps=20).exponent,
        False,
    ),
    **{f"map {name}": (_mapped(name), False) for name in UNMIXINGS},
}
BASE = {}


def _base(name):
    if name not in BASE:
        BASE[name] = np.asarray(SCORES[name][0](X.astype(np.float32)))
        assert np.isfinite(BASE[name]).all()
    return BASE[name]


def _same(name, x, atol):
    got = np.asarray(SCORES[name][0](x))
    assert got.dtype.kind == "f" and got.dtype.itemsize >= 4, got.dtype
    # Of mig, whole numbers lie on the edges of bins: rounding decides to which side.
    np.testing.assert_allclose(got, _base(name), atol=max(atol, 0.05 * (name == "mig")))


TYPES = "float16 bfloat16 float64 int8 int16 int32 int64 >f2 >f4 >f8 >i2 >i8".split()
# Those that take seconds to compile are drawn at night.
LONG = ("geometry", "network", "map ica", "fastica", "sap", "dci", "probe", "kernel's targets")
QUICK = sorted(set(SCORES) - set(LONG))
every_score = pytest.mark.parametrize(
    "names", [QUICK, pytest.param(sorted(SCORES), marks=pytest.mark.slow)], ids=["quick", "all"]
)


@every_score
@settings(max_examples=8, deadline=None)
@given(st.data(), st.sampled_from(TYPES), st.booleans())
def test_the_type_of_the_numbers_changes_nothing(names, data, kind, on_device):
    name = data.draw(st.sampled_from(names))
    dtype = jnp.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    x = X.astype(dtype)
    _same(name, jnp.asarray(x) if on_device and not kind.startswith(">") else x, 2e-3)


@every_score
@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([1e-20, 1e-12, 1e12, 1e20]), st.booleans())
def test_the_unit_of_the_numbers_changes_nothing(names, data, unit, on_device):
    name = data.draw(st.sampled_from(names))
    x = (X * unit).astype(np.float32) if on_device else X * unit
    _same(name, jnp.asarray(x) if on_device else x, 1e-2)


@every_score
@settings(max_examples=30, deadline=None)
@given(st.data(), st.booleans())
def test_a_large_offset_changes_nothing(names, data, whole):
    """Of float64 and integers, whose digits are all there, and of float32 whose unit is 1."""
    name = data.draw(st.sampled_from([n for n in names if not SCORES[n][1]]))
    x = (X + 1e6).astype(np.int64 if whole else np.float32)
    # FastICA's own mean is float32: its components are off by its last digit, .03 here.
    _same(name, x, 0.1 if name == "fastica" else 1e-2)


@every_score
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_an_error_or_nan_and_never_a_score(names, value):
    """Of rows fitted and rows scored, by halves and by thirds."""
    for name, row in ((name, row) for name in names for row in (1, HALF, ROWS - 1)):
        x = X.astype(np.float32)
        x[row, 0] = -value if row == 1 else value
        try:
            got = np.asarray(SCORES[name][0](x))
        except InvalidInput as error:
            assert "finite" in str(error) and "\n" not in str(error), name
            continue
        assert np.isnan(got).any() and not np.isinf(got).any(), (name, row)
        assert got.ndim or np.isnan(got), (name, row)


@every_score
@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([0.1, 7.7, -1e6, 3e20]))
def test_constant_columns_are_finite(names, data, value):
    name = data.draw(st.sampled_from(names))
    x = X.astype(np.float32)
    x[:, 1] = value
    assert np.isfinite(np.asarray(SCORES[name][0](x))).all()


@pytest.mark.parametrize("n", [10, 1000])
@pytest.mark.parametrize("value", [0.1, 0.3, 7.7, 1e20])
def test_a_constant_has_no_kurtosis(n, value):
    assert ev.excess_kurtosis(jnp.full((n, 1), value, jnp.float32)).tolist() == [0]


def test_correlations_of_many_rows_are_those_of_four():
    """A sum row by row is off by 3e-4 here; narrow arrays are what such sums are made of."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    mixed = np.stack([signs[:, 0], signs @ np.float32([3, 4])], 1)
    many = (np.tile(v, (50_000, 1)) for v in (signs[:, :1], mixed))
    np.testing.assert_allclose(ev.correlations(*many), [[1, 0.6]], atol=2e-6)


def test_half_precision_of_many_rows():
    """Sums and ranks of more rows than the type counts to."""
    z = np.random.default_rng(0).normal(size=(70_000, 2)).astype(np.float16)
    for kind in ("pearson", "spearman"):
        assert ev.mcc(z * 100, z, kind=kind) > 0.9999


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_norms_are_in_float32(dtype):
    x = jnp.asarray([[300.0, 400.0], [0, 0]], dtype)
    assert safe_norm(x).tolist() == [500, 0] and safe_norm(x).dtype == jnp.float32
    np.testing.assert_allclose(normalise(x), [[0.6, 0.8], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e38])
def test_directions_are_of_length_one_in_any_unit(scale):
    x = jnp.asarray([0.3, -1.0, 0.5]) * scale
    assert float(jnp.linalg.norm(normalise(x))) == pytest.approx(1, rel=1e-6)
    assert float(safe_norm(x) / scale) == pytest.approx(1.157584, rel=1e-5)


QUICK_X64 = "dci's factor"


@pytest.mark.parametrize(
    "name",
    [QUICK_X64, *(pytest.param(n, marks=pytest.mark.slow) for n in SCORES if n != QUICK_X64)],
)
def test_x64_changes_nothing(name):
    want = _base(name)
    with jax.enable_x64(True):
        for x in (jnp.asarray(X, jnp.float32), X):
            np.testing.assert_allclose(SCORES[name][0](x), want, atol=2e-2)


def _texts(codes):
    return np.array(["aster", "lily", "rose"])[codes]  # their order breaks ties


NAMED = {
    "text": _texts,
    "bytes": lambda c: _texts(c).astype("S"),
    "objects": lambda c: _texts(c).astype(object),
    "int64": lambda c: c + 2**40,
    "uint64": lambda c: c.astype(np.uint64) + 2**63,
    "float64": lambda c: c.astype(float),
    ">i8": lambda c: c.astype(">i8"),
    "int8": lambda c: c.astype(np.int8),
}


@pytest.mark.parametrize("kind", NAMED)
def test_labels_are_equal_to_themselves_however_they_are_kept(kind):
    of, x = NAMED[kind], X.astype(np.float32)
    fit, test = slice(0, HALF), slice(HALF, None)
    shifted = np.roll(LABELS, 1)
    assert ev.accuracy(of(LABELS), of(LABELS)) == 1 and ev.accuracy(of(LABELS), of(shifted)) == 0
    assert ev.mean_recall(of(LABELS), of(shifted), 3) == 0
    for score in (ev.knn_accuracy, ev.linear_probe_accuracy):
        want = score(x[fit], LABELS[fit], x[test], LABELS[test], 3)
        assert score(x[fit], of(LABELS)[fit], x[test], of(LABELS)[test], 3) == want
    want = ev.zero_shot_accuracy(x, LABELS, PROMPTS, np.arange(3))
    assert ev.zero_shot_accuracy(x, of(LABELS), PROMPTS, of(np.arange(3))) == want
    if kind != "float64":  # a factor of floats is a number, not a class
        found = (ev.sap(x, {"v": of(v)}).mean for v in (LABELS,))
        assert next(found) == pytest.approx(ev.sap(x, {"v": LABELS}).mean, abs=1e-6)


def test_large_numbers_that_differ_in_their_last_digit_differ():
    """Neither int32, in which they are both 1, nor float64, in which they are one number."""
    one = np.array([1, 1 + 2**32, 2**53, 2**53])
    assert ev.accuracy(one, np.array([1, 1, 2**53 + 1, 2**53])) == 0.5


@pytest.mark.parametrize(
    "labels, told",
    [
        (np.array([0.0, np.nan, 1.0]), "row 1"),
        (np.array([0, 1, 3]), "0 to 2"),
        (np.array([-1, 1, 2]), "0 to 2"),
        (np.array([None, 1, 2]), "whole numbers or text"),
    ],
)
def test_labels_that_are_none_are_told(labels, told):
    x = X[:3].astype(np.float32)
    for call in (
        lambda: ev.linear_probe_accuracy(x, labels, x, labels, 3),
        lambda: ev.knn_accuracy(x, labels, x, labels, 3, neighbours=1),
        lambda: ev.fit_logistic(x, labels, 3),
        lambda: ev.mean_recall(labels, labels, 3),
    ):
        with pytest.raises(InvalidInput, match=told):
            call()


@pytest.mark.parametrize(
    "labels, prompts, told",
    [
        (np.array([0, 0, 2, 2]), np.array([0, 2]), "none of 1"),
        (np.array([0, 1, 2, 1]), np.array([0, 1]), "none of 2"),
        (np.array(["cat", "dog", "cat", "cow"]), np.array(["cat", "dog"]), "none of cow"),
        (np.array([0, 1, 1, 1]) + 2**40, np.array([2**40, 5]), f"none of {2**40 + 1}"),
    ],
)
def test_a_class_without_a_prompt_is_refused_by_name(labels, prompts, told):
    with pytest.raises(InvalidInput, match=told):
        ev.zero_shot_accuracy(-jnp.ones((4, 3)), labels, jnp.ones((2, 3)), prompts)


def test_the_place_of_a_nan_is_told():
    x = X.copy()
    x[7, 2] = np.nan
    with pytest.raises(InvalidInput, match="features: '1 NaN .*row 7, column 2"):
        require_finite(x, "features")
    with pytest.raises(InvalidInput, match="row 7, column 2"):
        ev.top_rows(x, 3)


@pytest.mark.parametrize("x", [np.array(["1"]), np.array([1j]), np.array([None])], ids=str)
def test_what_is_no_real_number_is_told(x):
    with pytest.raises(InvalidInput, match="real numbers"):
        floating(x)


def test_rank_is_that_of_any_unit():
    assert [determined(X * s) for s in (1e-20, 1.0, 1e18)] == [3, 3, 3]
