"""Few-shot methods against independent float64 versions, searches against brute force."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.data import read_few_shot, with_shifts, with_texts
from mmjax.errors import InvalidInput
from mmjax.evaluate.few_shot import in_span
from mmjax.few_shot import (
    PLAIN,
    base,
    draw_sizes,
    fit_unmixing,
    make_draws,
    methods,
    search_plane,
    tuned,
    unmixings,
)
from mmjax.few_shot.caches import ape_columns, cca_scores, gaussian_discriminant, tip_scores
from mmjax.few_shot.probes import LINEAR
from mmjax.few_shot.search import line_accuracies
from mmjax.few_shot.training import train
from mmjax.tables import few_shot as table
from mmjax.tables.few_shot import judged

CLASSES, WIDTH = 4, 12


NAMES = np.array(["aa", "bb", "cc", "dd"])


def odd_row(rows, value):
    """One value in row 7, column 3 that is none."""
    x = np.ones((rows, WIDTH))
    x[7, 3] = value
    return x


def rows_of(rng, each, spread=0.6):
    """Unit rows around the class's axis."""
    labels = np.repeat(np.arange(CLASSES), each)
    x = np.eye(WIDTH)[labels] + spread * rng.normal(size=(len(labels), WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.fixture
def written(tmp_path):
    """Writes a set; arrays that are given replace or, where None, remove its own."""

    def write(name="toys.npz", **other):
        rng = np.random.default_rng(0)
        arrays = {}
        for part, each in (("train_1", 1), ("train_4", 4), ("val", 5), ("test", 20)):
            arrays[part], arrays[f"{part}_labels"] = rows_of(rng, each)
        arrays["text"] = np.eye(WIDTH, dtype=np.float32)[:CLASSES] + 0.1
        arrays |= other
        path = tmp_path / name
        gone = {k for k, v in arrays.items() if v is None}
        gone |= {f"{k}_labels" for k in gone}  # half of a pair is refused
        np.savez(path, **{k: v for k, v in arrays.items() if k not in gone})
        return str(path)

    return write


def drawn(path, shots=2, draws=2):
    keys = jax.random.split(jax.random.key(0), draws)
    return make_draws(read_few_shot(path), keys, shots=shots, validation=4, texts="text")


def found_by(name, draws, tests):
    method = next(m for m in methods((4,)) if m.name == name)
    maps = unmixings((4,)) | {PLAIN.name: PLAIN}
    unmixing = maps.get(method.unmixing)
    params = None if unmixing is None else fit_unmixing(unmixing, draws)
    return judged(method, unmixing, params, draws, tests, CLASSES)


def test_line_search_is_brute_force():
    rng = np.random.default_rng(0)
    base, added = rng.normal(size=(2, 50, 6))
    labels = rng.integers(0, 6, 50)
    weights = np.linspace(0, 4, 41)
    found = line_accuracies(*map(jnp.asarray, (base, added, labels, weights)))
    right = [np.mean((base + w * added).argmax(1) == labels) for w in weights]
    np.testing.assert_allclose(found, right, atol=1e-6)


def test_line_search_where_classes_tie():
    base = jnp.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    labels = jnp.array([0, 1, 0, 1])
    for added in (jnp.ones((4, 2)), jnp.zeros((4, 2)), jnp.array([[1.0, 0.0]] * 4)):
        weights = jnp.array([0.0, 0.5, 2.0])
        right = [jnp.mean((base + w * added).argmax(1) == labels) for w in weights]
        np.testing.assert_allclose(line_accuracies(base, added, labels, weights), right)


def test_plane_search_is_brute_force():
    rng = np.random.default_rng(1)
    base, added, more = rng.normal(size=(3, 40, 5))
    labels, outer, inner = rng.integers(0, 5, 40), np.linspace(0.1, 3, 7), np.linspace(0, 2, 9)
    terms = lambda v: (jnp.asarray(base), jnp.asarray(added) + v * jnp.asarray(more))
    found = search_plane(terms, *map(jnp.asarray, (labels, outer, inner)))
    scores = {
        (o, i): np.mean((base + i * (added + o * more)).argmax(1) == labels)
        for o, i in itertools.product(outer, inner)
    }
    assert float(found.accuracy) == pytest.approx(max(scores.values()))
    np.testing.assert_allclose((found.outer, found.inner), max(scores, key=scores.get), rtol=1e-6)


def test_nothing_that_is_chosen_depends_on_test_labels(written):
    draws, tests = drawn(written())
    rows = tests["test"]
    scrambled = {"test": rows._replace(labels=rows.labels[::-1])}
    for method in methods((4,)):
        right, choices = found_by(method.name, draws, tests)
        wrong, same = found_by(method.name, draws, scrambled)
        for name in choices:
            np.testing.assert_array_equal(choices[name], same[name])
        assert (right["test"] != wrong["test"]).any() or "L1" in method.name


@pytest.mark.parametrize("name", ["Tip-Adapter", "CCA", "APE", "GDA", "LP++", "TaskRes"])
def test_rows_that_are_repeated_for_one_shape_change_nothing(written, monkeypatch, name):
    draws, tests = drawn(written(), shots=2, draws=1)
    full = found_by(name, draws, tests)
    monkeypatch.setattr(base, "_FULL", (2, 2))
    assert base.filled(draws, CLASSES)[0].x.shape == draws.x.shape
    own = found_by(name, draws, tests)
    for a, b in zip(full, own, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_allclose(a[key], b[key], rtol=1e-5)


def test_an_l2_probe_is_blind_to_rotations(written):
    draws, tests = drawn(written(), shots=4)
    names = [f"PCA 4 + {kind}" for kind in ("whitening", "FastICA", "random rotation")]
    found = [found_by(name, draws, tests)[0]["test"] for name in names]
    np.testing.assert_allclose(found[0], found[1], atol=0.03)
    np.testing.assert_allclose(found[0], found[2], atol=0.03)


def test_linear_probe_is_sklearns(written):
    from sklearn.linear_model import LogisticRegression

    draws, tests = drawn(written(), shots=2, draws=1)
    right, choices = found_by("linear probe", draws, tests)
    x, y, rows = draws.x[0], draws.labels[0], tests["test"]
    scale = np.sqrt(np.mean((np.concatenate([x, draws.val[0]])) ** 2))
    own = LogisticRegression(C=float(choices["C"][0]), tol=1e-8, max_iter=5000).fit(x / scale, y)
    assert right["test"][0] == pytest.approx(own.score(rows.x / scale, rows.labels), abs=0.03)


@pytest.mark.parametrize("shots", [1, 2, 4])
def test_a_linear_probe_weighs_no_axis_that_no_row_has(written, shots):
    """Repeated rows, and fewer than columns: along other axes there is rounding alone."""
    draws, _ = drawn(written(), shots=shots)
    weights = LINEAR["l2"](draws, CLASSES).params["weights"]
    for x, w in zip(np.asarray(draws.z, np.float64), np.asarray(weights, np.float64), strict=True):
        _, sizes, axes = np.linalg.svd(x - x.mean(0))
        seen = axes[: np.sum(sizes > 1e-6 * sizes[0])]
        assert np.abs(w - seen.T @ (seen @ w)).max() < 1e-5 * np.abs(w).max()


def test_no_axis_of_the_span_is_rounding_alone():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(6, 20)), 2, axis=0).astype(np.float32)
    own, other = map(np.asarray, in_span(x, [rng.normal(size=(9, 20)).astype(np.float32)]))
    np.testing.assert_allclose(own @ own.T, x @ x.T, atol=1e-4)
    gone = np.abs(own).max(0) < 1e-4
    assert gone.any() and not own[:, gone].any() and not other[:, gone].any()


def test_zero_shot_and_means_are_their_formulas(written):
    draws, tests = drawn(written())
    rows = tests["test"]
    x = np.asarray(rows.x, np.float64)
    texts = np.asarray(draws.texts[0], np.float64)
    right = np.mean((x @ texts.T).argmax(1) == rows.labels)
    np.testing.assert_allclose(found_by("zero-shot", draws, tests)[0]["test"], right, atol=1e-6)
    for k, found in enumerate(found_by("nearest mean", draws, tests)[0]["test"]):
        own = np.asarray(draws.x[k], np.float64)
        means = np.stack([own[draws.labels[k] == c].mean(0) for c in range(CLASSES)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        assert found == pytest.approx(np.mean((x @ means.T).argmax(1) == rows.labels))


def test_draws_are_balanced_and_apart(written):
    few = read_few_shot(written())
    draws, _ = make_draws(few, jax.random.split(jax.random.key(0), 3), shots=4, validation=4)
    assert draws.x.shape == (3, 16, WIDTH) and draws.val.shape == (3, 16, WIDTH)
    assert (np.asarray(draws.labels) == np.repeat(np.arange(CLASSES), 4)).all()
    bare = few._replace(val=None, test=None)
    draws, tests = make_draws(bare, jax.random.split(jax.random.key(0), 3), shots=2, validation=4)
    for own in range(3):
        rows = np.concatenate([draws.x[own], draws.val[own], tests["test"].x[own]])
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_texts_of_some_classes_make_a_smaller_set(written):
    rng = np.random.default_rng(0)
    few = read_few_shot(written(text=rng.normal(size=(2, WIDTH)), text_labels=np.array([1, 3])))
    small = with_texts(few)
    assert small.name == "toys[2]" and len(small.classes) == 2
    assert set(small.test.labels) == {0, 1} and np.isfinite(small.texts["text"]).all()


@pytest.mark.parametrize(
    "other, told",
    [
        (
            dict(test=np.ones((80, 5), np.float32)),
            "array 'test' has 5 features a row, array 'train_4' has 12; use features of one model",
        ),
        (
            dict(text=np.ones((4, 5))),
            "array 'text' has 5 features a row, what is trained on has 12; use",
        ),
        (dict(test_labels=np.zeros(80, int)), "no test row of 3 of 4 classes"),
        (dict(test_labels=None), "no array 'test_labels'"),
        (
            dict(val=odd_row(20, np.nan)),
            r"array 'val' has NaN or infinity \(nan\), .* row 7, c.* 3",
        ),
        (
            dict(val=odd_row(20, np.inf)),
            r"array 'val' has NaN or infinity \(inf\), .* row 7, c.* 3",
        ),
        (dict(val=odd_row(20, 1e300)), "array 'val' has 1e.300, beyond float32 .* row 7, column 3"),
        (dict(test=np.zeros((80, WIDTH))), "array 'test' is all zeros in row 0; leave"),
        (dict(text=np.zeros((4, WIDTH))), "array 'text' is all zeros in row 0"),
        (dict(text=np.ones((3, WIDTH))), "array 'text' has 3 rows for 4 classes; use"),
        (
            dict(text=np.ones((1, WIDTH)), text_labels=np.array(["d"]), class_names=NAMES),
            "'d' in row 0 of array 'text_labels' is no class; use its class names; did you mean",
        ),
        (
            dict(val_labels=np.arange(20) % 4 - 1),
            "array 'val_labels' holds -1, first in row 0; use",
        ),
        (
            dict(val_labels=np.arange(20) % 5, class_names=NAMES),
            "array 'val_labels' holds 4, first in row 4; use whole numbers from 0 to 3",
        ),
        (dict(train_4_labels=np.full(16, 10**9)), "labels go up to 1000000000, and there are 120"),
        (dict(train_1=None, train_4=None), "use train_K"),
    ],
)
def test_bad_files_are_told_in_one_line(written, other, told):
    with pytest.raises(InvalidInput, match=told) as error:
        read_few_shot(written(**other))
    assert "\n" not in str(error.value)


def test_odd_rows_are_told(written):
    rng = np.random.default_rng(0)
    train, labels = rows_of(rng, 4)
    test, test_labels = rows_of(np.random.default_rng(5), 20)
    test[:3] = train[:3]
    few = read_few_shot(written(train_4=train, test=test, val=3 * rows_of(rng, 5)[0]))
    told = " ".join(few.remarks)
    assert "3 of 80 test rows repeat a training row" in told
    assert "20 of val: rows that are no unit vectors" in told
    np.testing.assert_allclose(np.linalg.norm(few.val.x, axis=1), 1, rtol=1e-5)


def test_rows_that_are_no_unit_vectors_are_told_once_and_of_any_length(written):
    """1e-30 and 1e30 have squares that float32 can't hold."""
    train, labels = rows_of(np.random.default_rng(0), 4)
    own = read_few_shot(written(train_1=None, train_4=train, text=np.eye(WIDTH)[:4]))
    for scale in (1e-30, 1e30):
        texts = (scale * np.eye(WIDTH)[:4]).astype(np.float32)
        given = dict(train_1=None, train_4=(scale * train).astype(np.float32), text=texts)
        few = read_few_shot(written(**given))
        np.testing.assert_allclose(few.pool.x, own.pool.x, rtol=2e-6)
        np.testing.assert_allclose(few.texts["text"], own.texts["text"])
    rng = np.random.default_rng(1)
    long = {part: 3 * rows_of(rng, each)[0] for part, each in (("train_4", 4), ("test", 20))}
    told = [line for line in read_few_shot(written(**long)).remarks if "unit" in line]
    assert told == ["16 of train, 80 of test: rows that are no unit vectors, and are made so"]


def test_texts_are_matched_to_classes_by_name(written):
    names = ["dd", "bb"]
    few = read_few_shot(
        written(class_names=NAMES, text=np.eye(WIDTH)[:2], text_labels=np.array(names))
    )
    assert np.isfinite(few.texts["text"][[1, 3]]).all() and few.texts["text"][3, 0] == 1


def test_float16_is_read(written):
    rng = np.random.default_rng(0)
    few = read_few_shot(written(test=rows_of(rng, 20)[0].astype(np.float16)))
    assert few.test.x.dtype == np.float32


def test_more_shots_than_rows_are_refused(written):
    few = read_few_shot(written())
    with pytest.raises(InvalidInput, match="shots: 6 is not allowed; use 1 to 5, the rows of"):
        draw_sizes(few, 6, 4)


def _softmax(v, axis):
    v = np.exp(v - v.max(axis, keepdims=True))
    return v / v.sum(axis, keepdims=True)


def _random_params(seed=0):
    rng = np.random.default_rng(seed)
    unit = lambda *shape: (lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True))(
        rng.normal(size=shape)
    )
    shots = 3
    return dict(
        x=unit(20, WIDTH),
        keys=unit(CLASSES * shots, WIDTH),
        texts=unit(CLASSES, WIDTH),
        z=rng.normal(size=(20, 5)),
        z_keys=rng.normal(size=(CLASSES * shots, 5)),
        one_hot=np.eye(CLASSES)[np.repeat(np.arange(CLASSES), shots)],
    )


def test_tip_and_cca_are_their_formulas():
    p = _random_params()
    x, k, w, z, zk, hot = (p[n] for n in ("x", "keys", "texts", "z", "z_keys", "one_hot"))
    given = {n: jnp.asarray(p[n]) for n in ("keys", "texts", "z_keys")}
    numbers = dict(alpha=1.3, beta=2.1, gamma=0.4, eta=0.7)
    tip = 100 * x @ w.T + 1.3 * np.exp(-2.1 * (1 - x @ k.T)) @ hot
    np.testing.assert_allclose(tip_scores(given | numbers, *map(jnp.asarray, (x, z))), tip, 2e-5)
    a = z @ zk.T
    a = (a - a.min(1, keepdims=True)) / np.ptp(a, axis=1)[:, None]
    cca = (
        100 * x @ w.T
        + 0.4 * 100 * x @ (k.T @ _softmax(k @ w.T, 0))
        + 0.7 * 100 * (_softmax(x @ w.T, 1) @ w) @ w.T
        + 1.3 * np.exp(-2.1 * (1 - a)) @ hot
    )
    found = cca_scores(given | numbers, *map(jnp.asarray, (x, z)))
    np.testing.assert_allclose(found, cca, rtol=1e-3, atol=1e-4)


def test_a_rotation_cancels_in_cca():
    p = {n: jnp.asarray(v) for n, v in _random_params().items()}
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (5, 5)))[0]
    numbers = dict(alpha=1.3, beta=2.1, gamma=0.4, eta=0.7)
    plain = cca_scores(p | numbers, p["x"], p["z"])
    turned = cca_scores(p | numbers | {"z_keys": p["z_keys"] @ turn}, p["x"], p["z"] @ turn)
    np.testing.assert_allclose(plain, turned, rtol=1e-4, atol=1e-4)


def test_gaussian_is_its_formula():
    p = _random_params()
    k, hot = p["keys"], p["one_hot"]
    means = hot.T @ k / 3
    apart = k - hot @ means
    s = apart.T @ apart / (len(k) - 1)
    inverse = WIDTH * np.linalg.inv((len(k) - 1) * s + np.trace(s) * np.eye(WIDTH))
    weights, bias = gaussian_discriminant(jnp.asarray(k), CLASSES)
    np.testing.assert_allclose(weights, inverse @ means.T, rtol=1e-3, atol=1e-3)
    quadratic = [-0.5 * m @ inverse @ m for m in means]
    np.testing.assert_allclose(bias, quadratic, rtol=1e-3, atol=1e-3)


def test_ape_columns_are_those_of_loops():
    p = _random_params()
    rows = np.concatenate([p["texts"][:, None], p["keys"].reshape(CLASSES, 3, WIDTH)], 1)
    total, count = np.zeros(WIDTH), 0
    for i, j in itertools.permutations(range(CLASSES), 2):
        for m, n in itertools.product(range(4), repeat=2):
            total, count = total + rows[i, m] * rows[j, n], count + 1
    criterion = -0.7 * total / count + 0.3 * p["texts"].var(0, ddof=1)
    found = ape_columns(jnp.asarray(p["keys"]), jnp.asarray(p["texts"]), CLASSES, 7)
    assert set(np.asarray(found).tolist()) == set(np.argsort(-criterion)[:7].tolist())


def test_training_keeps_the_best_epoch_of_validation():
    (x, y), (val, val_y) = (rows_of(np.random.default_rng(k), 10) for k in range(2))
    scores = lambda w, rows: 10 * rows @ w.T
    start = jax.random.normal(jax.random.key(0), (CLASSES, WIDTH))
    given = (jnp.asarray(x), jnp.asarray(y)), (jnp.asarray(val), jnp.asarray(val_y))
    right = lambda w: float(jnp.mean(jnp.argmax(scores(w, given[1][0]), 1) == given[1][1]))
    found, told = train(scores, start, 0.1, *given, jax.random.key(1), epochs=30)
    assert right(found) == pytest.approx(float(told)) and float(told) > right(start) + 0.2
    away = (given[0][0], (given[0][1] + 1) % CLASSES)  # labels that lead away from a good start
    good = jnp.eye(WIDTH)[:CLASSES]
    kept, told = train(scores, good, 0.1, away, given[1], jax.random.key(1), epochs=30)
    assert right(kept) == pytest.approx(float(told)) and float(told) >= right(good)


def test_lp_starts_from_the_data(written, monkeypatch):
    draws, _ = drawn(written(), shots=4, draws=3)  # no other test's shape: steps are compiled in
    x, y, w = (np.asarray(v[0], np.float64) for v in (draws.x, draws.labels, draws.texts))
    p = dict(
        weights=np.stack([x[y == c].sum(0) for c in range(CLASSES)]),
        bias=np.zeros(CLASSES),
        alpha=np.full(CLASSES, 250 * np.mean((x @ w.T)[np.arange(len(x)), y.astype(int)])),
    )
    rate = 4 * len(x) / np.linalg.eigvalsh(x.T @ x)[-1]
    for _ in range(1):  # the published step: full batch, alpha every tenth
        scores = x @ p["weights"].T + p["bias"] + p["alpha"] * (x @ w.T)
        apart = (_softmax(scores, 1) - np.eye(CLASSES)[y.astype(int)]) / len(x)
        p["weights"] = p["weights"] - rate * apart.T @ x
        p["bias"] = p["bias"] - rate * apart.sum(0)
    monkeypatch.setattr(tuned, "LP_STEPS", 1)
    found = tuned.fit_lp(draws, CLASSES).params
    for name, value in p.items():
        np.testing.assert_allclose(found[name][0], value, rtol=1e-3, atol=1e-3)


def test_a_map_never_sees_test_rows_that_are_drawn_from_the_pool(written, monkeypatch):
    few = read_few_shot(written(val=None, test=None))
    seen = []
    monkeypatch.setattr(table, "unlabelled", lambda few: seen.append(few))
    how = dict(seed=0, seeds=1, shots=(1,), validation="shots", validation_shots=1, tuned=False)
    chosen = dict(num_components=(2,), methods="PCA 2", unmix="source")
    rows = table.settings(SimpleNamespace(**how, **chosen), [few])
    assert rows["toys/PCA 2/1-shot"][0].judge(None) and not seen


def test_shifted_rows_are_judged_and_nothing_else(written, tmp_path):
    rng = np.random.default_rng(9)
    x, labels = rows_of(rng, 6, spread=1.2)
    names = np.array(["d", "b", "a", "c"])  # in another order than the set's
    kept = labels != 3
    path = str(tmp_path / "sketch.npz")
    split = np.where(np.arange(len(x)) % 2, "test", "train")
    order = np.argsort(names)[labels]
    np.savez(path, features=x[kept], labels=order[kept], class_names=names, split=split[kept])
    few = read_few_shot(written(class_names=np.array(list("abcd"))))
    shifted = with_shifts(few, [path])
    rows = shifted.shifts["sketch"]
    np.testing.assert_allclose(rows.x, x[kept & (split == "test")], rtol=1e-6)
    np.testing.assert_array_equal(rows.labels, labels[kept & (split == "test")])
    assert "sketch has rows of 3 of 4 classes" in shifted.remarks
    keys, how = jax.random.split(jax.random.key(0), 2), dict(shots=2, validation=4, texts="text")
    (plain, tests), (draws, more) = (make_draws(f, keys, **how) for f in (few, shifted))
    for a, b in zip(plain[:-1], draws[:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(table.unlabelled(few), table.unlabelled(shifted))
    alone, together = (found_by("GDA", draws, t) for t in (tests, more))
    np.testing.assert_array_equal(alone[0]["test"], together[0]["test"])
    for name, value in alone[1].items():
        np.testing.assert_array_equal(value, together[1][name])
    right = found_by("zero-shot", draws, more)[0]["sketch"][0]
    texts = np.asarray(draws.texts[0], np.float64)
    scores = rows.x @ texts.T
    assert right == pytest.approx(np.mean(scores.argmax(1) == rows.labels))
    own = found_by("zero-shot", draws, more)[0]["sketch among its 3 classes"][0]
    assert own == pytest.approx(np.mean(scores[:, :3].argmax(1) == rows.labels)) and own >= right
    assert (scores.argmax(1) == 3).any()  # or there is nothing to see


@pytest.mark.parametrize(
    "arrays, told",
    [
        (
            dict(features=np.ones((3, 5)), labels=np.arange(3)),
            "array 'features' has 5 features a row, toys has 12; use features of one model",
        ),
        (
            dict(features=np.ones((3, WIDTH)), labels=np.arange(3) + 2),
            "array 'labels' holds 4, first in row 2; use whole numbers from 0 to 3",
        ),
        (
            dict(features=np.ones((3, WIDTH)), labels=np.arange(3), split=["train"] * 3),
            "array 'split' has no row of test",
        ),
        (
            dict(features=np.ones((3, WIDTH)), labels=np.arange(3), split=["test"] * 2),
            "array 'features' has 3 rows, array 'split' 2",
        ),
        (
            dict(features=np.ones((1, WIDTH)), labels=np.array(["zebra"])),
            "'zebra' in row 0 of array 'labels' is no class of",
        ),
        (
            dict(features=np.ones((2, WIDTH)), labels=np.arange(3)),
            "'features' has 2 rows, array 'labels' 3",
        ),
        (dict(x=np.ones((2, WIDTH))), "no array 'features'"),
        (dict(test=np.ones((2, WIDTH))), "no array 'test_labels'"),
    ],
)
def test_bad_shifts_are_told_in_one_line(written, tmp_path, arrays, told):
    path = str(tmp_path / "other.npz")
    np.savez(path, **arrays)
    with pytest.raises(InvalidInput, match=told) as error:
        with_shifts(read_few_shot(written()), [path])
    assert "\n" not in str(error.value)
    with pytest.raises(InvalidInput, match="shift"):
        with_shifts(read_few_shot(written()), [str(tmp_path / "test.npz")])


@pytest.mark.parametrize(
    "labels, told",
    [
        (np.arange(27) % 3, "array 'features' has 30 rows, array 'labels' 27; use one of each"),
        (np.arange(30) % 3 - 1, "array 'labels' holds -1, first in row 0; use whole numbers"),
        (np.zeros(30, int), "all of the labels are of class '0'; use rows of two classes"),
    ],
)
def test_labels_that_fit_no_rows_are_told(labels, told, tmp_path):
    split = np.array(["train", "val", "test"] * 10)
    np.savez(tmp_path / "a.npz", features=np.ones((30, WIDTH)), labels=labels, split=split)
    with pytest.raises(InvalidInput, match=rf"a\.npz: {told}"):
        read_few_shot(str(tmp_path / "a.npz"))


def test_a_bad_code_is_told_the_codes_of_all_parts(written):
    labels = np.repeat(np.arange(CLASSES), 4) - 1
    with pytest.raises(InvalidInput, match="'train_4_labels' holds -1, .* from 0 to 3$"):
        read_few_shot(written(train_4_labels=labels))


def test_too_few_rows_tell_how_many_repeated_others(written):
    x = np.repeat(np.eye(WIDTH)[:CLASSES], 4, 0)
    few = read_few_shot(written(train_4=x, train_1=None, train_1_labels=None))
    assert few.repeats == 12
    told = "1 to 1, the rows of class '0' in .* without 12 rows that repeat another"
    with pytest.raises(InvalidInput, match=told):
        draw_sizes(few, 2, 4)
