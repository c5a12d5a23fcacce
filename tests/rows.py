"""Rows of a data set as arrays, whether they stay in their files or not."""

import numpy as np

from mmjax.data import Lazy


def rows_of(data, name, rows=slice(None)):
    """`[rows, ...]` of a modality."""
    values, rows = data.columns[name].values, np.arange(data.num_rows)[rows]
    return values.read(rows) if isinstance(values, Lazy) else values[rows]
