"""Splits and groups travel with features: what an encoder or a fit has seen is never judged."""

import ast
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import disentangle
from mmjax.data import (
    class_codes,
    group_codes,
    read_feature_set,
    read_features,
    stratified_split,
)
from mmjax.data.feature_sets import FeatureNames
from mmjax.data.sets import digits as digit_data
from mmjax.disentangle import fast_ica
from mmjax.errors import InvalidInput
from mmjax.evaluate import attribute_response
from mmjax.run import Run, SeedOptions, run_table
from mmjax.studies import (
    FeatureOptions,
    Method,
    divided,
    few_shot_accuracies,
    fit_unmixing,
    frozen,
    read_world,
)
from mmjax.studies.multimodal_probes import probe_splits
from mmjax.tables import disentangle as table
from mmjax.tables import disentangle_report as report

ROOT = Path(__file__).parent.parent
KEY = jax.random.key(0)
N, CLASSES = 600, 5
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, CLASSES, N)
SPLIT = np.where(RNG.random(N) < 0.5, "train", np.where(RNG.random(N) < 0.2, "validation", "test"))
NOISE = RNG.normal(size=(N, 16)).astype(np.float32)
# As an encoder leaves them that learned its training rows by heart: these alone tell the label.
LEARNED = NOISE + 8 * np.eye(CLASSES, 16)[LABELS] * (SPLIT == "train")[:, None]


def _saved(folder, name="a.npz", **columns):
    path = str(folder / name)
    np.savez(path, **{"features": LEARNED, "labels": LABELS, **columns})
    return path


def test_no_named_tuple_counts_itself_differently():
    """NamedTuple's own `_replace` and `_make` compare `len` with the fields."""
    faults = []
    for path in [*(ROOT / "mmjax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                "NamedTuple" in ast.unparse(base) for base in node.bases
            ):
                own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
                faults += [f"{path}: {node.name}.{n}" for n in own & {"__len__", "__iter__"}]
    assert not faults


def _accuracies(world, test="source"):
    (source,) = (branches["x"] for branches in world.sources.values())
    method, keys = Method("", "none"), jax.random.split(KEY, 8)
    fitted = fit_unmixing(source.train.x, KEY, method)
    how = dict(shots=4, val_shots=2, probe="knn", fitted=fitted)
    return few_shot_accuracies(source, method, keys, **how)[test]


@pytest.mark.parametrize(
    "columns",
    [
        dict(split=SPLIT),
        dict(split=SPLIT.astype("S")),
        dict(is_test=SPLIT != "train"),
        dict(part=SPLIT),
    ],
    ids=["strings", "bytes", "mask", "named"],
)
def test_what_an_encoder_learned_by_heart_is_not_judged(tmp_path, columns):
    path = _saved(tmp_path, **columns)
    options = FeatureOptions(features=path, split="part" if "part" in columns else "")
    world = read_world(options, 0)
    assert world.whole.rows.num_rows == (SPLIT != "train").sum() and not world.mark
    assert f"{(SPLIT != 'train').sum()} of {N} rows used" in world.counts[0]
    tested = len(next(iter(world.sources[""].values())).tests["source"].x)
    assert abs(_accuracies(world).mean() - 1 / CLASSES) < 3 * (0.16 / tested) ** 0.5
    world = read_world(dataclasses.replace(options, use_trained_rows=True), 0)
    assert world.whole.rows.num_rows == N and world.mark == "trained rows/"
    assert "TRAINED ROWS" in world.counts[0] and list(world.sources) == ["trained rows/"]
    assert _accuracies(world).mean() > 0.4


def test_trained_rows_of_another_file_are_left_out_too(tmp_path):
    path = _saved(tmp_path, features=NOISE)
    far = _saved(tmp_path, "far.npz", split=SPLIT)
    world = read_world(FeatureOptions(features=path, shifted=far, test=far, validation=far), 0)
    source = world.sources[""]["x"]
    for rows in (*source.tests.values(), source.validation):
        assert len(rows.x) == (SPLIT != "train").sum()
    text = str(tmp_path / "text.npz")
    np.savez(text, features=NOISE, split=np.where(SPLIT == "test", "train", "test"))
    both = read_feature_set(_saved(tmp_path, split=SPLIT), FeatureNames(), text)
    assert set(both.rows.split[SPLIT == "validation"]) == {"validation"}
    assert set(both.rows.split[SPLIT != "validation"]) == {"train"}


@pytest.mark.parametrize(
    "columns, said",
    [
        (dict(split=np.full(N, "train")), "600 of 600 rows are of split train.*--use_trained_rows"),
        (
            dict(split=np.where(LABELS, "test", "eval")),
            r"a.npz: array 'split' has 'eval' in row \d",
        ),
        (dict(is_test=LABELS), r"a.npz: array 'is_test' has \d in row"),
        (dict(split=SPLIT[:-1]), r"split have shape \(599,\).*one a row"),
        (dict(group=np.zeros(N)), "600 rows can't be divided"),
        (dict(group=np.where(LABELS, np.nan, 1)), "a.npz: array 'group' has nan in row"),
    ],
)
def test_splits_that_can_not_be_used_are_told(tmp_path, columns, said):
    with pytest.raises(InvalidInput, match=said):
        read_world(FeatureOptions(features=_saved(tmp_path, **columns)), 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_group_is_never_on_two_sides(data):
    n = data.draw(st.integers(8, 60))
    few = st.lists(st.integers(-3, 12), min_size=n, max_size=n)
    groups, labels = (np.array(data.draw(few)) for _ in range(2))
    parts = stratified_split(labels, [0.2, 0.3], data.draw(st.integers(0, 9)), groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    sides = [set(groups[part]) for part in parts]
    assert sum(map(len, sides)) == len(set(groups))
    if len(set(groups)) > 1:
        fit, held = divided(jax.random.key(data.draw(st.integers(0, 9))), n, 0.5, groups)
        assert sorted([*fit, *held]) == list(range(n)) and len(fit) and len(held)
        assert not set(groups[fit]) & set(groups[held])


def test_groups_of_one_row_change_no_split():
    for groups in (np.arange(N), np.array([f"g{k:04}" for k in range(N)])):
        for own, other in zip(
            stratified_split(LABELS, [0.2, 0.3], 1),
            stratified_split(LABELS, [0.2, 0.3], 1, groups),
            strict=True,
        ):
            np.testing.assert_array_equal(own, other)
        for own, other in zip(divided(KEY, N, 0.5), divided(KEY, N, 0.5, groups), strict=True):
            np.testing.assert_array_equal(own, other)


def test_groups_are_kept_together_by_sources_domains_and_halves(tmp_path):
    groups, site = np.arange(N) // 3, np.arange(N) % 2
    groups[:90] = np.arange(90) // 2  # pairs of rows, one a site
    path = _saved(tmp_path, features=NOISE, group=groups, site=site, row=np.arange(N))
    options = FeatureOptions(features=path, domains="site", source="1", attributes="row")
    world = read_world(options, 0)
    row_of = {NOISE[k].tobytes(): k for k in range(N)}
    rows = lambda part: [row_of[np.asarray(x).tobytes()] for x in part.x]
    source = world.sources["from site=1/"]["x"]
    parts = [source.train, source.validation, source.tests["source"]]
    sides = [set(groups[rows(part)]) for part in parts]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert not (sides[0] | sides[1]) & set(groups[rows(source.tests["site=0"])])
    assert any("rows left out, whose groups the fit has seen" in line for line in world.counts)
    assert not set(groups[world.fit]) & set(groups[world.held])


def test_rows_chosen_on_are_not_judged_in_another_domain(tmp_path):
    path = _saved(tmp_path, features=NOISE, site=np.arange(N) % 2)
    with pytest.raises(InvalidInput, match="a.npz: site=0: 0 is not allowed; use rows that no fit"):
        read_world(FeatureOptions(features=path, validation=path, domains="site", source="1"), 0)


def test_groups_of_two_files_are_joined(tmp_path):
    a, b = (
        _saved(tmp_path, group=np.arange(N) // 2),
        _saved(tmp_path, "b.npz", group=np.arange(N) % 4),
    )
    assert len(set(read_feature_set(a, FeatureNames(), b).rows.groups)) == 2
    none = _saved(tmp_path, "none.npz")
    for one, other in ((b, none), (none, b)):  # a file that says nothing of groups links none
        found = read_feature_set(one, FeatureNames(), other).rows
        np.testing.assert_array_equal(found.groups, np.arange(N) % 4)
        np.testing.assert_array_equal(found.ids[:, 0], found.groups)
    np.testing.assert_array_equal(group_codes(np.array(["b", "a", "b"]), 3), [1, 0, 1])


def test_a_test_row_does_not_depend_on_those_beside_it(tmp_path):
    """`joint` is scaled by the source's fitted rows, of whatever the test sets hold."""
    near = _saved(tmp_path, features=NOISE, text=2 * NOISE[:, :5])
    seen = []
    for scale in (1, 100):
        text = NOISE[:, :5].copy()
        text[1:] *= scale
        far = _saved(tmp_path, f"far{scale}.npz", features=NOISE, text=text)
        names = dict(values="features", text_values="text")
        world = read_world(FeatureOptions(features=near, shifted=far, **names), 0)
        source = world.sources[""]["joint"]
        seen.append((source.tests[far].x[0], source.tests["source"].x, source.train.x))
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)
    source = read_world(FeatureOptions(generated=200), 0).sources[""]
    size = lambda v: np.sqrt(np.mean(np.sum((v - v.mean(0)) ** 2, 1)))
    fitted = {s: np.concatenate([source[s].train.x, source[s].validation.x]) for s in "xt"}
    assert len(source["joint"].tests) == 3
    for name, rows in source["joint"].tests.items():
        own = [source[s].tests[name].x / size(fitted[s]) for s in "xt"]
        np.testing.assert_allclose(rows.x, np.concatenate(own, 1), rtol=1e-4)


def _files(folder, **columns):
    return [_saved(folder, f"{name}.npz", features=NOISE, **columns) for name in ("a", "b", "c")]


@pytest.mark.parametrize(
    "files, options, said",
    [
        ({}, dict(text="b", shifted="c"), "c.npz: no second modality, .*a.npz has one in .*b.npz"),
        ({}, dict(text="b", validation="c"), "c.npz: no second modality, .*b.npz"),
        (
            dict(c=dict(features=NOISE[:, :9])),
            dict(shifted="c"),
            "c.npz: 9 columns, .*a.npz has 16",
        ),
        (dict(c=dict(features=NOISE[:, :9])), dict(test="c"), "c.npz: 9 columns, .*a.npz has 16"),
        (
            dict(b=dict(features=NOISE[:-1], labels=LABELS[:-1])),
            dict(text="b"),
            "b.npz: 599 rows, but .*a.npz has 600",
        ),
        (dict(c=dict(labels=LABELS + 1)), dict(shifted="c"), r"c.npz: label 5 in row \d+ is not"),
        (dict(c=dict(labels=np.full(N, "oak"))), dict(test="c"), "c.npz: label 'oak' in row 0"),
        (
            dict(c=dict(split=SPLIT, labels=LABELS + 9)),
            dict(shifted="c"),
            "label .* in row 0 is not",
        ),
    ],
)
def test_files_that_do_not_fit_are_told_with_both_names(tmp_path, files, options, said):
    paths = dict(zip("abc", _files(tmp_path), strict=True))
    for name, columns in files.items():
        _saved(tmp_path, f"{name}.npz", **{"features": NOISE, **columns})
    named = {flag: paths[name] for flag, name in options.items()}
    with pytest.raises(InvalidInput, match=said) as error:
        read_world(FeatureOptions(features=paths["a"], **named), 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["i1", ">i4", "u8", "f2", ">f8", "U", "S"])
def test_a_label_is_itself_in_every_file(tmp_path, dtype):
    path, *_ = _files(tmp_path)
    codes = class_codes(LABELS.astype(dtype), np.arange(CLASSES), "f")
    np.testing.assert_array_equal(codes, LABELS)
    other = _saved(tmp_path, "other.npz", features=NOISE, labels=LABELS.astype(dtype))
    world = read_world(FeatureOptions(features=other, shifted=path, validation=path), 0)
    np.testing.assert_array_equal(world.sources[""]["x"].tests[path].labels, LABELS)
    ten = np.array([10, 9, 2])
    assert class_codes(ten.astype(str), np.unique(ten), "f").tolist() == [2, 1, 0]


def _settings(tmp_path, **options):
    options = {"shots": (2,), "num_components": (2,), "seeds": 1, "probes": "knn", **options}
    config = disentangle.Config(**options)
    world, controls = table.with_controls(config, read_world(config, 0))
    run = Run("disentangle", str(tmp_path / "run"), lambda: None)
    return table.settings(config, world, controls, run), run, config


def test_too_few_rows_of_a_draw_name_their_file(tmp_path):
    path, *_ = _files(tmp_path)
    kept = np.concatenate([np.flatnonzero(LABELS != 3), np.flatnonzero(LABELS == 3)[:1]])
    few = _saved(tmp_path, "few.npz", features=NOISE[kept], labels=LABELS[kept])
    said = r"^validation_shots: 2 is not allowed; use 1 to 1, .*class 3 in the validation .*few.npz"
    with pytest.raises(InvalidInput, match=said):
        _settings(tmp_path, features=path, validation=few)
    with pytest.raises(InvalidInput, match=r"^shots: 900 .*in the training rows of .*a.npz"):
        _settings(tmp_path, features=path, shots=(900,))
    none = _saved(tmp_path, "none.npz", features=NOISE[kept[:-1]], labels=LABELS[kept[:-1]])
    with pytest.raises(InvalidInput, match="validation rows of .*none.npz: no row of class 3"):
        _settings(tmp_path, features=path, validation=none)


@pytest.mark.parametrize(
    "labels, said",
    [(np.arange(4), "no text of class 4"), (np.array(["0", "2", "3"]), "no text of class 1, 4")],
)
def test_a_class_without_a_prompt_is_named(tmp_path, labels, said):
    path, *_ = _files(tmp_path)
    prompts = _saved(tmp_path, "p.npz", features=NOISE[: len(labels)], labels=labels)
    with pytest.raises(InvalidInput, match=f"p.npz: {said}; .*a.npz"):
        _settings(tmp_path, features=path, prompts=prompts)


def test_latents_are_judged_on_rows_that_no_map_has_seen(tmp_path):
    """Sixteen columns of noise fit four latents of sixty rows; of other rows they tell nothing."""
    rows = np.arange(60)
    latents = np.random.default_rng(1).normal(size=(60, 4))
    path = _saved(tmp_path, features=NOISE[rows], labels=LABELS[rows], latents=latents)
    table, *_ = _settings(
        tmp_path, features=path, latents="latents", validation_shots=1, shots=(1,)
    )
    piece = table["latents/2"][0]
    (r2,) = (row.value for row in piece.judge(None) if row.metric == "r2_linear")
    assert piece.name == "x: as they are" and r2 < 0.1


def test_attributes_are_probed_on_some_rows_and_moved_on_others():
    x, held = jnp.asarray(NOISE[:200]), np.arange(0, 200, 2)
    affine = fit_unmixing(x, KEY, Method("", "pca", 3))
    size = NOISE[:200, 0]
    found = attribute_response(affine, x, {"size": size}, held=held)
    other = size.copy()
    other[held] *= -3  # the probe knows nothing of these
    told = attribute_response(affine, x, {"size": other}, held=held)
    np.testing.assert_allclose(found.probe, told.probe, atol=1e-5)
    assert np.abs(found.neighbours - told.neighbours).max() > 0.1


def test_a_long_fit_that_is_tracked_is_the_same(monkeypatch):
    monkeypatch.setattr("mmjax.disentangle.ica._LONG", 1)
    x = jax.random.laplace(KEY, (300, 6)) @ jax.random.normal(KEY, (6, 6))
    how, seen = dict(num_components=6, restarts=2, max_steps=13, tolerance=1e-9), []

    def tracked(items, label):
        for item in items:
            seen.append((item, label))
            yield item

    one, other = fast_ica(x, KEY, **how), fast_ica(x, KEY, **how, tracked=tracked)
    assert [item for item, _ in seen] == [10, 20] and "6 components" in seen[0][1]
    np.testing.assert_allclose(one.unmixing, other.unmixing, atol=1e-4)
    assert int(other.steps) == 13 == int(one.steps)


def test_a_kill_while_judging_loses_only_what_is_not_written(tmp_path, monkeypatch):
    path, *_ = _files(tmp_path)
    monkeypatch.setattr("mmjax.studies.frozen._FLOATS", 1)  # a draw a piece
    judged, original = [], table.few_shot_accuracies

    def interrupted(*args, **kwargs):
        judged.append(1)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    def go(folder, most=None):
        table, _, config = _settings(folder, features=path, seeds=4)
        name = "linear probe/2-shot"
        run = Run("disentangle", str(folder / "run"), lambda: None)
        run_table("disentangle", SeedOptions(4), run, {name: table[name]}, lambda r, s: "")
        return (folder / "run" / "results.csv").read_bytes()

    whole = go(tmp_path / "whole")
    monkeypatch.setattr(table, "few_shot_accuracies", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut")
    assert (tmp_path / "cut" / "run" / "results.csv").read_bytes().count(b"\n") == 3
    assert go(tmp_path / "cut") == whole and len(judged) == 5, (
        "two before, the third again, one more"
    )


def test_c_is_chosen_on_groups_that_the_probe_has_not_seen(monkeypatch):
    n, seen = 40, {}
    groups = np.arange(n) // 4
    features = {p: np.arange(n, dtype=np.float32)[:, None] for p in ("train", "test")}
    labels = {p: np.arange(n) % 2 for p in features}

    def probe(kind, fit, validation, test, **how):
        seen.update(fit=fit.features[:, 0], validation=validation.features[:, 0])
        return {"accuracy": 0.0}

    monkeypatch.setattr("mmjax.studies.multimodal_probes.probe", probe)
    probe_splits("classification", features, labels, num_classes=2, groups=groups)
    fit, validation = (set(groups[seen[part].astype(int)]) for part in ("fit", "validation"))
    assert not fit & validation and len(fit | validation) == 10
    with pytest.raises(InvalidInput, match="groups: 0 is not allowed; use two or more"):
        probe_splits("classification", features, labels, num_classes=2, groups=0 * groups)


def test_speech_chooses_c_on_recordings_that_nothing_was_fitted_on(tmp_path):
    from tests.test_comm_experiments import speech_file

    sides = digit_data.speech_data(speech_file(tmp_path / "speech.npz"), 70)
    sizes = {"train": 200, "validation": 90, "test": 90}
    pairs = digit_data.speech_pairs(*sides, sizes, 0)
    audio = [pairs.part(part).columns["audio"].values for part in sizes]
    found = [{row.tobytes() for row in values} for values in audio]
    assert all(found) and sum(map(len, found)) == len(set().union(*found))


def test_reading_keeps_what_protects_a_row(tmp_path):
    path = _saved(tmp_path, split=SPLIT, group=np.arange(N, dtype=np.int64) // 2 + 2**40)
    found = read_features(path)
    np.testing.assert_array_equal(found.rows.split, SPLIT)
    np.testing.assert_array_equal(found.rows.groups, np.arange(N) // 2)
    some = read_feature_set(path, FeatureNames()).take(np.array([5, 2])).rows
    np.testing.assert_array_equal(some.split, SPLIT[[5, 2]])
    np.testing.assert_array_equal(some.groups, [2, 1])


def test_what_a_user_names_may_have_any_name(tmp_path):
    """A domain called `label` and latents called `x` hide neither labels nor features."""
    path = _saved(tmp_path, features=NOISE, x=NOISE[:, :3], label=np.arange(N) % 2)
    names = FeatureNames(values="features", labels="labels", extra=("x", "label"))
    found = read_feature_set(path, names)
    np.testing.assert_array_equal(found.sides()["x"], NOISE)
    np.testing.assert_array_equal(found.rows.labels["label"], LABELS)
    some = found.take(np.array([7, 4])).extra
    np.testing.assert_array_equal(some["x"], NOISE[[7, 4], :3])
    np.testing.assert_array_equal(some["label"], [1, 0])


def test_a_control_of_trained_rows_marks_the_tables_too(tmp_path):
    path, twin = _saved(tmp_path, features=NOISE), _saved(tmp_path, "twin.npz", split=SPLIT)
    how = dict(features=path, twin=twin, twin_values="features")
    for trained, rows in ((False, (SPLIT != "train").sum()), (True, N)):
        config = disentangle.Config(**how, use_trained_rows=trained)
        world, controls = table.with_controls(config, read_world(config, 0))
        assert controls["control"].rows.num_rows == rows and "twin.npz" in world.counts[-1]
        assert world.mark == ("trained rows/" if trained else "")
        assert report.marked(world, "title") == "title" + " (TRAINED ROWS)" * trained


def test_retrieval_takes_any_row_of_the_group_and_divides_none(monkeypatch):
    """Five captions an image, perfect embeddings: recall at 1 is 1."""
    monkeypatch.setattr("mmjax.studies.frozen.MEASURES", frozen.MEASURES[:1])
    image, group = jnp.asarray(NOISE[:20]), np.repeat(np.arange(20), 5)
    x, t = image[group], image[group] + 1e-3 * NOISE[100:200]
    found = frozen.retrieval_after(x, t, KEY, num_components=2, group=group)
    assert {v for (_, _, metric), v in found.items() if metric == "recall_at_1"} == {1.0}


def test_parts_are_drawn_from_all_places_of_a_sorted_file():
    labels, groups = np.repeat([0, 1], 300), np.arange(600) // 2
    for of in (None, groups):
        parts = [stratified_split(labels, [0.2, 0.3], seed, of) for seed in (0, 1)]
        for part in parts[0]:
            for start in (0, 300):  # of a class, whose rows may be sorted by anything
                inside = part[(part >= start) & (part < start + 300)] - start
                assert abs(np.mean(inside) - 149.5) < 60, "by position 120 of the first"
        assert set(parts[0][0]) != set(parts[1][0]), "another seed draws other rows"
