"""Scores of too few rows to mean anything, and strengths that no fit can have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax as mm
import mmjax.evaluate as ev
from experiments import traverse
from mmjax.errors import InvalidInput
from mmjax.evaluate.regression import explained
from mmjax.run import Row
from mmjax.studies.pictures import Pictures
from mmjax.tables import traverse as table

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 24, 2)).astype(np.float32)
KEY = jax.random.key(0)


def test_r2_of_one_scored_row_is_no_number():
    assert np.isnan(explained(jnp.ones((1, 2)), jnp.zeros((3, 1, 2)))).all()
    assert explained(jnp.ones((1, 2)), jnp.zeros((3, 1, 2))).shape == (3, 2)
    one, two = ((X[:12], Y[:12], X[12 : 12 + m], Y[12 : 12 + m]) for m in (1, 2))
    small = dict(width=2, layers=1, steps=20)
    assert np.isnan(ev.linear_r2_between(*one)) and np.isfinite(ev.linear_r2_between(*two))
    assert np.isnan(ev.linear_r2(X[:2], Y[:2])) and np.isfinite(ev.linear_r2(X[:3], Y[:3]))
    assert np.isnan(ev.mlp_r2_between(*one, KEY, **small))
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
    text = table.summary(config, "scenes", [row("mcc"), row("own")], {})
    assert f"D, C and I take {least} held pictures or more (least_dci_rows)" in text
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
