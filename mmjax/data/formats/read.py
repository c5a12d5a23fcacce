"""A user's file or folder as a Dataset: one call for all formats."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.features import GROUPS, SPLITS, parts_of
from mmjax.data.files.pictures import left_out
from mmjax.data.formats import arrays, tables
from mmjax.data.formats.choice import (
    Options,
    check_as_many,
    modality,
    picked_rows,
    usual_modalities,
)
from mmjax.data.formats.folders import open_stems
from mmjax.data.formats.sounds import MelOptions
from mmjax.data.formats.table import (
    Raw,
    Table,
    check_once,
    column,
    label_values,
    naming_file,
    row_count,
)
from mmjax.data.formats.tars import expanded, open_shards
from mmjax.errors import InvalidInput, counted, require

_OPENERS = {**arrays.OPENERS, **tables.OPENERS, ".tar": lambda path: open_shards(path, [path])}
_SHARES = (0.8, 0.1, 0.1)
_OF_EXPORT = {"split", "group", "is_test"}  # what each of ours has: its groups are linked by ids
_SOUND = MelOptions()


def read(
    path: str | os.PathLike,
    *,
    modalities: Mapping[str, str | Sequence[str]] | None = None,
    labels: Sequence[str] = (),
    groups: str = "",
    ids: str | Sequence[str] = (),
    split: str | Sequence[float] | None = None,
    index: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
    image_size: int | None = None,
    sound: MelOptions = _SOUND,
    stream: bool | None = None,
    limit: int = 2**30,
    root: str = "",
) -> Dataset:
    """Reads paired data of k modalities. Nothing in a file is executed or written to disk.

    Formats, by the ending in upper or lower case: `.npz`, `.safetensors`, `.h5`, `.hdf5` (named
    arrays); `.csv`, `.tsv`, `.jsonl`, `.parquet` (columns of text, numbers, lists of numbers, or
    paths of pictures and sounds); `.tar` (webdataset; `{00..12}` in the path: several shards);
    a folder of `.npy` files, of `.tar` shards, or of pictures, sounds, `.txt` and `.json` files,
    where those of one name in one folder are a row (see mmjax.data.formats.folders).

    Args:
      path: of the file or folder.
      modalities: name -> column (array, ending of files), or several columns of numbers, which are
        joined. None: arrays of two axes or more, columns of paths, of lists, of sentences; in
        folders and shards `image`, `text`, `audio`.
      labels: columns. In a folder also the folders' names (`folder`), in shards `.cls` files.
      groups: a column; default `group` or `groups`, if there.
      ids: one column or more; default `ids`, or `ids_0`, `ids_1`, ..., if there.
      split: a column of train, validation (val, dev) and test, or of 0 and 1 for test rows; or
        shares of the three. Default the column `split` or `is_test`, if there, else .8, .1, .1.
      index: column -> column of row numbers that choose its rows: arrays that a table of pairs
        links. The key may be a modality's name.
      kinds: modality -> kind, where its values don't say it; `text` for text that looks like paths
        or numbers, also of a label.
      seed: of the split by shares.
      image_size: side of squares that pictures are brought to: the shorter side resized, the
        middle cut out. None: as stored, where all are of one size.
      sound: how sounds become log-mel spectra `[steps, mels]`.
      stream: whether pictures, sounds and arrays stay in their files until rows are asked for.
        None: those that take more bytes than the limit.
      limit: in bytes, of each modality. Compressed arrays of an archive are read whole at first.
      root: folder that paths in a table start from; default the table's.

    Of arrays, `NAME_mask` or `NAME_lengths` say where a sequence ends, `NAME_present` or
    `present_NAME` which rows have the modality. An empty cell, text or a missing file of a name
    says that the row lacks it. These are nothing else: a label or a modality of such a name is
    refused, where the array can be what its name says (`NAME_lengths` may be a label, too). What
    was left out is in the data set's remarks.

    Raises InvalidInput, naming the file, for an ending that is not known, a missing or broken file,
    a column that is not there, NaN, pictures of different sizes without image_size, and whatever
    Dataset.from_arrays does.
    """
    path = os.fspath(path)
    by_name = modalities is None or isinstance(modalities, Mapping)
    require(by_name, "modalities", modalities, "a dict: name -> column")
    table = open_table(path)
    with naming_file(path):
        index, labels = dict(index or {}), [labels] if isinstance(labels, str) else list(labels)
        told = [*labels, groups, *_listed(ids), *([split] if isinstance(split, str) else [])]
        check_once(table, told)
        labels += [name for name in table.labels if name not in labels]
        named = {column for value in (modalities or {}).values() for column in _listed(value)}
        free = lambda usual: next(
            (
                called
                for n in usual
                if (called := _called(n, table.columns)) not in (*named, *labels, "")
            ),
            "",
        )
        groups = groups or free((*GROUPS, "groups"))
        numbered, exported = _numbered(table.columns), {*table.columns} >= _OF_EXPORT
        left = [name for name in numbered if name not in (*named, *labels, groups)]
        ids = _listed(ids) or [name for name in [free(("ids",))] if name] or left
        split = (free(SPLITS) or _SHARES) if split is None else split
        rest = [*labels, groups, *ids, split if isinstance(split, str) else ""]
        rest = [name for name in rest if name]
        words = {
            n for n in labels if (kinds or {}).get(n) == "text" and n not in (modalities or {})
        }
        kinds = {name: kind for name, kind in (kinds or {}).items() if name not in words}
        numbers = {*labels} - words  # or names of classes that look like numbers
        labelled = {name: _labels(table, name, index, name in numbers) for name in rest}
        labelled |= {name: _words(table, name, index) for name in words}
        named_rows = {n: _names(table, n, index) for n in (groups, *ids) if n}
        if modalities is None:
            counts = {name: len(values) for name, values in labelled.items()}
            modalities = usual_modalities(table, [*rest, *index.values()], counts)
        require(bool(modalities), "modalities", (), "one or more")
        known = {*table.columns, *modalities}
        for name in index:
            require(name in known, "index", name, "a column or modality: " + ", ".join(known))
        place = root or os.path.dirname(path)
        used = {column for value in modalities.values() for column in _listed(value)}
        used |= {*rest, *index.values()}
        options = Options(image_size, sound, stream, limit, place, dict(kinds or {}), used)
        results = {
            name: modality(table, name, columns, _rows(table, index, name, columns), options)
            for name, columns in modalities.items()
        }
        check_as_many(table, {name: row_count(one.rows) for name, one in results.items()})
        used = used.union(*(one.beside for one in results.values()))
        data = Dataset.from_arrays(
            {name: one.rows for name, one in results.items()},
            labels={name: labelled[name] for name in labels},
            groups=named_rows.get(groups),
            split=_split(path, split, labelled),
            ids={name: named_rows[name] for name in ids} if ids else None,
            linked=bool(ids) and groups == "group" and exported and {*ids} <= {*numbered},
            present=_some("present", results),
            lengths=_some("lengths", results),
            kinds={**_some("kind", results), **options.kinds, **dict.fromkeys(words, "text")},
            seed=seed,
            name=os.path.basename(path.rstrip("/\\")) or path,
            remarks=[
                *table.remarks,
                *_twins(modalities, index),
                *_remarks(table, used, results, split),
            ],
        )
        files = [np.array(one.files) for one in results.values() if one.files is not None]
        if not files and "files" in _of_export(table) - used:
            files = [_words(table, "files", index)]
        return _and_what_lacks(data._replace(files=files[0] if files else None))


def open_table(path: str) -> Table:
    """A file or folder as named columns, by what it is.

    Raises InvalidInput where it is missing or of no known kind, or where a folder mixes kinds.
    """
    if os.path.isdir(path):
        return _folder(path)
    kind = os.path.splitext(path)[1].lower()
    if kind == ".tar" and "{" in path and not os.path.exists(path):
        return open_shards(path, expanded(path))
    if not path or not os.path.exists(path):
        raise InvalidInput(f"{path!r}: no such file or folder")
    if kind not in _OPENERS:
        pressed = path.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
        why = "compressed, so that no row can be found without all before it; unpack it to .tar"
        known = f"no known ending; use a folder or {', '.join(_OPENERS)}"
        raise InvalidInput(f"{path}: {why if pressed else known}")
    return _OPENERS[kind](path)


def check_own_split(path: str, split: str, flag: str) -> None:
    """Raises InvalidInput for another split than that of a file which has one; see read."""
    columns = open_table(path).columns
    splits = [result for name in SPLITS if (result := _called(name, columns))]
    message = (
        f"no other than the file's: its {splits[0]!r} says which rows the encoder was trained on"
        if splits
        else ""
    )
    require(not splits or split in ("", *splits), flag, split, message)


def _called(name: str, columns: Iterable[str]) -> str:
    """The column of that name, in upper or lower case where none is it exactly; empty: none."""
    known = {column.lower(): column for column in columns}
    return name if name in known.values() else known.get(name, "")


def _folder(root: str) -> Table:
    names = sorted(name for name in os.listdir(root) if not name.startswith("."))
    of = lambda ending: [name for name in names if name.lower().endswith(ending)]
    shards, mapped = of(".tar"), of(".npy")
    if shards and mapped:
        raise InvalidInput(f"{root}: holds {shards[0]} and {mapped[0]}; use one kind of files")
    if shards:
        others = left_out(root, [name for name in names if name not in shards], "no .tar")
        paths = [os.path.join(root, name) for name in shards]
        return open_shards(root, paths, [others] if others else [])
    stems = {os.path.splitext(name)[0] for name in names if name not in mapped}
    if mapped and not stems & {os.path.splitext(name)[0] for name in mapped}:
        return arrays.open_folder(root)
    return open_stems(root)


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value)


def _labels(table: Table, name: str, index: Mapping[str, str], checked: bool) -> np.ndarray:
    values = picked_rows(column(table, name), _rows(table, index, name, name), name)
    return label_values(table, name, values, checked=checked)


def _words(table: Table, name: str, index: Mapping[str, str]) -> np.ndarray:
    """Labels as they are written."""
    values: Raw = list(table.written[name]) if name in table.written else column(table, name)
    values = label_values(table, name, picked_rows(values, _rows(table, index, name, name), name))
    return values.astype(np.str_)


def _names(table: Table, name: str, index: Mapping[str, str]) -> np.ndarray:
    """What groups or ids are called: 1.1 and 1.10 are two."""
    if name in table.written:
        return _words(table, name, index)
    return _labels(table, name, index, checked=False)


def _rows(
    table: Table, index: Mapping[str, str], name: str, columns: str | Sequence[str]
) -> np.ndarray | None:
    """Row numbers that an index array chooses of a modality or column."""
    by = index.get(name) or (index.get(columns) if isinstance(columns, str) else None)
    return None if not by else np.asarray(label_values(table, by, column(table, by)))


def _split(path: str, split: str | Sequence[float], labelled: Mapping[str, np.ndarray]):
    if not isinstance(split, str):
        return split
    return parts_of(labelled[split], split, path)


def _some(what: str, modalities: Mapping) -> dict:
    given = {name: getattr(one, what) for name, one in modalities.items()}
    return {name: value for name, value in given.items() if value is not None}


def _remarks(table: Table, used: set[str], modalities: Mapping, split: str | Sequence[float]):
    usual = set(table.usual or ())
    others = [name for name in table.columns if name not in used | usual | _of_export(table)]
    where = os.path.basename(table.path.rstrip("/\\")) or table.path
    remarks = [one.remark for one in modalities.values()]
    left = [_called(name, others) for name in SPLITS if not isinstance(split, str)]
    left = [name for name in left if name]
    remarks.append(f"split by column {split!r}" if isinstance(split, str) else "")
    remarks.append(f"split anew: column {left[0]!r} says another" if left else "")
    if table.usual is None:
        unnamed = left_out(where, others, "columns that nobody named")
        remarks.append(f"{unnamed}; modalities, labels and groups name them" if unnamed else "")
    return [remark for remark in remarks if remark]


def _twins(modalities: Mapping[str, str | Sequence[str]], index: Mapping[str, str]) -> list[str]:
    """A line on each modality that is another one by another name."""
    known: dict[tuple[str, ...], str] = {}
    remarks = []
    for name, value in modalities.items():
        columns = _listed(value)
        key = (*columns, index.get(name) or index.get(columns[0], ""))
        if key in known:
            of = f"column {columns[0]!r}" if len(columns) == 1 else f"columns {', '.join(columns)}"
            remarks.append(f"{known[key]} and {name} are both {of}: two modalities, alike in all")
        known.setdefault(key, name)
    return remarks


def _of_export(table: Table) -> set[str]:
    """Columns of an export of ours that are no modality, label, group nor id."""
    columns = {*table.columns}
    return {"is_test", "files"} & columns if {"split", "is_test"} <= columns else set()


def _and_what_lacks(data: Dataset) -> Dataset:
    """With a remark on how many rows lack a modality, where there is none that names them."""
    told = [name for name in data.present if any(f" without {name}: " in r for r in data.remarks)]
    more = [
        f"{name}: {counted(int(np.sum(~here)), 'row')} without"
        for name, here in data.present.items()
        if name not in told
    ]
    return data._replace(remarks=(*data.remarks, *more))


def _numbered(columns: Iterable[str]) -> list[str]:
    """ids_0, ids_1, ...: what an export of several ids a row has."""
    return sorted(name for name in columns if re.fullmatch(r"ids_\d+", name))
