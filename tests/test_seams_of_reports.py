"""What a run is told of its flags, and what its tables and figures must not lose."""

import importlib

import numpy as np
import pytest

from mmjax.config import moot
from mmjax.tables.models import DataOptions, read_data
from mmjax.tables.needs import NEEDS

RNG = np.random.default_rng(0)


def config_of(name, **flags):
    return importlib.import_module(f"experiments.{name}").Config(**flags)


@pytest.mark.parametrize(
    "name, flags, told",
    [
        ("disentangle", dict(split="part"), {"split"}),
        ("disentangle", dict(group="tree", use_trained_rows=True), {"group", "use_trained_rows"}),
        ("disentangle", dict(split="part", features="f.npz"), set()),
        ("disentangle", dict(split="part", twin="f.npz"), set()),
        ("paired_data", dict(ids_x="i", ids_t="i"), {"ids_x", "ids_t"}),
        ("paired_data", dict(ids_x="i", ids_t="i", data="f.npz"), set()),
        ("fit", dict(loss="factor_cl", temperature=0.2), {"temperature"}),
        ("fit", dict(loss="factor_cl_supervised", temperature=0.2), {"temperature"}),
        ("fit", dict(loss="siglip", temperature=0.2), set()),
        # A label makes FactorCL supervised: that flag does something.
        ("fit", dict(loss="factor_cl", train_label="y"), set()),
        ("fit", dict(loss="info_nce", train_label="y"), {"train_label"}),
        ("comm_trifactors", dict(methods="factor_cl", temperature=0.2), {"temperature"}),
        ("comm_trifeature", dict(methods="factor_cl,comm", temperature=0.2), set()),
        ("comm_digits", dict(methods="factor_cl_supervised", temperature=0.2), {"temperature"}),
        ("comm_digits", dict(probe_samples=100), set()),
        ("comm_digits", dict(image_rows=100), {"image_rows"}),
    ],
)
def test_flags_that_change_nothing_are_told_and_no_others(name, flags, told):
    lines = moot(config_of(name, **flags), list(flags), NEEDS.get(name, {}))
    assert {line.split()[1].strip("-") for line in lines} == told


def test_root_and_stream_without_files_are_told(tmp_path):
    x, word = RNG.normal(size=(40, 3)), np.arange(40) % 2
    np.savez(tmp_path / "pairs.npz", x=x, t=x + 1, word=word)
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{k}.5,{k % 7}.25\n" for k in range(40)))
    options = dict(labels="word", root=str(tmp_path))
    of_arrays = DataOptions(data=str(tmp_path / "pairs.npz"), **options, stream=True)
    told = read_data(of_arrays).remarks
    assert any(line.startswith("--root=") and "changes nothing" in line for line in told)
    assert not any(line.startswith("--stream") for line in told)
    of_cells = dict(data=str(tmp_path / "t.csv"), modalities="x:a,t:b", root="r", stream=True)
    told = read_data(DataOptions(**of_cells)).remarks
    assert sum("changes nothing" in line for line in told) == 2


def test_root_of_a_table_of_pictures_is_not_told(tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for k in range(20):
        pixels = RNG.integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{k}.png")
    rows = "".join(f"{k}.png,some words {k}\n" for k in range(20))
    (tmp_path / "t.csv").write_text("photo,caption\n" + rows)
    options = DataOptions(data=str(tmp_path / "t.csv"), root=str(tmp_path / "in"))
    assert not any("changes nothing" in line for line in read_data(options).remarks)
