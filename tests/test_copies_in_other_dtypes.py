"""Rows that a model was trained on are known again in whatever dtype they are stored."""

import jax
import ml_dtypes
import numpy as np
import pytest

import mmjax as mm
from mmjax.data.hashes import data_hash, hashes_of, held_in, known_hashes
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

N = 180
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
NEW = RNG.normal(size=(N, 4))
FLOATS = ("float64", "float32", "float16", ml_dtypes.bfloat16)
INTS = ("uint8", "int16", "int64", "float32", "float16", "bool")


def of(values, **more):
    ids = np.arange(values.shape[0])
    return mm.Dataset.from_arrays(x=values, ids=ids, split=(0, 0, 1), **more)


def held_by(data, known):
    """Rows whose every modality holds one of these."""
    return np.all([holds | lacks for holds, lacks in held_in(data, known).values()], axis=0)


def held(trained, judged) -> int:
    return int(held_by(of(judged), known_hashes(of(trained), of(trained))).sum())


@pytest.mark.parametrize("stored", FLOATS)
@pytest.mark.parametrize("kept", FLOATS)
def test_copies_are_known_and_other_rows_are_not(kept, stored):
    twice = {np.dtype(kept).name, np.dtype(stored).name} == {"float16", "bfloat16"}
    if not twice:  # of what one of them has rounded, the other rounds some rows otherwise
        assert held(X.astype(kept), X.astype(stored)) == N
    assert held(X.astype(kept), NEW.astype(stored)) == 0


def test_bytes_over_255_are_known_in_whatever_rounding():
    pixels = RNG.integers(0, 256, (N, 6)).astype(np.uint8)
    made = {
        "bytes": pixels,
        "over": pixels.astype(np.float32) / np.float32(255),
        "times": pixels.astype(np.float32) * np.float32(1 / 255),
        "wide": pixels / 255,
    }
    for kept in made.values():
        for stored in made.values():
            assert held(kept, stored) == N
            assert held(kept, np.roll(stored, 1, axis=1)) == 0


@pytest.mark.parametrize("stored", INTS)
@pytest.mark.parametrize("kept", INTS)
def test_whole_numbers_are_equal_in_every_dtype(kept, stored):
    pixels = RNG.integers(0, 256, (N, 6)) if "bool" not in (kept, stored) else NEW[:, :4] > 0
    assert held(pixels.astype(kept), pixels.astype(stored)) == N
    assert held(np.arange(5, 50)[:, None].astype("int64"), np.arange(5)[:, None].astype(kept)) == 0


@pytest.mark.parametrize("kept, stored", [("float64", "float32"), ("float32", "float64")])
@pytest.mark.parametrize("far", ["amounts", "a time beside others", "counts"])
def test_far_numbers_are_known_in_fewer_digits(kept, stored, far):
    x, new = X.copy(), NEW.copy()
    if far == "a time beside others":
        x[:, 0] = new[:, 0] = 1.7e9 + 20 * np.arange(N)
    else:
        x, new = (np.round(1e8 + 2e7 * v, 0 if far == "counts" else 2) for v in (x, new))
    whole = {"float64": "int64"}.get(kept, kept) if far == "counts" else kept
    assert held(x.astype(whole), x.astype(stored)) == N
    assert held(x.astype(whole), new.astype(stored)) == 0


def _streamed(values):
    return Lazy(values.shape, values.dtype, lambda rows: values[rows])


@pytest.mark.parametrize("lazy", ["trained", "judged", "both"])
@pytest.mark.parametrize("kept, stored", [("float32", "float16"), ("float16", "float64")])
def test_what_is_streamed_is_known_in_other_dtypes(kept, stored, lazy):
    trained, judged = X.astype(kept), X.astype(stored)
    trained = trained if lazy == "judged" else _streamed(trained)
    judged = judged if lazy == "trained" else _streamed(judged)
    known = known_hashes(of(trained), of(trained))
    assert held_by(of(judged), known).all()
    assert not held_by(of(_streamed(NEW.astype(stored))), known).any()


def test_rows_that_are_near_are_no_copies():
    """Half precision would take them for one, but they are not of half precision."""
    x = X.astype(np.float32)
    assert held(x, x * np.float32(1 + 1e-5)) == 0
    stamps = 1700000000 + 20 * np.arange(3 * N).reshape(N, 3)
    assert held(stamps[::2], stamps[1::2]) == 0
    sparse = np.where(RNG.random((N, 8)) < 0.1, RNG.random((N, 8)), 0).astype(np.float32)
    assert held(sparse[sparse.any(1)], np.zeros((1, 8), np.float32)) == 0


def test_hashes_that_older_models_keep_still_know_their_rows():
    x = X.astype(np.float32)
    whole = (x * 100).astype(np.int32)
    assert data_hash(hashes_of(of(x))) == "bb1dfebe2458747c"
    assert data_hash(hashes_of(of(whole))) == "42f8f23d6566a7ec"
    assert held_by(of(X), hashes_of(of(x))).all()
    assert held_by(of(whole), hashes_of(of(whole))).all()


def test_a_model_judges_no_copies_of_its_rows():
    data = mm.Dataset.from_arrays(x=X.astype(np.float32), t=NEW.astype(np.float32), split=(1, 0, 0))
    model = mm.fit(data, dim=2, key=jax.random.key(0), steps=2, batch_size=8, progress=False)
    copies = mm.Dataset.from_arrays(
        x=X.astype(np.float16), t=NEW.astype(ml_dtypes.bfloat16), split=(0, 0, 1)
    )
    with pytest.raises(InvalidInput, match="180 of 180 rows .*trained on"):
        mm.retrieval(model, copies)
