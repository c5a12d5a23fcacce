"""A loss of one's own is tried before a training writes anything; its faults are told in a line."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmjax as mm
from mmjax.errors import InvalidInput
from mmjax.losses import LOSSES
from mmjax.models.losses import loss_of, name_of, try_loss
from mmjax.models.parts import Design, make_parts
from tests.test_models import HOW, KEY, SMALL, arrays, barlow_twins, dataset

FUSED = mm.Fusion(tokens=2, layers=1, heads=2)


def lacking():
    rows, kind = arrays()
    there = np.arange(len(kind)) % 4 > 0
    return mm.Dataset.from_arrays(
        rows, present={"b": there}, labels={"kind": kind}, split=(0.6, 0.2, 0.2)
    )


def tried(loss, data=None, fusion=None):
    data = dataset() if data is None else data
    rows, held = data.part("train"), data.part("validation")
    nets = {} if fusion else SMALL
    design = Design(4, loss_of(loss, fusion, 3), nets, fusion, "sphere", None, None, "kind")
    parts = make_parts(rows, held, design, key=jax.random.key(0))
    return try_loss(parts, 8, name_of(loss, fusion))


def test_faults_are_told_before_anything_is_written(tmp_path):
    folder = tmp_path / "own"
    told = r"loss: barlow_twins fails on z of .*joint \[\d+, \d+\].*: ValueError: too many values"
    with pytest.raises(InvalidInput, match=told) as error:
        mm.fit(dataset(), key=KEY, loss=barlow_twins(), fusion=FUSED, workdir=str(folder), **HOW)
    assert "\n" not in str(error.value) and not folder.exists()
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "returned, told",
    [
        (lambda z: jnp.mean(z), r"float32 of shape \[\]"),
        (lambda z: (z.mean(1), {}), r"shape \[8\] as the scalar"),
        (lambda z: (jnp.mean(z), None), "NoneType"),
    ],
)
def test_what_is_no_value_with_metrics_is_refused(returned, told):
    loss = mm.Loss(lambda key, dim: {}, lambda params, z, context: returned(z["a"]))
    with pytest.raises(InvalidInput, match=f"returns .*({told}).*; use \\(scalar, dict"):
        tried(loss)


def of_absent_rows(remarks):
    """Most losses read no labels, which is told as well."""
    return [line for line in remarks if "rows that lack" in line]


def test_a_loss_that_takes_absent_rows_for_present_ones_is_noted(capsys):
    (told,) = of_absent_rows(tried(barlow_twins(), lacking()))
    assert "barlow_twins doesn't leave out rows that lack b" in told
    assert told in capsys.readouterr().err
    assert not of_absent_rows(tried(barlow_twins()))


def test_a_loss_that_counts_classes_has_them_of_the_label():
    with pytest.raises(InvalidInput, match="factor_cl_supervised needs label, a column of classes"):
        mm.fit(dataset(), key=KEY, loss="factor_cl_supervised", **HOW)


def test_the_classes_of_the_label_are_counted():
    how = HOW | {"steps": 1, "validate_every": 0}
    how |= dict(key=KEY, nets=SMALL, label="kind")
    made = mm.fit(dataset(), loss="factor_cl_supervised", **how)
    named = mm.fit(dataset(), loss=mm.losses.factor_cl_supervised(classes=3), **how)
    assert made.spec.about["loss"] == "factor_cl_supervised"
    chex.assert_trees_all_equal(made.params, named.params)


@pytest.mark.parametrize("loss", ["info_nce", "siglip"])
def test_a_label_that_the_loss_does_not_read_is_noted(loss, capsys):
    message = f"loss {loss} reads no labels: the label changes nothing"
    assert message in tried(loss) and message in capsys.readouterr().err
    assert not tried("supcon")


def _of_sides(params, z, context):
    return jnp.mean((z["a"] - z["b"]) ** 2), {}


def test_an_embedding_that_the_loss_does_not_read_is_noted():
    loss = mm.Loss(lambda key, dim: {}, _of_sides)
    (told,) = [line for line in tried(loss, fusion=FUSED) if "is not trained" in line]
    assert told.startswith("loss _of_sides reads no joint:") and "in_pairs" in told
    alone = mm.Loss(lambda key, dim: {}, lambda params, z, context: (jnp.sum(z["a"]), {}))
    assert any("reads no b: what becomes of it is not trained" in line for line in tried(alone))
    assert not any("is not trained" in line for line in tried(loss))


@pytest.mark.parametrize("name, left", [("comm", ""), ("info_nce", "joint"), ("supcon", "a, b")])
def test_ours_leave_what_they_do_not_read_in_a_fusion(name, left):
    told = [line for line in tried(name, fusion=FUSED) if "is not trained" in line]
    assert bool(told) == bool(left) and all(f"{name} reads no {left}:" in line for line in told)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_ours_leave_absent_rows_out(name):
    try:
        assert not of_absent_rows(tried(name, lacking()))
    except InvalidInput:
        assert not of_absent_rows(tried(name, lacking(), FUSED))
