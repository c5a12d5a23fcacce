"""Scores of too few rows to mean anything, and strengths that no fit can have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax as mm
import mmjax.evaluate as ev
from experiments import disentangle, paired_data, traverse
from mmjax.disentangle import fast_ica, sae
from mmjax.errors import InvalidInput
from mmjax.evaluate.regression import explained
from mmjax.report import Difference, difference
from mmjax.run import Row, compare, launch, read_results
from mmjax.sklearn import CCA, FastICA
from mmjax.studies import read_world, retrieval_after
from mmjax.studies.pictures import Pictures
from mmjax.tables import traverse as table
from mmjax.tables.disentangle_rows import too_few
from mmjax.tables.is_it_ica_report import shown

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 24, 2)).astype(np.float32)
KEY = jax.random.key(0)


def test_r2_of_one_scored_row_is_no_number():
    assert np.isnan(explained(jnp.ones((1, 2)), jnp.zeros((3, 1, 2)))).all()
    assert explained(jnp.ones((1, 2)), jnp.zeros((3, 1, 2))).shape == (3, 2)
    one, two = ((X[:12], Y[:12], X[12 : 12 + m], Y[12 : 12 + m]) for m in (1, 2))
    assert np.isnan(ev.linear_r2_between(*one)) and np.isfinite(ev.linear_r2_between(*two))
    assert np.isnan(ev.linear_r2(X[:2], Y[:2])) and np.isfinite(ev.linear_r2(X[:3], Y[:3]))
    found = [ev.kernel_r2_between(*rows, alphas=(1.0,), gammas=(1.0,)) for rows in (one, two)]
    assert [bool(np.isnan(score.r2)) for score in found] == [True, False]
    rows = [ev.Labelled(X[:12], Y[:12])] * 2
    assert np.isnan(ev.probe("regression", *rows, ev.Labelled(X[:1], Y[:1]))["r2"])


def test_folds_of_one_row_choose_nothing():
    rows = X[12:], Y[12:]
    few, more = (ev.kernel_r2_between(X[:n], Y[:n], *rows, gammas=(1.0,)) for n in (3, 5))
    assert np.isnan(few.cv_r2) and np.isfinite(few.r2) and few.alpha == 1
    assert np.isfinite(more.cv_r2)


def test_a_probe_says_why_one_judged_row_has_no_r2():
    split = ["train"] * 23 + ["test"]
    data = mm.Dataset.from_arrays(a=X, labels={"size": Y[:, 0]}, split=split)
    found = mm.probe(None, data, "size")
    assert np.isnan(found.embedding["a"]) and found.scored == 1
    assert "a: no figure; 1 judged row, r2 takes two or more" in found.remarks
    assert "0.000" not in str(found).splitlines()[2].split("  ")[1]


def test_dci_of_too_few_rows_is_no_number():
    factors = {"one": X[:, 0], "two": np.arange(24) % 2}
    for rows, told in ((4, False), (24, True)):
        few = {name: v[:rows] for name, v in factors.items()}
        found = ev.dci(X[:rows], few)
        scores = *found[:3], *found.per_feature, *found.informativeness_of.values()
        assert rows < 24 or rows >= ev.least_dci_rows(2, factors)
        assert np.isfinite(scores).all() if told else np.isnan(scores).all()
        own = ev.dci(X[:rows], few, penalty=0.5)
        assert np.isfinite(own.disentanglement) and np.isfinite(own.informativeness) == told
    for penalty in (np.inf, np.nan, -1.0):
        with pytest.raises(InvalidInput, match="penalty"):
            ev.dci(X, factors, penalty=penalty)


def test_traverse_says_how_many_pictures_its_scores_take(monkeypatch):
    config = traverse.Config(rows=20)
    row = lambda metric: Row("traverse", "scenes", 0, "x", "FastICA", metric, 0.5)
    factors = {"one": X[:, 0], "two": np.arange(24) % 2}
    pictures = Pictures(np.zeros((24, 2, 2, 3), np.uint8), factors, None, np.arange(24))
    monkeypatch.setattr(table, "pictures_of", lambda config, key: pictures)
    least = ev.least_dci_rows(5, factors)
    text = table.summary(config, "scenes", [row("own")], {})
    assert f"D, C and I take {least} held pictures or more" in text
    assert f"MCC takes {ev.least_mcc_rows(1, 5)} held pictures or more" in text
    text = table.summary(config, "scenes", [row("informativeness")], {})
    assert "one factor: no component can hold two" in text
    every = [row("informativeness"), row("disentanglement")]
    assert "take" not in table.summary(config, "scenes", every, {})


@pytest.mark.parametrize("judged", [1, 3, 4])
def test_kurtosis_of_a_few_judged_rows_is_a_dash_and_a_line(judged):
    split = ["train"] * 20 + ["test"] * judged
    data = mm.Dataset.from_arrays(a=X[: 20 + judged], split=split)
    found = mm.disentangle(None, data, key=KEY)
    told = [of["kurtosis"] for of in [*found.figures.values(), found.chance]]
    rows = "1 judged row" if judged == 1 else f"{judged} judged rows"
    assert all((value is None) == (judged < 4) for value in told)
    assert (f"{rows}: too few for kurtosis, use 4 or more" in found.remarks) == (judged < 4)
    assert np.isnan(ev.excess_kurtosis(X[:judged])).all() == (judged < 4)
    assert np.isnan(ev.sparsity(X[:judged])).all() == (judged < 2)


def _launch(experiment, name, *argv):
    how = dict(experiment=name, doc="", about=experiment.ABOUT, argv=[name, *argv])
    return launch(experiment.main, experiment.Config, experiment.PRESETS, **how)


def test_mcc_of_two_rows_is_no_number_and_the_least_is_where_chance_is_no_longer_one():
    assert np.isnan(ev.mcc(X[:2], Y[:2])) and np.isfinite(ev.mcc(X[:3], Y[:3]))
    assert ev.least_mcc_rows(2, 2) == 9
    assert 2 * ev.least_mcc_rows(2, 3) == ev.least_dci_rows(3, {"a": X[:, 0], "b": X[:, 0]})


def test_recall_is_of_more_pairs_than_answers():
    found = retrieval_after(jnp.asarray(X[:12]), jnp.asarray(Y[:12]), KEY, num_components=1)
    assert {metric for _, _, metric in found} == {"recall_at_1", "recall_at_5"}


def test_disentangle_says_what_so_few_rows_can_not_tell(tmp_path, capsys):
    file = str(tmp_path / "few.npz")
    np.savez(file, image=X[:6], text=Y[:6], latents=X[:6, :2])
    flags = [f"--features={file}", "--values=image", "--text_values=text", "--latents=latents"]
    flags += ["--num_components=1", "--seeds=1", "--top=1", f"--workdir={tmp_path / 'run'}"]
    assert _launch(disentangle, "disentangle", *flags) == 0
    said = capsys.readouterr()
    for line in (
        "no geometry: 6 pairs, one a group; it takes 20 or more",
        "retrieval among about 3 held pairs: a guess has a recall at 1 of 0.33; "
        "recall at k takes more than k held pairs",
        "no MCC and R2 against the latents: 2 held rows; of fewer than 8 they are chance",
        "no kurtosis: half of 6 rows are judged; it takes 8 rows or more",
    ):
        assert f"note: {file}: {line}" in said.err and f"Note: {line}." in said.out
    rows = read_results(str(tmp_path / "run" / "results.csv"))
    assert {r.metric for r in rows} == {"recall_at_1", "sparsity", "stability", "shown"}
    assert "nan" not in said.out.lower()


def test_disentangle_says_nothing_where_rows_are_enough():
    world = read_world(disentangle.Config(generated=200), 0)
    assert too_few(disentangle.Config(generated=200), world) == []


def test_paired_data_of_one_test_row_has_no_recall_and_a_line(tmp_path, capsys):
    file = str(tmp_path / "few.npz")
    test = np.arange(24) == 3
    np.savez(file, x=X, t=Y, size=Y[:, 0], test=test)
    flags = [f"--data={file}", "--x=x", "--t=t", "--private_x=size", "--test_x=test"]
    flags += ["--test_t=test", "--embedding_dims=2", "--hidden=4", "--steps=2", "--batch_size=8"]
    flags += ["--seeds=1", f"--workdir={tmp_path / 'run'}"]
    assert _launch(paired_data, "paired_data", *flags) == 0
    said = capsys.readouterr()
    line = "1 test row of x and 1 test row of t: figures of 10 or fewer are mostly"
    assert f"note: {line}" in said.err and line in said.out
    rows = read_results(str(tmp_path / "run" / "results.csv"))
    assert not [r for r in rows if "recall" in r.metric or r.metric == "r2"]


def test_so_few_seeds_that_agree_are_no_difference():
    alike = lambda n, gap=0.1, start=0: {start + k: 0.3 + k / 7 + gap for k in range(n)}
    for seeds, told in ((2, False), (5, False), (6, True)):
        found = difference(alike(seeds, 0.0), alike(seeds))
        assert found.mean == pytest.approx(0.1) and found.differs == told
        assert (found.kind == "") == np.isnan(found.low) == (not told)
    whole = lambda n, value, start: dict.fromkeys(range(start, start + n), value)
    for seeds, told in ((2, False), (3, False), (4, True)):
        found = difference(whole(seeds, 0.5, 0), whole(seeds, 0.6, 10))
        assert found.differs == told and (found.kind == "") == (not told)


def test_a_page_says_that_seeds_agree_and_are_too_few():
    first, other = {0: 0.5, 1: 0.6}, {0: 0.6, 1: 0.7}
    name = ("fit", "x", "word", "accuracy")
    one = compare.Compared(name, "fit", "two", first, other, difference(first, other))
    row = compare.differences_table([one], ["one", "two"]).rows[0]
    assert row[0] == "" and "no spread of so few seeds" in row
    (line,) = compare._findings([one])
    assert line.startswith("1 figures differ by the same in all seeds, too few to tell")


LABELS = np.arange(24) % 2
SPLIT = X[:12], Y[:12], X[12:], Y[12:]
PROBED = ev.Labelled(X, Y)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, "1"])
@pytest.mark.parametrize(
    "name, fit",
    {
        "l2 of logistic": lambda v: ev.fit_logistic(X, LABELS, 2, v),
        "l1": lambda v: ev.fit_sparse_logistic(X, LABELS, 2, v),
        "l2 of labels": lambda v: ev.fit_multilabel(X, LABELS[:, None], v),
        "l2 of ridge": lambda v: ev.ridge_fitter(jnp.asarray(X), jnp.asarray(Y))(v),
        "l2 of accuracy": lambda v: ev.linear_probe_accuracy(X, LABELS, X, LABELS, 2, v),
        "l2 of sap": lambda v: ev.sap(X, {"one": X[:, 0]}, l2=v),
        "strengths": lambda v: ev.probe("regression", *[PROBED] * 3, strengths=(1.0, v)),
        "alphas": lambda v: ev.kernel_r2(X, Y, alphas=(1.0, v)),
        "gammas": lambda v: ev.kernel_r2(X, Y, gammas=[v]),
        "learning_rate": lambda v: ev.mlp_r2_between(*SPLIT, KEY, learning_rate=v),
        "weight_decay": lambda v: ev.mlp_r2_between(*SPLIT, KEY, weight_decay=v),
        "coarse": lambda v: ev.search_c(X, LABELS, X, LABELS, 2, coarse=(1.0, v)),
        "penalty": lambda v: ev.dci(X, {"one": X[:, 0]}, penalty=v),
        "tolerance": lambda v: fast_ica(jnp.asarray(X), KEY, tolerance=v),
        "rate": lambda v: sae.train(X, KEY, num_latents=2, active=1, rate=v),
        "auxiliary": lambda v: sae.train(X, KEY, num_latents=2, active=1, auxiliary=v),
    }.items(),
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_strength_that_is_none_is_refused_by_its_name(name, fit, bad):
    with pytest.raises(InvalidInput, match=f"^{name.split()[0]}: .*use .*finite number.* >=? 0$"):
        fit(bad)


@pytest.mark.parametrize("unit", [1e-30, 1e37])
def test_scikit_learns_components_do_not_depend_on_the_unit(unit):
    sources = np.random.default_rng(0).laplace(size=(500, 3))
    x = (sources @ RNG.normal(size=(3, 3))).astype(np.float32)
    plain, far = (FastICA(random_state=0).fit(x * s) for s in (1, np.float32(unit)))
    assert far.components_.shape == (3, 3)
    np.testing.assert_allclose(far.transform(x * np.float32(unit)), plain.transform(x), atol=1e-2)
    far = CCA(2).fit(x * np.float32(unit), x[:, :2] * np.float32(unit))
    np.testing.assert_allclose(far.correlations_, 1, atol=1e-4)
    np.testing.assert_allclose(far.transform(x * np.float32(unit)).std(0), 1, atol=1e-3)


def test_a_gain_without_spread_is_not_marked():
    assert shown(Difference(0.5, 0.5, 0.5, "paired bootstrap")) == "+0.500 [no spread]"
    assert shown(Difference(0.5, 0.4, 0.6, "paired bootstrap")).endswith("▲")
    assert shown(Difference(0.0, 0.0, 0.0, "paired bootstrap")) == "+0.000 [+0.000, +0.000]"


def test_traverse_notes_more_components_than_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(traverse, "run_table", lambda *given: None)
    for number, told in ((6, False), (7, True)):
        flags = [f"--num_components={number}", f"--workdir={tmp_path / str(number)}"]
        assert _launch(traverse, "traverse", *flags) == 0
        assert ("note: num_components 7: all of the 6 columns" in capsys.readouterr().err) == told
