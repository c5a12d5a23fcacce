"""Fusions of recorded data: which rows are drawn, what is seen of them, what probes may know."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from mmjax.data import Lazy
from mmjax.data.columns import Column
from mmjax.data.dataset import LABEL, Dataset
from mmjax.encoders import Modality, Padded, as_is, mlp
from mmjax.errors import InvalidInput
from mmjax.losses import no_gather
from mmjax.nets.looks import augmenter
from mmjax.nets.prepare import observations_of, preparations_of, raw_of
from mmjax.observations.augment import SequenceAugmentation
from mmjax.studies import multimodal_probes
from mmjax.studies.fused import make_fused_study, subset_features
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.multimodal_probes import (
    features_of,
    probe_splits,
    raw_subset_features,
    subset_features_of,
)
from mmjax.studies.recorded import (
    MultimodalOptions,
    Recorded,
    before,
    default_recorded,
    flat,
    in_memory,
)

TINY = dict(tokens=2, width=8, heads=2, head_hidden=8, head_out=4, batch_size=6, hidden=(4,))
NOTHING = Recorded(Modality(as_is()), lambda key, seen: seen)
KEY = jax.random.key(0)


def lazy(values):
    return Lazy(values.shape, values.dtype, lambda rows: values[np.asarray(rows)])


def numbered_data(n=20, **changed):
    """Row i is the number i in both modalities, of 9 test rows 1000 + i; its label i modulo 3."""
    rows = np.concatenate([np.arange(n), np.arange(9)])
    split = np.repeat(["train", "test"], [n, 9])
    numbers = (rows + 1000 * (split == "test")).astype(np.float32)
    values = {"x": numbers[:, None] * np.ones(2, np.float32), "t": numbers[:, None]}
    return Dataset.from_arrays(values | changed, labels={LABEL: rows % 3}, split=split)


def task_of(data, recorded, scaled=False, **how):
    """The task of data as they are, so that values can be told."""
    sides = data if isinstance(data, list) else [data]
    parts = [side.part("train") for side in sides]
    plain = {
        k: p
        for part in parts
        for k, p in preparations_of(part, unscaled=() if scaled else part.columns).items()
    }
    how = dict(label=LABEL) | (dict(pairs=LABEL) if len(sides) > 1 else {}) | how
    return multimodal_task(sides, recorded, plain, **how)


def batches_of(task, n, steps=1, key=KEY):
    constants, feed = task.init_constants(None), task.feed(n, steps)(0, key)
    see = jax.jit(lambda key, fed: task.observe(task.source(constants, key, n, fed)))
    return [see(jax.random.fold_in(key, step), fed) for step, fed in enumerate(feed)]


def one_side(name, n):
    data = numbered_data(n)
    return data._replace(columns={name: data.columns["x"]}, ids=data.ids[:, :1], name=name)


def test_rows_belong_together_and_every_epoch_sees_each_training_row_once():
    task = task_of(numbered_data(), {"x": NOTHING, "t": NOTHING})
    orders = []
    for batch in batches_of(task, 20, 3):
        assert task.shared_constants and task.classes == 3 and len(batch["views"]) == 2
        for x, t in batch["views"]:
            np.testing.assert_array_equal(x[:, 0], t[:, 0])
            np.testing.assert_array_equal(x[:, 0].astype(int) % 3, batch["labels"])
            assert sorted(x[:, 0].tolist()) == list(range(20))  # no test row
        orders.append(batch["views"][0][0][:, 0].tolist())
    assert len(set(map(tuple, orders))) == 3
    other = batches_of(task, 20, 1, jax.random.key(1))[0]["views"][0][0][:, 0].tolist()
    assert other not in orders  # a seed has an order of its own


def test_a_resumed_feed_goes_on():
    task = task_of([one_side("x", 12), one_side("t", 21)], {"x": NOTHING, "t": NOTHING})
    whole = [fed["rows"] for fed in task.feed(5, 7)(0, KEY)]
    rest = [fed["rows"] for fed in task.feed(5, 7)(3, KEY)]
    np.testing.assert_array_equal(whole[3:], rest)
    assert len(whole) == 7 and whole[0].shape == (5, 2)


def test_modalities_that_pair_by_label_share_it_and_nothing_else():
    sides = [one_side("x", 12), one_side("t", 21)]
    task = task_of(sides, {"x": NOTHING, "t": NOTHING})
    (batch,) = batches_of(task, 1992)
    x, t = (seen[:, 0].astype(int) for seen in batch["views"][0])
    np.testing.assert_array_equal(x % 3, t % 3)
    np.testing.assert_array_equal(x % 3, batch["labels"])
    assert np.bincount(x).tolist() == [166] * 12
    together = np.zeros((12, 21), int)
    np.add.at(together, (x, t), 1)
    possible = np.arange(12)[:, None] % 3 == np.arange(21) % 3
    assert together[~possible].sum() == 0
    expected = 1992 / 12 / 7
    assert abs(together[possible] - expected).max() < 5 * expected**0.5  # uniform in the label
    again = batches_of(task, 1992, 1, jax.random.key(1))[0]["views"][0][1]
    assert (again[:, 0].astype(int) != t).any()


def test_sides_that_cannot_pair_are_refused():
    few = one_side("t", 2)  # no row of label 2
    values = one_side("t", 20)
    values = values._replace(labels={LABEL: np.arange(values.num_rows) / 2})
    both = {"x": NOTHING, "t": NOTHING}
    for other, told in ((few, "row 2 has a label"), (values, "classes")):
        with pytest.raises(InvalidInput, match=told):
            task_of([one_side("x", 12), other], both)
    with pytest.raises(InvalidInput, match="labels of x"):
        task_of([one_side("x", 12), one_side("t", 12)], both, pairs="size")
    with pytest.raises(InvalidInput, match="modalities"):
        task_of(numbered_data(), {"x": NOTHING})
    with pytest.raises(InvalidInput, match="modalities"):
        task_of([one_side("x", 12), one_side("x", 12)], {"x": NOTHING})


def with_pixels(change):
    pixels = np.arange(29 * 12, dtype=np.uint8).reshape(29, 2, 2, 3)
    return numbered_data(p=change(pixels)), pixels


def test_rows_from_files_are_those_from_memory():
    """The same batches; small ones are read at once."""
    names = {"x": NOTHING, "t": NOTHING, "p": NOTHING}
    memory, files = (
        batches_of(task_of(with_pixels(change)[0], names), 7, 3) for change in (lambda v: v, lazy)
    )
    for own, other in zip(memory, files, strict=True):
        jax.tree.map(np.testing.assert_array_equal, own["views"], other["views"])
    seen = memory[0]["views"][0][2]
    assert seen.dtype == jnp.float32 and 0 <= seen.min() and seen.max() <= 1  # uint8 maps
    data, pixels = with_pixels(lazy)
    assert isinstance(in_memory(data, pixels.size - 1).columns["p"].values, Lazy)
    np.testing.assert_array_equal(in_memory(data, pixels.size).columns["p"].values, pixels)


def test_a_device_augments_its_rows_as_one_device_augments_all():
    look = Recorded(Modality(as_is()), augmenter(SequenceAugmentation("drop+noise", 0.7, 0.3)))
    data = numbered_data(t=np.ones((29, 3), np.float32))
    task = task_of(data, {"x": look, "t": look})
    fed = next(task.feed(8, 1)(0, KEY))
    batch = jax.jit(lambda key: task.source(task.init_constants(None), key, 8, fed))(KEY)
    whole = jax.jit(task.observe)(batch)
    halves = [
        jax.jit(task.observe)(jax.tree.map(lambda v, s=slice(k, k + 4): v[s], batch))
        for k in (0, 4)
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *halves)
    jax.tree.map(np.testing.assert_array_equal, joined, jax.tree.map(np.asarray, whole))
    first, second = whole["views"]
    assert (first[0] != second[0]).any()  # augmented apart
    noise = np.asarray(first[1] - second[1])
    assert len(np.unique(noise.round(5), axis=0)) > 4  # rows too


def test_training_rows_alone_standardise_and_flat_features_stay_small():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (20, 2, 2)).astype(np.float32)
    x[:, 0, 0] = 0
    x[0, 0, 0] = 1e-3  # the rim of an image: one row differs

    def data_of(tests):
        flat_x = np.concatenate([x, np.full((9, 2, 2), tests, np.float32)]).reshape(29, 4)
        return numbered_data(x=flat_x)

    def seen(data, part):
        own = preparations_of(data.part("train"))
        rows = data.part(part)
        return np.asarray(observations_of(rows, own, np.arange(rows.num_rows))["x"])

    data = data_of(50)
    found, flat_x = seen(data, "train"), x.reshape(20, 4)
    expected = StandardScaler().fit(flat_x[:, 1:])
    np.testing.assert_allclose(
        found[:, 1:], expected.transform(flat_x[:, 1:]), rtol=1e-4, atol=1e-5
    )
    assert abs(found[:, 0]).max() < 0.01
    np.testing.assert_array_equal(seen(data_of(0), "train"), found)
    assert (seen(data, "test") > 10).any()


def test_a_row_that_lacks_a_modality_trains_with_what_it_has():
    """The gradient of a batch with such a row, whatever stands there; it is in no view."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 8, 3)).astype(np.float32)
    present = np.arange(8) != 5
    options = MultimodalOptions(**TINY | dict(batch_size=8), augmentation="")
    found = {}
    for filling in (0.0, 7.0):
        data = Dataset.from_arrays(x=x, t=t, present={"t": present}, split=["train"] * 8)
        own = np.where(present[:, None], t, filling).astype(np.float32)
        data = data._replace(columns={**data.columns, "t": Column(own, "features")})
        preparations = preparations_of(data, unscaled=("x", "t"))
        recorded = default_recorded(options, preparations)
        task = multimodal_task(data, recorded, preparations)
        for method in ("cross", "comm"):
            study = make_fused_study(options, task, method, chunk_steps=1, save_every=1)
            params = jax.jit(study.init_params)(KEY)
            fed = next(study.recipe.feed(0, KEY))
            batch = study.recipe.source(task.init_constants(None), KEY, fed)
            assert int(batch["present"]["t"].sum()) == 7
            loss = lambda p, b=batch, s=study: s.recipe.stages[0].objective(p, b, KEY, no_gather)[0]
            found[method, filling] = jax.jit(jax.value_and_grad(loss))(params)
    for method in ("cross", "comm"):
        own, other = found[method, 0.0], found[method, 7.0]
        assert np.isfinite(own[0]) and own[0] > 0
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), own, other)


# Padded sequences beside vectors and maps.


def mixed_data(filling=0.0, more=0):
    """A padded sequence of 5 steps (and more padding), a vector and a map."""

    def rows(n, seed):
        rng = np.random.default_rng(seed)
        maps, vector, words = (
            rng.normal(size=(n, *shape)).astype(np.float32) for shape in ((2, 2), (4,), (5, 3))
        )
        seen = np.arange(5 + more) < rng.integers(1, 6, n)[:, None]
        steps = np.zeros((n, 5 + more, 3), np.float32)
        steps[:, :5] = words
        steps[~seen] = filling
        return {"words": steps, "vector": vector, "map": maps}, seen, np.arange(n) % 3

    (train, *seen, labels), (test, *others, tests) = rows(11, 0), rows(6, 10)
    data = Dataset.from_arrays(
        {name: np.concatenate([train[name], test[name]]) for name in train},
        lengths={"words": np.concatenate(seen + others)},
        labels={LABEL: np.concatenate([labels, tests])},
        split=np.repeat(["train", "test"], [11, 6]),
    )
    # What stands in padding is in the batches as it was given.
    words = data.columns["words"]
    filled = np.where(words.seen[..., None], words.values, np.float32(filling))
    return data._replace(columns={**data.columns, "words": words._replace(values=filled)})


def mixed_study(method, data, **options):
    o = MultimodalOptions(**(TINY | options))
    own = preparations_of(data.part("train"))
    task = multimodal_task(data, default_recorded(o, own, sequence_layers=1), own, label=LABEL)
    return task, make_fused_study(o, task, method, chunk_steps=1, save_every=1), data, own


def test_every_kind_of_modality_has_a_network():
    """Traced, not run."""
    for method in ("comm", "cross_self", "supcon"):
        task, study, *_ = mixed_study(method, mixed_data())
        assert [isinstance(seen, Padded) for seen in task.example] == [True, False, False]
        key = jax.random.key(0)
        params = jax.eval_shape(study.init_params, key)
        constants, fed = task.init_constants(key), next(study.recipe.feed(0, key))
        batch = jax.eval_shape(study.recipe.source, constants, key, fed)
        objective = lambda *args, s=study, k=key: s.recipe.stages[0].objective(*args, k, no_gather)
        assert jax.eval_shape(objective, params, batch)[0].shape == ()
        z = jax.eval_shape(study.embed, params, task.example, jnp.ones((2, 3), bool))
        assert z.shape == (1, 2, 8)


def test_padding_has_no_influence_from_the_rows_to_gradients_and_features():
    made = [
        mixed_study("cross", mixed_data(filling, more).only("words", "vector"))
        for filling, more in ((0.0, 0), (np.nan, 0), (1e3, 3))
    ]
    params = jax.jit(made[0][1].init_params)(KEY)

    def learnt(task, study, data, own):
        fed = next(study.recipe.feed(0, KEY))

        @jax.jit
        def learn(params, constants):
            batch = study.recipe.source(constants, jax.random.key(1), fed)
            loss = lambda p: study.recipe.stages[0].objective(p, batch, KEY, no_gather)[0]
            return jax.value_and_grad(loss)(params)

        represent = jax.jit(lambda seen: study.represent(params, seen))
        features = features_of(represent, data.part("test"), own)
        return learn(params, task.init_constants(None)), features

    held, broken, longer = (learnt(*of) for of in made)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(held))
    jax.tree.map(np.testing.assert_array_equal, held, broken)
    np.testing.assert_allclose(longer[1], held[1], rtol=1e-4, atol=1e-5)


def test_bare_sequences_and_maps_are_augmented_in_their_shape():
    drop = jax.jit(augmenter(SequenceAugmentation("drop", 1.0, share=(0.5, 0.5))))
    key = jax.random.key(0)
    steps = drop(key, jnp.ones((3, 8, 2)))
    assert (steps.sum(2) == 0).sum(1).tolist() == [4] * 3  # whole steps
    pixels = drop(key, jnp.ones((3, 2, 2, 3)))
    assert pixels.shape == (3, 2, 2, 3) and (pixels == 0).sum((1, 2, 3)).tolist() == [6] * 3
    words = drop(key, Padded(jnp.ones((3, 8, 2)), jnp.arange(8) < jnp.full((3, 1), 4)))
    assert words.seen.sum(1).tolist() == [2] * 3
    span = augmenter(SequenceAugmentation("span"))
    assert jax.eval_shape(span, key, jnp.ones((3, 8, 2))).shape == (3, 8, 2)
    with pytest.raises(InvalidInput, match="kinds"):
        span(key, jnp.ones((3, 8)))
    with pytest.raises(InvalidInput, match="kinds"):
        augmenter(SequenceAugmentation("blur"))


def test_before_encodes_what_was_changed():
    encoder, plain = before(flat, mlp((4,), 3)), mlp((4,), 3)
    params, statistics = jax.jit(encoder.init, static_argnums=1)(jax.random.key(0), (2, 3))
    x = jnp.arange(24.0).reshape(4, 2, 3)
    np.testing.assert_array_equal(
        encoder.apply(params, statistics, x), plain.apply(params, statistics, x.reshape(4, 6))
    )
    forward = encoder.forward(params, statistics, x, jax.random.key(1), no_gather)[0]
    np.testing.assert_allclose(forward, encoder.apply(params, statistics, x), rtol=1e-6)


# What is probed.


SUBSETS = np.array([[1, 0], [0, 1], [1, 1]], bool)


def plain(**values):
    data = Dataset.from_arrays(**values, split=["test"] * values["x"].shape[0])
    return data, preparations_of(data, unscaled=data.columns)


def test_features_come_in_the_order_of_rows():
    rows = np.arange(7, dtype=np.float32)[:, None]
    data, own = plain(x=lazy(rows), t=rows)
    sizes = set()

    def represent(seen):
        sizes.add(len(seen[0]))
        return jnp.concatenate(seen, 1)

    found = features_of(represent, data, own, at_once=4)
    assert found.shape == (7, 2) and found[:, 0].tolist() == list(range(7)) and sizes == {4}
    assert features_of(represent, data, own, at_once=100).tolist() == found.tolist()


def test_features_of_subsets():
    rows = np.arange(5.0)
    (data, own), subsets = plain(x=np.stack([rows, rows], 1), t=rows[:, None]), SUBSETS
    # Z of a view: the numbers of the modalities that it sees.
    embed = lambda seen, masks: masks * jnp.stack([s[:, 0] for s in seen], 1)[:, None]
    fused = subset_features_of(partial(subset_features, embed, fused=True), data, own, subsets)
    assert fused.shape == (3, 5, 2)
    np.testing.assert_array_equal(fused[0], np.stack([rows, 0 * rows], 1))
    np.testing.assert_array_equal(fused[2], np.stack([rows, rows], 1))
    apart = subset_features_of(partial(subset_features, embed, fused=False), data, own, subsets)
    assert apart.shape == (3, 5, 4)
    np.testing.assert_array_equal(apart[0], np.stack([rows, 0 * rows, 0 * rows, 0 * rows], 1))
    np.testing.assert_array_equal(apart[2], np.stack([rows, 0 * rows, 0 * rows, rows], 1))
    raw = raw_subset_features(data, own, subsets)
    np.testing.assert_array_equal(raw[1], np.stack([0 * rows, 0 * rows, rows], 1))
    words = Padded(
        jnp.ones((2, 3, 1)).at[:, 2].set(jnp.nan), jnp.array([[1, 1, 0], [0, 0, 0]], bool)
    )
    assert raw_of(own["x"], words).tolist() == [[1.0], [0.0]]


def labelled(seed=0, n=90):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.int32)
    features = rng.normal(size=(n, 3)).astype(np.float32)
    features[:, 0] += 1.5 * labels
    return features, labels


def test_probes_know_nothing_of_test_rows():
    """Each test row is judged alone, and its label only counts."""
    (x, y), (test, labels) = labelled(), labelled(1, 40)
    test[20:] *= 100

    def score(test, labels):
        features = {"train": x, "test": test}
        how = dict(num_classes=2, strengths=(1.0, 1e-2))
        told = probe_splits("classification", features, {"train": y, "test": labels}, **how)
        assert set(told) == {"accuracy", "mean_recall"}
        return told["accuracy"]

    right = score(test, labels)
    assert 0.6 < right < 1
    assert score(test, 1 - labels) == pytest.approx(1 - right, abs=1e-6)
    halves = [np.tile(np.r_[rows], 2) for rows in (slice(20), slice(20, 40))]
    parts = [score(test[rows], labels[rows]) for rows in halves]
    assert right == pytest.approx(np.mean(parts), abs=1e-6)


def test_probes_choose_their_penalty_on_validation_rows_or_a_share_of_training(monkeypatch):
    asked = {}

    def probe(kind, fit, validation, test, **how):
        parts = {"fit": fit, "validation": validation, "test": test}
        asked.update(
            {part: (rows[0][:, 0].tolist(), rows[1].tolist()) for part, rows in parts.items()}
        )
        return {"accuracy": 0.5, "l2": 1.0}

    monkeypatch.setattr(multimodal_probes, "probe", probe)
    column = lambda start, n: (start + np.arange(n, dtype=np.float32))[:, None]
    features = {"train": column(0, 50), "validation": column(100, 7), "test": column(200, 9)}
    labels = {part: x[:, 0].astype(int) % 5 for part, x in features.items()}

    def rows(features, **how):
        told = probe_splits("classification", features, labels, num_classes=5, **how)
        assert told == {"accuracy": 0.5}
        for seen, own in asked.values():
            assert [int(v) % 5 for v in seen] == own
        return {part: sorted(map(int, seen)) for part, (seen, _) in asked.items()}

    want = {"fit": [*range(50)], "validation": [*range(100, 107)], "test": [*range(200, 209)]}
    assert rows(features) == want
    few = rows(features, limit=10)
    assert len(few["fit"]) == 10 and few["validation"] == want["validation"]
    del features["validation"]
    shared = rows(features)
    assert len(shared["validation"]) == 10 and shared["test"] == want["test"]
    assert sorted(shared["fit"] + shared["validation"]) == want["fit"]
    assert rows(features) == shared  # always alike
    few = rows(features, limit=2, share=0.9)
    assert len(few["fit"]) == len(few["validation"]) == 1
    for bad in ({"share": 0.0}, {"limit": 1}):
        with pytest.raises(InvalidInput):
            rows(features, **bad)
