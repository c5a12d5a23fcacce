"""Streams: the same batches whatever the threads and wherever they start; memory bounded."""

import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data.dataset import Dataset
from mmjax.data.stream import batches, epoch_rows
from mmjax.data.values import Lazy
from mmjax.errors import InvalidInput

N, BATCH = 23, 5
VALUES = np.random.default_rng(0).normal(size=(N, 4, 2)).astype(np.float32)


def _data(read=lambda rows: VALUES[rows]):
    return Dataset.from_arrays(
        x=Lazy(VALUES.shape, VALUES.dtype, read),
        y=np.arange(N) * 1.0,
        word=[str(k) for k in range(N)],
        lengths={"x": np.arange(N) % 4 + 1},
        present={"y": np.arange(N) % 3 > 0},
    )


def _slow(rows):
    """Later steps are often read sooner."""
    time.sleep(0.002 * (rows[0] % 4))
    return VALUES[rows]


def _list(data, first, last, **options):
    return list(batches(data, epoch_rows(N, BATCH, 3), first, last, **options))


def _same(found, wanted):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        for x, y in zip(a.modalities + a.seen + a.present, b.modalities + b.seen + b.present,
                        strict=True):  # fmt: skip
            assert (x is None) == (y is None)
            np.testing.assert_array_equal(x, y)


@given(
    n=st.integers(1, 40), batch=st.integers(1, 60), seed=st.integers(0, 9), step=st.integers(0, 99)
)
@settings(deadline=None)
def test_every_epoch_holds_all_rows_once(n, batch, seed, step):
    rows = epoch_rows(n, batch, seed)
    run = np.concatenate([rows(s) for s in range(2 * n)])
    epochs = run[: len(run) // n * n].reshape(-1, n)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (len(epochs), 1)))
    again = epoch_rows(n, batch, seed)(step)  # of the step alone
    assert len(again) == batch
    np.testing.assert_array_equal(again, [rows(s) for s in range(step + 1)][-1])


def test_epochs_and_seeds_have_other_orders():
    orders = [epoch_rows(N, N, seed)(epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


@pytest.mark.parametrize("threads, ahead", [(1, 1), (2, 4), (8, 8), (8, 3)])
def test_order_does_not_depend_on_threads(threads, ahead):
    data, rows = _data(), epoch_rows(N, BATCH, 3)
    found = _list(_data(_slow), 0, 20, threads=threads, ahead=ahead)
    for step, batch in enumerate(found):
        np.testing.assert_array_equal(batch.rows, rows(step))
        np.testing.assert_array_equal(batch.modalities[0], VALUES[batch.rows])
        np.testing.assert_array_equal(batch.modalities[1][:, 0], np.where(
            batch.present[1], batch.rows, 0))  # fmt: skip
        assert batch.modalities[2].tolist() == [str(row) for row in batch.rows]
        np.testing.assert_array_equal(batch.seen[0], data.columns["x"].seen[batch.rows])
        assert batch.seen[1] is None and batch.present[0] is None


@given(st.integers(0, 12))
@settings(max_examples=8, deadline=None)
def test_a_stream_goes_on_as_if_it_had_not_stopped(first):
    _same(_list(_data(), first, 12), _list(_data(), 0, 12)[first:])


def test_a_fault_surfaces_at_its_step_in_one_line():
    rows = epoch_rows(N, BATCH, 3)
    bad = rows(3)[0]

    def read(chosen):
        if bad in chosen:
            raise InvalidInput("x.jpg: no whole picture")
        return VALUES[chosen]

    stream, seen = batches(_data(read), rows, 0, 20, threads=4, ahead=8), []
    with pytest.raises(InvalidInput, match="^x.jpg: no whole picture$") as error:
        for batch in stream:
            seen.append(batch)
    assert len(seen) == 3 and not getattr(error.value, "__notes__", ())


def _no_threads(seconds=5):
    """Whether none of grain's is left, soon: a thread ends with the row that it reads."""
    end = time.monotonic() + seconds
    while found := [t for t in threading.enumerate() if "grain" in t.name]:
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    return not found


def test_a_closed_stream_leaves_no_threads():
    assert _no_threads()
    stream = batches(_data(), epoch_rows(N, BATCH, 0), 0, 10**9)
    next(stream)
    assert not _no_threads(0)
    stream.close()
    assert _no_threads()


def test_memory_holds_what_is_ahead_and_no_more():
    row, n, ahead = 100_000, 10_000, 3  # a gigabyte in all
    read = lambda rows: np.zeros((len(rows), row), np.uint8)
    data = Dataset.from_arrays(x=Lazy((n, row), np.dtype(np.uint8), read))
    next(batches(data, epoch_rows(n, 10, 0), 0, 1))  # imports, and an order
    tracemalloc.start()
    for batch in batches(data, epoch_rows(n, 10, 0), 0, 300, ahead=ahead):
        assert batch.modalities[0].nbytes == 10 * row
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < (ahead + 4) * 10 * row  # what is read, waits, and is used


def test_a_missing_grain_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(InvalidInput, match="^data: reading it needs `pip install grain`$"):
        batches(_data(), epoch_rows(N, BATCH, 0), 0, 1)


def test_numbers_out_of_range_are_refused():
    rows = epoch_rows(N, BATCH, 0)
    for options in ({"threads": 0}, {"ahead": 0}):
        with pytest.raises(InvalidInput):
            batches(_data(), rows, 0, 1, **options)
    with pytest.raises(InvalidInput):
        batches(_data(), rows, 2, 1)
    assert not list(batches(_data(), rows, 2, 2))
    for bad in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(InvalidInput):
            epoch_rows(*bad)
