"""DCI, MIG, SAP: invariances and cases worked by hand, then scikit-learn, then corner cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.metrics import mutual_info_score

from mmjax.errors import InvalidInput
from mmjax.evaluate import dci, least_dci_rows, linear_r2, mig, sap
from mmjax.evaluate.disentanglement import in_bins, mutual_information
from mmjax.evaluate.lasso import lasso
from mmjax.evaluate.splits import half_rows

N = 1000
METRICS = {
    "linear": dci,
    "forest": lambda f, y: dci(f, y, importance="forest", trees=20, seed=0),
    "mig": mig,
    "sap": sap,
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def _normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def _array(x):
    return jnp.asarray(x, jnp.float32)


def _named(z):
    return {f"z{i}": column for i, column in enumerate(z.T)}


def _mixed(z):
    """One factor of three classes, the others continuous."""
    return _named(z) | {"z0": np.digitize(z[:, 0], [-0.5, 0.5])}


def _main(found):
    return found.disentanglement if hasattr(found, "disentanglement") else found.mean


def _uniform(n=N, d=3):
    return np.random.default_rng(0).uniform(-1, 1, (n, d))


@every_metric
def test_permuted_and_scaled_factors_are_disentangled_and_turned_ones_not(metric):
    z = _uniform()
    matched = metric(_array(z[:, [2, 0, 1]] * [-1, 10, 0.1] + 5), _named(z))
    turned = metric(_array(z @ stats.ortho_group(3, seed=0).rvs()), _named(z))
    assert _main(matched) > 0.93
    assert _main(turned) < 0.5
    if metric is dci:
        for score in (matched.disentanglement, matched.completeness, matched.informativeness):
            np.testing.assert_allclose(score, 1, atol=1e-4)
        np.testing.assert_allclose(turned.informativeness, 1, atol=1e-4)
        assert turned.completeness < 0.5


@pytest.mark.parametrize("name", METRICS)
def test_permutation_sign_and_scale_of_features_change_nothing(name):
    """But the order of the features, and what the forest draws."""
    z, metric = _uniform(), METRICS[name]
    mixture = z @ _normal(1, 3, 4) + 0.3 * _normal(2, N, 4)
    order = [2, 3, 0, 1]
    first = metric(_array(mixture), _mixed(z))
    other = metric(_array((mixture * [-1, 1, -100, 0.1])[:, order]), _mixed(z))
    np.testing.assert_allclose(_main(first), _main(other), atol=0.02)
    if hasattr(first, "importance"):
        atol = 0.1 if name == "forest" else 1e-3
        np.testing.assert_allclose(first.importance[order], other.importance, atol=atol)
        np.testing.assert_allclose(first.per_feature[order], other.per_feature, atol=atol)


@every_metric
@pytest.mark.parametrize("discrete", [False, True])
def test_a_factor_that_no_feature_encodes_gets_nothing(metric, discrete):
    z = _uniform()
    noise = _normal(1, N, 4)
    found = metric(
        _array(np.c_[z[:, 1:] + 0.01 * noise[:, :2], noise[:, 2:]]),
        _mixed(z) if discrete else _named(z),
    )
    if hasattr(found, "importance"):
        assert found.completeness_of["z0"] < 0.1
        assert found.informativeness_of["z0"] < 0.05
        assert found.informativeness_of["z1"] > 0.95
    else:
        assert found.per_factor["z0"] < 0.05
        assert found.per_factor["z1"] > 0.5
        np.testing.assert_allclose(found.mean, np.mean(list(found.per_factor.values())))


def test_dci_by_hand():
    """Every factor twice: complete to 1 - log 2 / log 4. Two factors in one feature: worth 0."""
    z = _normal(0, N, 2)
    found = dci(_array(np.c_[z, z]), _named(z))
    np.testing.assert_allclose(found.completeness, 0.5, atol=1e-3)
    np.testing.assert_allclose(found.disentanglement, 1, atol=1e-3)
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * (N // 4))  # exactly uncorrelated
    found = dci(
        _array(np.c_[signs.sum(1), signs[:, 0], signs[:, 0] * signs[:, 1]]), _named(signs * 1.0)
    )
    np.testing.assert_allclose(found.importance[2], 0, atol=1e-6)
    assert found.per_feature[2] == 0
    np.testing.assert_allclose(found.informativeness, 1, atol=1e-5)
    kinds = {"classes": signs[:, 0], "number": signs[:, 0] * 10.0}
    found = dci(_array(np.c_[signs, signs]), kinds)
    np.testing.assert_allclose(found.importance[:, 0], found.importance[:, 1], atol=1e-5)
    shared = dci(_array(signs.sum(1, keepdims=True)), _named(signs * 1.0))
    np.testing.assert_allclose(shared.per_feature, 0, atol=1e-6)
    np.testing.assert_allclose(shared.disentanglement, 0, atol=1e-6)
    np.testing.assert_allclose([*shared.completeness_of.values()], 1)
    np.testing.assert_allclose([*shared.informativeness_of.values()], 0.5, atol=0.03)


def test_disentanglement_is_the_mean_weighted_by_importance():
    z = _uniform()
    found = dci(_array(z @ _normal(1, 3, 4)), _mixed(z), penalty=0.02)
    weights = found.importance
    assert weights.shape == (4, 3)
    for scores, table in (
        (found.per_feature, weights),
        (found.completeness_of.values(), weights.T),
    ):
        entropies = [stats.entropy(row, base=len(row)) for row in table]
        np.testing.assert_allclose(list(scores), 1 - np.array(entropies), atol=1e-6)
    share = weights.sum(1) / weights.sum()
    np.testing.assert_allclose(found.disentanglement, share @ found.per_feature)
    np.testing.assert_allclose(found.completeness, np.mean([*found.completeness_of.values()]))
    r2 = linear_r2(_array(z @ _normal(1, 3, 4)), _array(z[:, 1:2]))
    np.testing.assert_allclose(found.informativeness_of["z1"], r2, atol=1e-5)


def test_mig_by_hand():
    """Four classes: all of a feature's log 4 nats, then a feature with log 2 of them."""
    v = np.tile(np.arange(4), 16)
    halved, other = v >= 2, np.repeat(np.arange(4), 16)
    for features, want in (
        ([v, halved], 0.5),
        ([halved, v, v], 0),
        ([v, other], 1),
        ([halved, other], 0.5),
        ([halved], 0.5),
        ([v % 2, halved], 0),
    ):
        got = mig(_array(np.stack(features, 1)), {"v": v})
        np.testing.assert_allclose(got.per_factor["v"], want, atol=1e-6)
    got = mig(_array(np.stack([v, halved], 1)), {"v": v * 10.0, "h": halved, "o": other - 7})
    np.testing.assert_allclose([*got.per_factor.values()], [0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(got.mean, 0.5 / 3, atol=1e-6)


def test_sap_by_hand():
    """Squared correlations of continuous factors, accuracies of discrete ones."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 1000)
    v, other = signs.T
    weak = 3 * v + 4 * other  # correlation 0.6 with v
    quarter = np.tile([0, 0, 0, 1], 1000)
    for features, factor, want in (
        ([v, weak], v * 1.0, 1 - 0.36),
        ([weak, other], v * 1.0, 0.36),
        ([weak], v * 1.0, 0.36),
        ([v, other], v, 0.5),
        ([-v, v], v, 0),
        ([v], v, 0.5),
        ([other], v, 0),
        ([quarter], quarter, 0.25),
    ):
        got = sap(_array(np.stack(features, 1)), {"v": factor}, l2=0.01)
        np.testing.assert_allclose(got.mean, want, atol=0.04 if factor.dtype.kind == "i" else 1e-5)


def test_mutual_information_is_that_of_scikit_learn():
    a, b = np.random.default_rng(0).integers(0, 5, (2, 300))
    b = np.where(np.arange(300) % 2, a, b)
    for left, right in ((a, b), (a, a), (a, np.zeros_like(a))):
        table = np.zeros((6, 6))
        np.add.at(table, (left, right), 1)
        want = mutual_info_score(left, right)
        np.testing.assert_allclose(mutual_information(_array(table)), want, atol=1e-5)
    assert mutual_information(jnp.zeros((2, 3, 4))).tolist() == [0, 0]


@pytest.mark.parametrize("bins", [5, 20])
def test_mig_is_that_of_scikit_learn_and_bins_those_of_numpy(bins):
    z = _normal(0, N, 2)
    f = np.c_[z[:, 0] + 0.1 * z[:, 1], z[:, 0] + _normal(1, N), z[:, 1] ** 3].astype(np.float32)

    def binned(x):
        return np.clip(np.digitize(x, np.histogram_bin_edges(x, bins)) - 1, 0, bins - 1)

    np.testing.assert_array_equal(in_bins(_array(f), bins)[:, 2], binned(f[:, 2]))
    for name, factor in {
        "continuous": z[:, 0].astype(np.float32),
        "discrete": binned(z[:, 1]),
    }.items():
        codes = binned(factor) if name == "continuous" else factor
        scores = sorted(mutual_info_score(binned(column), codes) for column in f.T)
        want = (scores[-1] - scores[-2]) / mutual_info_score(codes, codes)
        np.testing.assert_allclose(mig(_array(f), {"v": factor}, bins=bins).mean, want, atol=2e-3)


def test_lasso_is_that_of_scikit_learn():
    """On features of unequal scale that correlate by 0.9 with one another, and others."""
    x = (_normal(0, 400, 6) + 3 * _normal(1, 400, 1)) * [1, 2, 1, 0.5, 1, 1]
    y = x @ (_normal(2, 6, 3) * [[1], [0], [1], [0], [1], [1]]) + 2 * _normal(3, 400, 3)
    x, y = x - x.mean(0), y - y.mean(0)
    for penalty in (0.03, 1.0, 1e4):  # the last is above all correlations
        want = Lasso(penalty, fit_intercept=False, tol=1e-8, max_iter=100_000).fit(x, y).coef_.T
        got = lasso(_array(x), _array(y), penalty)
        np.testing.assert_allclose(got, want, atol=2e-3)
    np.testing.assert_array_equal(got, 0)


def test_sap_of_classes_is_that_of_scikit_learn():
    z = _normal(0, N, 2)
    labels = np.digitize(z[:, 0], [-0.7, 0.2]) + 5
    f = np.c_[z[:, 1], z[:, 0] + 0.3 * z[:, 1], z[:, 0] + _normal(1, N)]
    fit, score = map(np.asarray, half_rows(None, N, [labels]))
    scores = []
    for column in f.T:
        column = (column[:, None] - column[fit].mean()) / column[fit].std()
        fitted = LogisticRegression().fit(column[fit], labels[fit])
        scores.append(fitted.score(column[score], labels[score]))
    want = np.sort(scores)[-1] - np.sort(scores)[-2]
    np.testing.assert_allclose(sap(_array(f), {"v": labels}).mean, want, atol=0.007)


def test_forest_is_that_of_scikit_learn_and_of_its_seed():
    z = _uniform(400)
    f = np.asarray(_array(z @ _normal(1, 3, 3)))
    grow = lambda seed: dci(_array(f), _mixed(z), importance="forest", trees=10, seed=seed)
    found = grow(3)
    factors = _mixed(z)
    z0, z1 = factors["z0"], factors["z1"]
    (fit, score), (own_fit, own_score) = (
        map(np.asarray, half_rows(None, 400, strata)) for strata in ([], [z0])
    )
    classes = RandomForestClassifier(10, random_state=3).fit(f[own_fit], z0[own_fit])
    trees = RandomForestRegressor(10, random_state=3).fit(f[fit], z1[fit])
    np.testing.assert_allclose(found.importance[:, 0], classes.feature_importances_, atol=1e-4)
    np.testing.assert_allclose(found.importance[:, 1], trees.feature_importances_, atol=1e-3)
    r2 = trees.score(f[score], z1[score])
    np.testing.assert_allclose(found.informativeness_of["z1"], r2, atol=1e-3)
    guess = np.mean(z0[own_score] == np.bincount(z0[own_fit]).argmax())
    skill = (classes.score(f[own_score], z0[own_score]) - guess) / (1 - guess)
    np.testing.assert_allclose(found.informativeness_of["z0"], skill, atol=0.01)
    assert found.importance.tolist() == grow(3).importance.tolist() != grow(4).importance.tolist()


def _numbers(found):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])


@every_metric
def test_corner_cases_are_finite(metric):
    """Constants, one feature, duplicates; very few rows, of which dci tells nothing."""
    z = _normal(0, 40, 2)
    factors = {
        "v": z[:, 0],
        "i": np.arange(40) % 2,
        "none": np.full(40, 0.1),
        "one": np.ones(40, int),
    }
    for features in (z, z[:, [0, 0]], np.full((40, 2), 0.1), z[:, :1]):
        if features.shape[1] == 1:  # spares the compilation of a classifier
            factors.pop("i")
        found = metric(_array(features), factors)
        assert np.isfinite(_numbers(found)).all()
        scores = getattr(found, "completeness_of", None) or found.per_factor
        assert scores["none"] == scores["one"] == 0
        if hasattr(found, "informativeness_of"):
            assert found.informativeness_of["none"] == found.informativeness_of["one"] == 0
    same = metric(_array(np.repeat(z[:2], 20, axis=0)), factors)
    assert np.isfinite(_numbers(same)).all()
    few = metric(_array(z[:4]), {"v": z[:4, 0], "one": np.ones(4, int)})
    if hasattr(few, "informativeness"):
        assert np.isnan(few.informativeness)
    else:
        assert np.isfinite(_numbers(few)).all()


@every_metric
def test_a_constant_feature_gains_nothing_and_takes_nothing(metric):
    """The gap of one feature is to a constant one."""
    z = _uniform(N, 1)
    factors = _mixed(z) | {"v": z[:, 0]}
    f = z + 0.2 * _normal(1, N, 1)
    for value in (1234.567,):
        wider = metric(_array(np.c_[f, np.full((N, 3), value)]), factors)
        if hasattr(wider, "importance"):
            np.testing.assert_array_equal(wider.importance[1:], 0)
            np.testing.assert_allclose(wider.completeness, 1, atol=1e-6)
        else:
            np.testing.assert_allclose(_main(wider), _main(metric(_array(f), factors)), atol=1e-5)


@every_metric
@pytest.mark.parametrize(
    "factors", [{}, {"v": np.ones(9)}, {"v": np.ones((10, 1))}, {"v": [np.nan] * 10}]
)
def test_bad_factors_are_told(metric, factors):
    with pytest.raises(InvalidInput):
        metric(jnp.ones((10, 2)), factors)


@every_metric
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_feature_is_told(metric, value):
    features = _uniform(10)
    features[3, 1] = value
    with pytest.raises(InvalidInput, match="features: .*row 3, column 1"):
        metric(_array(features), {"v": np.ones(10)})


@every_metric
@pytest.mark.parametrize("shape", [(10,), (10, 0), (0, 2)])
def test_bad_features_are_told(metric, shape):
    with pytest.raises(InvalidInput):
        metric(jnp.ones(shape), {"v": np.ones(shape[0])})


def test_bad_options_are_told():
    features, factors = jnp.ones((10, 2)), {"v": np.ones(10)}
    for options in (
        {"importance": "forest"},
        {"importance": "trees", "seed": 0},
        {"penalty": 0.0},
        {"trees": 0},
    ):
        with pytest.raises(InvalidInput):
            dci(features, factors, **options)
    with pytest.raises(InvalidInput):
        mig(features, factors, bins=1)


def test_factors_of_a_table_are_their_values():
    """Objects of several sorts: 1, True and "1" are one class, b"x" is "x"."""
    codes = np.arange(60) % 2
    features = np.random.default_rng(0).normal(size=(60, 2)) + 3 * codes[:, None]
    stored = {0: [b"x", "x"], 1: [1, "1", 1.0, np.int8(1)]}
    kept = [stored[code][k % len(stored[code])] for k, code in enumerate(codes)]
    one, two = (sap(features, {"y": y}) for y in (1 - codes, np.array(kept, object)))
    assert one.per_factor == two.per_factor


def test_fewer_rows_than_the_least_tell_nothing_and_from_there_on_a_perfect_feature_is_told():
    x = np.random.default_rng(0).normal(size=(100, 3))
    factors = {"one": x[:, 0].astype(np.float32), "two": np.arange(100) % 3}
    least = least_dci_rows(3, factors)
    assert least == 2 * (int(2 * np.log(20 * 3 * 4)) + 1)
    for rows, told in ((least, True), (least - 2, False)):
        found = dci(x[:rows], {name: v[:rows] for name, v in factors.items()})
        assert (found.importance.max() > 0) == told
