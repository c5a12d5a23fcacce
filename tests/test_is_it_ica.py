"""Gains with intervals, thresholds on one component, what components mean: known optima first."""

import csv
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from experiments import is_it_ica
from mmjax.data.few_shot_files import FewShotSet, LabelledRows
from mmjax.errors import InvalidInput
from mmjax.evaluate.bootstrap import paired_bootstrap, resampled_means
from mmjax.evaluate.meaning import half_waves, monosemanticity, nearest_texts, top_classes
from mmjax.evaluate.single import fit_single, single_accuracies
from mmjax.few_shot import make_draws
from mmjax.few_shot.by_class import CONTRASTS, MAPS, class_figures, fit_map, map_rows
from mmjax.run import launch, read_results
from mmjax.studies.component_looks import (
    chance_alike,
    fit_coder,
    halves_stability,
    meaning_figures,
    parts_of_set,
    twin_figures,
)
from mmjax.studies.zero_shot_maps import mapped_zero_shot

KEY = jax.random.key(0)
CLASSES, SOURCES = 8, 8
NAMES = np.array(["ash", "beech", "elm", "fir", "lime", "oak", "pine", "yew"])


def sources(rng, each):
    """Skewed sources, almost independent; the class is the largest one, where that is large."""
    z = rng.exponential(size=(20 * each * CLASSES, SOURCES)) ** 1.5
    labels = np.where(z.max(1) > 3, z.argmax(1), -1)
    kept = np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(CLASSES)])
    return z[kept], labels[kept]


def mixed(z):
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(SOURCES, SOURCES)))[0]
    return (z @ turn).astype(np.float32)


def made_set():
    """A set whose features are turned sources; unlike those of a file no unit vectors."""
    rng, parts = np.random.default_rng(0), []
    for each in (8, 40, 20):
        z, labels = sources(rng, each)
        parts.append(LabelledRows(mixed(z), labels.astype(np.int32)))
    texts = {"text": mixed(3 * np.eye(CLASSES, SOURCES))}
    return FewShotSet("toys", NAMES, *parts, texts, {}, ())


FEW = made_set()


@pytest.fixture(scope="module")
def judged():
    """Figures of each class by a threshold, maps, draws and test rows."""
    few = FEW
    draws, tests = make_draws(few, jax.random.split(KEY, 2), shots=8, validation=4)
    pool = jnp.concatenate([few.pool.x, few.val.x])
    maps = {name: fit_map(name, SOURCES, map_rows(draws, pool), draws.keys) for name in MAPS}
    look = lambda probe, name: class_figures(probe, maps[name], draws, tests["test"], CLASSES)
    return {name: look("one", name).classes for name in MAPS[2:]}, maps, draws, tests["test"]


def test_the_interval_of_one_draw_is_scipys():
    gains = np.random.default_rng(0).gamma(1.0, size=60)
    found = paired_bootstrap(gains[None], KEY, resamples=5000)
    own = stats.bootstrap((gains,), np.mean, method="percentile", n_resamples=5000, rng=1)
    np.testing.assert_allclose(found[1:], own.confidence_interval, atol=0.02)
    assert float(found.mean) == pytest.approx(gains.mean(), rel=1e-5)


def test_intervals_cover_as_often_as_they_say_and_scipys_do():
    """Of tables with effects of draw, of class and of both, at least so often (Owen 2007)."""
    rng, inside = np.random.default_rng(0), []
    for trial in range(200):
        draws, classes = rng.normal(size=(20, 1)), rng.normal(size=(1, 30))
        gains = 0.3 + 0.3 * draws + 0.5 * classes + rng.normal(size=(20, 30))
        found = paired_bootstrap(gains, jax.random.key(trial), resamples=400)
        inside.append(float(found.low) < 0.3 < float(found.high))
    assert 0.9 < np.mean(inside) <= 1


def test_classes_alone_would_be_too_sure():
    gains = np.random.default_rng(0).normal(size=(10, 1)) + np.zeros((10, 50))
    both = float(jnp.std(resampled_means(gains, KEY)))
    assert both == pytest.approx(gains[:, 0].std() / 10**0.5, rel=0.1)
    for bad in (np.zeros(3), np.zeros((0, 3))):
        with pytest.raises(InvalidInput, match="gains"):
            resampled_means(bad, KEY)


def test_the_best_threshold_is_brute_force():
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(24, 3)), np.repeat(np.arange(3), 8)
    z[labels == 1, 2] += 1.0
    found = fit_single(z, labels, z[:0], labels[:0], 3)
    scores = np.asarray(single_accuracies(found, jnp.asarray(z), jnp.asarray(labels)))
    for c in range(3):
        own = labels == c
        best = max(
            balanced_accuracy_score(own, sign * z[:, k] > sign * cut)
            for k, sign in itertools.product(range(3), (1, -1))
            for cut in (np.sort(z[:, k])[1:] + np.sort(z[:, k])[:-1]) / 2
        )
        assert scores[c] == pytest.approx(best, abs=1e-5)
        k, sign, cut = (np.asarray(v)[c] for v in found)
        told = balanced_accuracy_score(own, sign * z[:, k] > sign * cut)
        assert scores[c] == pytest.approx(told, abs=1e-5)


def test_of_equal_components_the_widest_gap_is_taken():
    z = np.array([[0.0, 0.0, 0.0], [0.1, 5.0, 0.0], [0.2, 6.0, 0.0], [0.3, 7.0, 0.0]])
    labels = np.array([0, 1, 1, 1])
    found = fit_single(z, labels, z[:0], labels[:0], 2)
    assert found.component.tolist() == [1, 1] and found.sign.tolist() == [-1, 1]
    np.testing.assert_allclose(found.threshold, 2.5)
    # Validation rows decide where training rows can't.
    found = fit_single(z, labels, np.array([[0.0, 6.0, 0.0]]), np.array([0]), 2)
    assert found.component.tolist()[0] == 0


def test_monosemanticity_is_its_formula():
    rng = np.random.default_rng(2)
    a, labels = rng.exponential(size=(30, 4)), rng.integers(0, 3, 30)
    a[:, 3] = 0
    found = np.asarray(monosemanticity(a, labels, 3))
    alike = labels[:, None] == labels
    for k in range(3):
        weights = np.outer(a[:, k], a[:, k]) * (1 - np.eye(30))
        assert found[k] == pytest.approx((weights * alike).sum() / weights.sum(), rel=1e-4)
    assert np.isnan(found[3])
    even = float(monosemanticity(np.ones((30, 1)), labels, 3)[0])
    assert even == pytest.approx(chance_alike(labels), rel=1e-5)
    main, purity = top_classes(a[:, :1], labels, 3, 5)
    rows = labels[np.argsort(-a[:, 0])[:5]]
    assert purity[0] == pytest.approx(np.bincount(rows).max() / 5)
    assert int(main[0]) == np.bincount(rows).argmax()


def test_names_are_texts_around_their_mean_and_sides_are_the_longer_tail():
    texts = np.eye(3, 5) + 4 * np.eye(5)[4]
    places, cosines = nearest_texts(np.eye(3, 5)[::-1], texts, 2)
    assert places[:, 0].tolist() == [2, 1, 0] and (cosines[:, 0] > cosines[:, 1]).all()
    y = np.random.default_rng(0).exponential(size=(100, 2)) * [1, -1]
    seen = half_waves(jnp.asarray(y), jnp.asarray(y))
    np.testing.assert_allclose(seen, np.maximum(np.abs(y) - np.abs(y).mean(0), 0), atol=1e-5)


@pytest.mark.slow
def test_a_rotation_is_nothing_to_an_l2_probe(judged):
    _, maps, draws, rows = judged
    found = [class_figures("l2", maps[n], draws, rows, CLASSES).classes for n in MAPS[1:]]
    np.testing.assert_allclose(found[1], found[0], atol=0.05)
    np.testing.assert_allclose(found[2], found[0], atol=0.05)


def test_a_rotation_is_much_to_a_threshold_on_one_component(judged):
    classes = judged[0]
    gain = classes["FastICA"] - classes["random rotation"]
    found = paired_bootstrap(gain, KEY)
    assert float(found.low) > 0 and float(found.mean) > 0.05
    assert classes["FastICA"].mean() > 0.8


@pytest.mark.slow
def test_the_independent_sources_are_found_named_and_the_same_in_both_halves():
    few = FEW
    parts = parts_of_set(few)
    found = {}
    for way in ("FastICA", "random rotation"):
        coder = fit_coder(way, parts.unlabelled, KEY, SOURCES)
        found[way] = meaning_figures(coder, parts, CLASSES, few.texts["text"])
        held = jnp.asarray(parts.held.x)
        found[way]["stability"] = halves_stability(way, parts.unlabelled, held, KEY, SOURCES)
    ica, turned = found["FastICA"], found["random rotation"]
    assert ica["stability"] > 0.85 and turned["stability"] < 0.7
    assert ica["kurtosis"] > 2 * turned["kurtosis"]
    assert ica["monosemanticity"] > turned["monosemanticity"] + 0.05
    assert ica["single"] > turned["single"] + 0.1
    twin = twin_figures(parts, KEY, SOURCES)
    assert abs(twin["kurtosis"]) < 0.5 and twin["stability"] < 0.75


def test_zero_shot_by_cosine_sees_no_rotation():
    few = FEW
    rows = jnp.asarray(few.test.x), jnp.asarray(few.test.labels)
    how = *rows, jnp.asarray(few.texts["text"]), CLASSES
    pool = jnp.concatenate([few.pool.x, few.val.x])[None]
    maps = {n: fit_map(n, SOURCES, pool, jax.random.split(KEY, 1)) for n in MAPS[1:]}
    found = {n: mapped_zero_shot(jax.tree.map(lambda v: v[0], a), *how) for n, a in maps.items()}
    for n in MAPS[2:]:
        np.testing.assert_allclose(found[n], found["whitening"], atol=0.03)
    plain = np.asarray(few.test.x @ few.texts["text"].T).argmax(1) == few.test.labels
    own = [plain[few.test.labels == c].mean() for c in range(CLASSES)]
    np.testing.assert_allclose(mapped_zero_shot(None, *how), own, atol=1e-6)


@pytest.mark.slow
def test_the_page_is_whole_and_a_second_run_fits_nothing(tmp_path, monkeypatch, capsys):
    arrays = {"class_names": NAMES} | FEW.texts
    for part, rows in zip(("train_4", "val", "test"), (FEW.pool, FEW.val, FEW.test), strict=True):
        arrays |= {part: rows.x, f"{part}_labels": rows.labels}
    written = str(tmp_path / "toys.npz")
    np.savez(written, **arrays)
    folder = str(tmp_path / "run")
    flags = dict(
        data=written, seeds=2, shots=1, num_components=4, whole="false", probes="l2,l1,one"
    )
    flags |= dict(
        splits=1, resamples=50, texts=written, text_values="text", text_names="class_names"
    )
    argv = ["is_it_ica", f"--workdir={folder}", *(f"--{k}={v}" for k, v in flags.items())]
    how = dict(experiment="is_it_ica", doc="", about=is_it_ica.ABOUT, argv=argv)
    run = lambda: launch(is_it_ica.main, is_it_ica.Config, is_it_ica.PRESETS, **how)
    assert run() == 0
    rows = read_results(f"{folder}/results.csv")
    assert {"gain", "gain_low", "monosemanticity", "named"} <= {row.metric for row in rows}
    with open(f"{folder}/names_toys_4.csv", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert len(lines) == 5 and lines[1][2] in NAMES
    summary = (tmp_path / "run/summary.md").read_text()
    assert "FastICA - random rotation" in summary and "Normal twin" in summary
    at = lambda setting, of: [r.value for r in rows if (r.setting, r.target) == (setting, of)]
    parts = [at("toys/PCA 4/l1/1-shot", f"{name}")[0] for name in list(CONTRASTS)[:3]]
    assert parts[0] + parts[1] == pytest.approx(parts[2], abs=1e-6)
    assert len(at("toys/PCA 4/across/mean over shots", "L1 of FastICA - L2 of plain")) == 3
    # A piece that a kill cut short is made again, from figures that are there.
    pieces = json.loads((tmp_path / "run/pieces.json").read_text())
    del pieces["toys/PCA 4/one/1-shot"]["gains"]
    (tmp_path / "run/pieces.json").write_text(json.dumps(pieces))
    monkeypatch.setattr("mmjax.tables.is_it_ica.class_figures", None)
    assert run() == 0
    assert sorted(read_results(f"{folder}/results.csv")) == sorted(rows)
    capsys.readouterr()
