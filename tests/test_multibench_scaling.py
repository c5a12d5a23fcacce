"""What MultiBench's features are standardised by: training rows, and no others."""

import types

import numpy as np
import pytest

import mmjax as mm
from mmjax.tables.multibench import preparations
from mmjax.tables.multibench_sources import SOURCES

SPLIT = ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
SCALED = [
    (source, name)
    for source, of in SOURCES.items()
    for name, part in of.parts.items()
    if not part.scaled
]


@pytest.mark.parametrize("source, name", SCALED)
@pytest.mark.parametrize("far", ["validation", "test"])
def test_no_held_out_row_moves_the_scaling(source, name, far):
    x = np.random.default_rng(0).normal(size=(24, 5, 4)).astype(np.float32)
    moved = np.where(np.array(SPLIT)[:, None, None] == far, 1e3, x).astype(np.float32)
    config = types.SimpleNamespace(dataset=source, standardise=True)
    of = lambda rows: preparations(config, mm.Dataset.from_arrays({name: rows}, split=SPLIT))
    before, after = of(x)[name].scaling, of(moved)[name].scaling
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.scale, after.scale)
    assert 0 < np.abs(before.mean).max() < 1
