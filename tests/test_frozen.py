"""Frozen features unmixed and probed: the generated world's truth, splits, bad input, a run."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import disentangle
from mmjax.data import branch_size, class_codes, joined_branches, remarks, stratified_split
from mmjax.disentangle import components
from mmjax.errors import InvalidInput
from mmjax.evaluate import excess_kurtosis, mcc
from mmjax.generative import feature_model
from mmjax.run import launch
from mmjax.studies import (
    FeatureOptions,
    Method,
    Rows,
    Source,
    few_shot_accuracies,
    fit_unmixing,
    gaussian_twin,
    methods,
    read_world,
    retrieval_after,
    stability_of,
)
from mmjax.studies.feature_worlds import generated_features
from mmjax.tables import disentangle as table

KEY = jax.random.key(0)
MODEL = feature_model(jax.random.key(5))
PAIRS = MODEL.sample(KEY, 3000, 1.0)


def _source(n=1200):
    shifted = MODEL.sample(jax.random.key(7), 500, 4.0)
    rows = lambda part: Rows(PAIRS.image[part], PAIRS.label[part])
    tests = {"source": rows(slice(2 * n, None)), "far": Rows(shifted.image, shifted.label)}
    return Source(rows(slice(0, n)), rows(slice(n, 2 * n)), tests, MODEL.num_classes)


def test_generated_features_are_unit_pairs_with_a_gap():
    for side in (PAIRS.image, PAIRS.text):
        np.testing.assert_allclose(jnp.linalg.norm(side, axis=1), 1, atol=1e-5)
    apart = PAIRS.image.mean(0) - PAIRS.text.mean(0)
    assert float(jnp.linalg.norm(apart)) > 0.2
    own = jnp.sum((PAIRS.image - PAIRS.image.mean(0)) * (PAIRS.text - PAIRS.text.mean(0)), 1)
    assert float(own.mean()) > 0
    assert np.bincount(PAIRS.label).min() > 200


def test_ica_recovers_the_latents_and_whitening_does_not():
    whole = MODEL.sample(KEY, 6000, 1.0)
    ica, white = (
        components(fit_unmixing(whole.image, KEY, Method("", kind, 24)), whole.image)
        for kind in ("ica", "whitening")
    )
    assert mcc(whole.latents, ica) > 0.98
    assert mcc(whole.latents, white) < 0.7


def test_a_shift_of_nuisances_scales_them_alone():
    near, far = (MODEL.sample(KEY, 4000, s).latents for s in (1.0, 3.0))
    spread = jnp.std(far, 0) / jnp.std(near, 0)
    np.testing.assert_allclose(spread[:8], 1, atol=1e-5)
    np.testing.assert_allclose(spread[8:], 3, atol=1e-4)


@pytest.mark.parametrize("probe", ["l2", "knn"])
def test_fast_ica_gives_rotation_blind_probes_nothing_that_whitening_does_not(probe):
    source, keys = _source(), jax.random.split(KEY, 4)
    found = []
    for kind in ("whitening", "ica"):
        fitted = fit_unmixing(source.train.x, KEY, Method("", kind, 24))
        found.append(
            few_shot_accuracies(
                source, Method("", kind, 24), keys, shots=4, val_shots=4, probe=probe, fitted=fitted
            )
        )
    for test in source.tests:
        assert found[0][test].shape == (4,)
        np.testing.assert_allclose(found[0][test], found[1][test], atol=0.004)


def test_under_shift_a_sparse_probe_of_independent_components_wins():
    source, keys = _source(), jax.random.split(KEY, 4)
    accuracy = {}
    for kind, probe in (("none", "l2"), ("whitening", "l1"), ("ica", "l1")):
        method = Method("", kind, None if kind == "none" else 24)
        fitted = fit_unmixing(source.train.x, KEY, method)
        accuracy[kind] = few_shot_accuracies(
            source, method, keys, shots=4, val_shots=4, probe=probe, fitted=fitted
        )["far"].mean()
    assert accuracy["ica"] > max(accuracy["none"], accuracy["whitening"]) + 0.05


def test_draws_do_not_depend_on_what_is_drawn_beside_them():
    source, keys = _source(), jax.random.split(KEY, 3)
    method = Method("", "pca", 10)
    fitted = fit_unmixing(source.train.x, KEY, method)
    some = dict(shots=2, val_shots=2, probe="l2", fitted=fitted)
    every = few_shot_accuracies(source, method, keys, **some)["source"]
    alone = few_shot_accuracies(source, method, keys[1:2], **some)["source"]
    assert every[1] == pytest.approx(alone[0], abs=0.004)


def test_unmixing_of_a_draw_survives_fewer_rows_than_columns():
    source = _source()
    found = few_shot_accuracies(
        source,
        Method("FastICA", "ica"),
        jax.random.split(KEY, 2),
        shots=1,
        val_shots=1,
        probe="l2",
        fitted=None,
    )
    assert all(np.isfinite(v).all() and (v > 0.05).all() for v in found.values())


def test_retrieval_after_rotation_is_that_after_whitening():
    found = retrieval_after(PAIRS.image, PAIRS.text, KEY, num_components=24)
    for side in "xt":
        for k in (1, 5, 10):
            white = found["whitening, cosine", side, f"recall_at_{k}"]
            assert found["FastICA, cosine", side, f"recall_at_{k}"] == pytest.approx(
                white, abs=0.01
            )
    assert found["whitening, cosine", "x", "recall_at_10"] > 0.9


def test_a_normal_twin_has_the_same_covariance_and_no_kurtosis():
    x = PAIRS.image * jnp.linspace(0.5, 2, 64)
    twin = jnp.concatenate([gaussian_twin(x, k) for k in jax.random.split(KEY, 20)])
    np.testing.assert_allclose(jnp.cov(twin.T), jnp.cov(x.T), atol=0.05 * float(jnp.var(x)))
    assert float(jnp.abs(excess_kurtosis(twin)).max()) < 0.2


def test_one_restart_has_no_stability():
    x = jax.random.normal(KEY, (40, 2))
    with pytest.raises(InvalidInput, match="restarts: 1 is not allowed; use a whole number >= 2"):
        stability_of(x, KEY, num_components=2, restarts=1)


def test_splits_are_disjoint_stratified_and_whole():
    labels = np.repeat(["a", "b", "c"], [50, 20, 30])
    parts = stratified_split(labels, [0.2, 0.3], 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert [np.sum(labels[p] == "b") for p in parts] == [4, 6, 10]


def test_both_sides_count_alike_in_joint_features():
    branches = joined_branches(np.eye(6) * 100, np.random.default_rng(0).normal(size=(6, 3)))
    sizes = [np.linalg.norm(v - v.mean(0)) for v in np.split(branches["joint"], [6], axis=1)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)


def test_joint_features_of_other_domains_are_scaled_by_the_source():
    source, shifted = generated_features(0, 60)
    sizes = [branch_size(side) for side in source.sides().values()]
    for rows in (source, *shifted.values(), source.take(np.arange(9))):
        scaled = [v / size for v, size in zip(rows.sides().values(), sizes, strict=True)]
        np.testing.assert_allclose(rows.branches["joint"], np.concatenate(scaled, 1), rtol=1e-5)
        np.testing.assert_array_equal(rows.labels, rows.rows.labels["label"])


def test_labels_out_of_range_and_odd_columns_are_told():
    classes = np.array([1, 4, 9])
    assert class_codes(np.array([9, 1, 4]), classes, "f").tolist() == [2, 0, 1]
    with pytest.raises(InvalidInput, match="far.npz: label 5 in row 1 is not allowed.*1, 4, 9"):
        class_codes(np.array([9, 5]), classes, "far.npz")
    x = np.random.default_rng(0).normal(size=(5, 6))
    x[:, 1], x[:, 3] = 7, x[:, 2]
    assert remarks(x) == [
        "1 of 6 columns are constant",
        "1 columns repeat others",
        "5 rows determine at most 4 of 6 directions",
    ]
    with pytest.raises(InvalidInput, match="all rows are alike"):
        remarks(np.ones((4, 3)))


def _run(tmp_path, *argv):
    return launch(
        disentangle.main,
        disentangle.Config,
        disentangle.PRESETS,
        experiment="disentangle",
        doc=disentangle.__doc__,
        argv=["disentangle", f"--workdir={tmp_path / 'run'}", *argv],
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Features with two domains, attributes and images, as a user may have them."""
    folder = tmp_path_factory.mktemp("features")
    model = feature_model(jax.random.key(3), dim=6, num_features=10, num_classes=3)
    pairs = model.sample(KEY, 400, 1.0)
    pick = np.asarray
    label = np.array(["ash", "beech", "oak"])[pick(pairs.label)]
    arrays = dict(
        feature_list=pick(pairs.image),
        caption=pick(pairs.text),
        label_list=label,
        name_list=np.array([f"leaf {k}" for k in range(len(label))]),
        site=np.arange(len(label)) % 2,
        size=pick(pairs.latents)[:, 4],
        images=np.random.default_rng(0).integers(0, 255, (len(label), 8, 8, 3), dtype=np.uint8),
    )
    path = str(folder / "leaves.npz")
    np.savez(path, **arrays)
    prompts = np.stack([pick(pairs.text)[label == name].mean(0) for name in np.unique(label)])
    np.savez(folder / "prompts.npz", features=prompts, labels=np.unique(label))
    return path, str(folder / "prompts.npz"), arrays


SMALL = ["--seeds=2", "--num_components=4", "--shots=2", "--validation_shots=2", "--restarts=2"]


def _simple(labelled) -> list[str]:
    """One domain, one side: all that a run writes, of few programs."""
    path, prompts, _ = labelled
    named = ["--values=feature_list", "--attributes=size", "--images=images", "--probes=knn"]
    return [f"--features={path}", f"--prompts={prompts}", *named, *SMALL]


@pytest.fixture(scope="module")
def simple_run(labelled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simple")
    assert _run(folder, *_simple(labelled)) == 0
    return folder / "run"


def test_a_run_writes_tables_and_figures(simple_run, labelled, capsys):
    figures = {p.name for p in (simple_run / "figures").glob("*.png")}
    assert figures == {
        "accuracy_knn_by_shots.png",
        "kurtosis_4.png",
        *(f"{kind}_x_4.png" for kind in ("examples", "response", "traversals")),
    }
    with open(simple_run / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    probed = [r for r in rows if r["setting"].endswith("PCA 4 + FastICA/2-shot")]
    assert probed and {r["modality"] for r in probed} == {"x"}
    assert all(0 <= float(r["value"]) <= 1 for r in probed)
    (zero,) = (float(r["value"]) for r in rows if "zero-shot" in r["setting"])
    assert zero > 0.6
    with open(simple_run / "examples_x_4.csv", newline="") as file:
        shown = list(csv.reader(file))
    assert len(shown) == 5 and shown[1][1].startswith("leaf ")
    before = (simple_run / "results.csv").read_bytes()
    capsys.readouterr()
    assert _run(simple_run.parent, *_simple(labelled)) == 0
    assert "FastICA of a Normal twin" in capsys.readouterr().out
    assert (simple_run / "results.csv").read_bytes() == before


@pytest.mark.slow
def test_a_run_on_files_writes_every_table_and_figure(labelled, tmp_path, capsys):
    path, prompts, arrays = labelled
    command = [
        f"--features={path}",
        "--values=feature_list",
        "--text_values=caption",
        "--domains=site",
        "--source=1",
        "--attributes=size,site",
        "--images=images",
        f"--prompts={prompts}",
        "--probes=knn",
        *SMALL,
    ]
    assert _run(tmp_path, *command) == 0
    run = tmp_path / "run"
    figures = {p.name for p in (run / "figures").glob("*.png")}
    assert figures == {
        "accuracy_knn_by_shots.png",
        "kurtosis_4.png",
        *(f"{kind}_{s}_4.png" for kind in ("examples", "response", "traversals") for s in "xt"),
    }
    with open(run / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    probed = [r for r in rows if r["setting"] == "from site=1/PCA 4 + FastICA/2-shot"]
    assert {r["target"] for r in probed} == {"source", "site=0"}
    assert {r["modality"] for r in probed} == {"x", "t", "joint"}
    assert all(0 <= float(r["value"]) <= 1 for r in probed)
    zero = [float(r["value"]) for r in rows if "zero-shot" in r["setting"]]
    assert len(zero) == 2 and min(zero) > 0.6
    with open(run / "examples_x_4.csv", newline="") as file:
        shown = list(csv.reader(file))
    assert len(shown) == 5 and shown[1][1].startswith("leaf ")
    told = capsys.readouterr().out
    assert "both, shifted" in told and "FastICA of a Normal twin" in told and "±" in told
    before = (run / "results.csv").read_bytes()
    assert _run(tmp_path, *command) == 0
    assert (run / "results.csv").read_bytes() == before


def test_a_signal_stops_between_rows_and_the_rest_is_the_same(
    simple_run, labelled, tmp_path, monkeypatch
):
    command = _simple(labelled)
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    original = table.few_shot_accuracies
    monkeypatch.setattr(table, "few_shot_accuracies", interrupted)
    assert _run(tmp_path, *command) == 130
    assert _run(tmp_path, *command) == 0
    read = lambda run: (run / "results.csv").read_bytes()
    assert read(tmp_path / "run") == read(simple_run)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--shots=400"], r"use 1 to \d+, the rows of class"),
        (["--probes=svm"], "use one or more of l2, l1, knn"),
        (["--domains=size_"], "no array 'size_'"),
        (["--domains=site", "--source=9"], r"use one of 0, 1 \(source: '9' is"),
        (["--domains=images"], r"use an array of one axis"),
        (["--num_components=0"], "whole numbers >= 1.*num_components: "),
        (["--test_share=0.9"], "a sum below 1 .validation_share, test_share: "),
        (["--restarts=1"], "use a whole number >= 2"),
        (["--shifted=nowhere.npz"], "use the path of an existing"),
    ],
)
def test_bad_input_is_one_line(labelled, flags, said, tmp_path, capsys):
    import re

    path, *_ = labelled
    assert _run(tmp_path, f"--features={path}", "--values=feature_list", *flags) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and re.search(said, told[0]), told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["nan", "labels", "rows", "columns"])
def test_broken_files_are_named(labelled, kind, tmp_path, capsys):
    path, _, arrays = labelled
    x, labels = arrays["feature_list"].copy(), arrays["label_list"].copy()
    flags, said = [f"--features={path}", "--values=feature_list"], "other.npz"
    other = dict(feature_list=x, label_list=labels)
    if kind == "nan":
        x[3, 2] = np.nan
    elif kind == "labels":
        labels[5] = "elm"
    elif kind == "rows":
        other["label_list"] = labels[:-1]
    else:
        other["feature_list"], said = x[:, :-1], "columns; use equal ones"
    np.savez(tmp_path / "other.npz", **other)
    assert _run(tmp_path, *flags, f"--shifted={tmp_path / 'other.npz'}") == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and said in told[0], told


def test_the_table_has_whitening_beside_every_rotation():
    names = [m.name for m in methods((8, 16))]
    for k in (8, 16):
        assert names.index(f"PCA {k} + FastICA") == names.index(f"PCA {k} + whitening") + 1
    assert names[:3] == ["linear probe", "whitening", "FastICA"]


def test_features_alone_need_no_labels(tmp_path):
    np.save(tmp_path / "x.npy", np.asarray(PAIRS.image))
    world = read_world(FeatureOptions(features=str(tmp_path / "x.npy")), 0)
    assert world.sources == {} and world.remarks[-1].startswith("no labels")
