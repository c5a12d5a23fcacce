"""Pairs on disk: labels, splits, sources, standardisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmjax.data import SideNames, datasets_of_pairs, digit_halves, encode_labels, load_pairs
from mmjax.data.columns import Column
from mmjax.data.dataset import LABEL
from mmjax.data.pairs import matrix_of
from mmjax.errors import InvalidInput
from mmjax.nets.prepare import preparations_of
from mmjax.studies import PairOptions, make_pair_study, probe_accuracies, raw_features, retrieval
from mmjax.train.rows import rows_of


@pytest.fixture
def by_label(tmp_path):
    """x has 60 rows, t has 90; a row's label is its first value."""
    rng = np.random.default_rng(0)
    label_x, label_t = np.arange(60) % 3, np.arange(90) % 3
    arrays = dict(
        x=np.stack([label_x, rng.normal(size=60), np.arange(60)], 1).astype(np.float16),
        t=np.stack([label_t, np.arange(90)], 1).astype(np.uint8),
        word_x=np.array(["cat", "dog", "eel"])[label_x],
        word_t=np.array(["cat", "dog", "eel"])[label_t],
        speaker=np.arange(60) % 2,
        test_x=np.arange(60) >= 45,
        test_t=np.arange(90) >= 60,
    )
    np.savez(tmp_path / "a.npz", **arrays)
    x = SideNames("x", "word_x", ("speaker",), "test_x")
    t = SideNames("t", "word_t", (), "test_t")
    load = lambda **k: load_pairs(
        str(tmp_path / "a.npz"), x, t, **{**dict(pairs="label", pair_index="", test_share=0.2), **k}
    )
    return load, arrays


def test_text_labels_agree_across_modalities(by_label):
    data = by_label[0]()
    assert set(data.x.labels[LABEL]) == {0, 1, 2}
    np.testing.assert_array_equal(data.x.labels[LABEL], by_label[1]["x"][:, 0])
    np.testing.assert_array_equal(data.t.labels[LABEL], by_label[1]["t"][:, 0])
    a, b = encode_labels(np.array(["b", "a"]), np.array(["a", "c"]))
    assert a[1] == b[0] and len({*a, *b}) == 3


def _fed(data, batch):
    """A batch of pairs as training sees them, in the file's units; and its ids."""
    parts = [side.part("train") for side in datasets_of_pairs(data)]
    preparations = {name: p for part in parts for name, p in preparations_of(part).items()}
    rows, key = rows_of(parts, preparations, {}, pairs=LABEL), jax.random.key(0)
    seen = rows.look(rows.source(rows.constants, key, next(rows.feed(batch, 1)(0, key))))
    of = {name: p.scaling for name, p in preparations.items()}
    x, t = (np.asarray(seen.views[0][k]) * of[k].scale + of[k].mean for k in "xt")
    return x, t, np.asarray(seen.ids)


def test_pairs_by_label_share_it_and_cover_the_training_rows(by_label):
    x, t, ids = _fed(by_label[0](), 4000)
    np.testing.assert_allclose(x[:, 0], t[:, 0], atol=1e-2)
    assert set(np.round(x[:, 2]).astype(int)) == set(range(45))
    assert set(np.round(t[:, 1]).astype(int)) == set(range(60))
    # Independent given the label: each of its 20 rows of t meets each row of x.
    first = np.round(t[:, 1])[np.round(x[:, 2]) == 0]
    assert len(set(first)) > 15
    for own, value in zip(ids.T, (x[:, 2], t[:, 1]), strict=True):
        value = np.round(value).astype(int)
        np.testing.assert_array_equal(own[:, None] == own, value[:, None] == value)


def test_pairs_by_index_stay_together():
    data = digit_halves(0.2)
    left, right, _ = _fed(data, 64)
    train = [matrix_of(side.part("train")) for side in (data.x, data.t)]
    whole, drawn = np.concatenate(train, -1), np.round(np.concatenate([left, right], -1))
    for image in drawn:
        assert (np.abs(whole - image).sum(1) < 1e-3).any()


def test_scaling_is_fitted_on_training_rows_alone():
    side = digit_halves(0.2).x
    changed = matrix_of(side).copy()
    changed[side.split == "test"] += 100
    other = raw_features(side._replace(columns={"x": Column(changed, "features")}))
    train = matrix_of(side.part("train"))
    np.testing.assert_array_equal(raw_features(side)(train), other(train))
    train = other(train)
    assert abs(float(train.mean())) < 1e-4 and float(train.std(0).max()) < 1.01
    assert bool(jnp.isfinite(train).all())  # corner pixels never change


def test_a_split_that_cuts_pairs_is_told(tmp_path):
    n = 20
    path = tmp_path / "a.npz"
    v = np.random.default_rng(0).normal(size=(n, 2))
    np.savez(path, x=v, t=-v, a=np.arange(n) < 5, b=np.arange(n) < 6)
    with pytest.raises(InvalidInput, match="row 5 of 'x' and its partner"):
        load_pairs(
            str(path),
            SideNames("x", is_test="a"),
            SideNames("t", is_test="b"),
            pairs="index",
            pair_index="",
            test_share=0.2,
        )


@pytest.mark.parametrize("side", ["x", "t"])
def test_rows_that_are_all_alike_are_refused(tmp_path, side):
    arrays = {name: np.random.default_rng(0).normal(size=(20, 3)) for name in "xt"}
    arrays[side][:] = arrays[side][0]
    np.savez(tmp_path / "a.npz", **arrays)
    names = SideNames("x"), SideNames("t")
    with pytest.raises(InvalidInput, match=f"a.npz: all rows of '{side}' are alike"):
        load_pairs(str(tmp_path / "a.npz"), *names, pairs="index", pair_index="", test_share=0.2)


def test_probes_of_raw_features_agree_with_scikit_learn():
    data = digit_halves(0.3)
    see = raw_features(data.x)
    ours = probe_accuracies(data.x, see, limit=10_000)["label"]
    train, test = (data.x.part(part) for part in ("train", "test"))
    seen = [np.asarray(see(matrix_of(part))) for part in (train, test)]
    peer = LogisticRegression(max_iter=2000).fit(seen[0], train.labels[LABEL])
    assert abs(ours - peer.score(seen[1], test.labels[LABEL])) < 0.015


def test_retrieval_of_equal_embeddings_is_perfect_and_of_constant_ones_nil():
    data = digit_halves(0.2)
    number = Column(np.arange(data.x.num_rows, dtype=np.float32)[:, None], "features")
    data = data._replace(
        x=data.x._replace(columns={"x": number}), t=data.t._replace(columns={"t": number})
    )
    near = lambda a, b: -jnp.abs(a - b.T)
    same = retrieval(data, jnp.asarray, jnp.asarray, near, limit=100)
    assert all(value == 1 for value in same.values())
    flat = lambda v: jnp.zeros((len(v), 1))
    assert all(v == 0 for v in retrieval(data, flat, flat, near, limit=100).values())


def test_pair_study_trains_dropout_only_with_a_key():
    study = make_pair_study(digit_halves(0.2), PairOptions(), 4, chunk_steps=1, save_every=1)
    params = study.init_params(jax.random.key(0))
    fed = next(study.recipe.feed(0, jax.random.key(1)))
    batch = study.recipe.source(study.constants, jax.random.key(1), fed)
    objective = study.recipe.stages[0].objective
    a, b = (objective(params, batch, jax.random.key(k), lambda v: v)[0] for k in (0, 1))
    assert a != b
    values = matrix_of(digit_halves(0.2).x)[:5]
    assert (study.embed(params, "x", values) == study.embed(params, "x", values)).all()
