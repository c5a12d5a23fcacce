"""Few-shot files beside each other: codes beside names, parts beside parts, what is left over."""

import numpy as np
import pytest

from experiments import few_shot, is_it_ica
from mmjax.data import read_domains, read_few_shot, with_shifts, with_texts
from mmjax.errors import InvalidInput
from mmjax.few_shot import shots_with_rows
from mmjax.few_shot.sets import draw_sizes
from mmjax.run import launch, read_results
from mmjax.tables.few_shot import read_sets
from mmjax.tables.few_shot_options import say_left_out
from mmjax.tables.is_it_ica import read_sets as ica_sets
from mmjax.tables.is_it_ica import shots_of as is_it_ica_shots
from mmjax.tables.is_it_ica_report import summary as ica_summary
from tests.test_torch_files import archive

WIDTH = 14
NAMES = np.array(["zebra", "ant", "dog", "cat"])  # not in order of the alphabet


def rows_of(seed, each, classes=4):
    labels = np.repeat(np.arange(classes), each)
    noise = np.random.default_rng(seed).normal(size=(len(labels), WIDTH))
    return np.eye(WIDTH)[labels] + 0.25 * noise, labels


def arrays_of(classes=4, train=6, val=5, test=5, named=None):
    """The arrays of a file; named: `[classes]` names, or a dict of those of some parts."""
    result = {}
    for seed, (part, each) in enumerate(dict(train=train, val=val, test=test).items()):
        if each:
            result[part], labels = rows_of(seed, each, classes)
            names = named.get(part) if isinstance(named, dict) else named
            result[f"{part}_labels"] = labels if names is None else names[labels]
    return result


@pytest.fixture
def written(tmp_path):
    def write(file="own", **arrays):
        path = tmp_path / f"{file}.npz"
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
        return str(path)

    return write


def shown(few, rows):
    """The names of the classes of rows."""
    return few.classes[rows.labels]


def refused(told, function, *args):
    with pytest.raises(InvalidInput, match=told) as error:
        function(*args)
    assert "\n" not in str(error.value)


def test_codes_beside_names_tell_nothing(written):
    x, codes = rows_of(9, 3)
    shift = written("shift", test=x, test_labels=codes)
    few = read_few_shot(written(**arrays_of(named=NAMES)))
    told = "shift.npz: array 'test_labels' has codes where labels of own are names; use names, or"
    refused(told, with_shifts, few, [shift])
    split = dict(features=x, labels=codes, split=np.repeat("test", len(x)))
    told = "array 'labels' has codes where labels of own"
    refused(told, with_shifts, few, [written("listed", **split)])
    # Names, also as bytes and of other places, are matched; so are codes where the file names them.
    for given in (
        dict(test_labels=NAMES[codes]),
        dict(test_labels=NAMES[codes].astype(bytes)),
        dict(test_labels=codes, class_names=NAMES),
    ):
        found = with_shifts(few, [written("shift", test=x, **given)])
        assert shown(few, found.shifts["shift"]).tolist() == NAMES[codes].tolist()
    # Names in the set's own file tell which code is which.
    few = read_few_shot(written(**arrays_of(named=NAMES), class_names=NAMES))
    found = with_shifts(few, [written("shift", test=x, test_labels=codes)])
    assert shown(few, found.shifts["shift"]).tolist() == NAMES[codes].tolist()


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(12).astype(str),
        np.arange(12).astype(bytes),
        np.char.zfill(np.arange(12).astype(str), 3),
        np.arange(12).astype(float).astype(str),
    ],
    ids="text bytes zeros floats".split(),
)
def test_names_that_are_numbers_are_those_numbers(written, numbers):
    x, codes = rows_of(9, 3, 12)
    few = read_few_shot(written(**arrays_of(12, named=numbers)))
    own = numbers.astype(str)
    for kind in (int, float, np.uint8):
        shift = written("shift", test=x, test_labels=codes.astype(kind))
        found = with_shifts(few, [shift]).shifts["shift"]
        assert shown(few, found).tolist() == own[codes].tolist()
    refused(
        "'test_labels' holds 12, first in row 33; labels of own are names, none of which is it",
        with_shifts,
        few,
        [written("shift", test=x, test_labels=codes + 1)],
    )
    text = dict(text=np.eye(WIDTH)[:12][::-1], text_labels=np.arange(12)[::-1])
    few = read_few_shot(written(**arrays_of(12, named=numbers), **text))
    places = [own.tolist().index(name) for name in few.classes.tolist()]
    np.testing.assert_allclose(few.texts["text"], np.eye(WIDTH)[places])
    # The other way about: a set of codes, a shift of texts.
    few = read_few_shot(written(**arrays_of(12)))
    found = with_shifts(few, [written("shift", test=x, test_labels=numbers[codes])])
    assert found.shifts["shift"].labels.tolist() == codes.tolist()


def test_a_number_of_two_names_is_neither(written):
    twice = np.array(["7", "007", "1", "2"])
    few = read_few_shot(written(**arrays_of(named=twice)))
    x, codes = rows_of(9, 3)
    shift = written("shift", test=x, test_labels=np.array([7, 7, 1, 2])[codes])
    refused(
        "holds 7, first in row 0, which '007' and '7' are; use names",
        with_shifts,
        few,
        [shift],
    )
    few = read_few_shot(written(**arrays_of(named=np.arange(4).astype(str))))
    words = written("shift", test=x, test_labels=NAMES[codes])
    refused("'ant' in row 3 of array 'test_labels' is no class of own", with_shifts, few, [words])
    few = read_few_shot(written(**arrays_of()))
    refused("'ant' in row 3 of array 'test_labels' is no class of own", with_shifts, few, [words])


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_parts_of_codes_beside_parts_of_names(written, part):
    named = {other: NAMES for other in ("train", "val", "test") if other != part}
    told = f"column of {part} labels has codes where labels are names; use names, or add class_na"
    refused(told, read_few_shot, written(**arrays_of(named=named)))
    few = read_few_shot(written(**arrays_of(named=named), class_names=NAMES))
    rows = dict(train=few.pool, val=few.val, test=few.test)[part]
    assert set(shown(few, rows)[:4]) == {"zebra"}
    for numbers in (np.arange(12).astype(str), np.char.zfill(np.arange(12).astype(str), 2)):
        named = dict.fromkeys(named, numbers)
        few = read_few_shot(written(**arrays_of(12, named=named)))
        assert len(few.classes) == 12
        for rows in (few.val, few.test):
            assert shown(few, rows).tolist() == numbers[np.repeat(np.arange(12), 5)].tolist()
    # Places in names that are other numbers may be meant, or these numbers.
    numbers = np.array(["10", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "11"])
    told = f"column of {part} labels holds 0, .* 0, a place in class_names and a name there, of ano"
    few = arrays_of(12, named=dict.fromkeys(named, numbers))
    refused(told, read_few_shot, written(**few, class_names=numbers))


def ran(experiment, tmp_path, capsys, *flags):
    """Exit code, lines of the run and its summary."""
    argv = ["x", f"--workdir={tmp_path}/run", *flags]
    how = dict(experiment=experiment.EXPERIMENT, doc="", about=experiment.ABOUT, argv=argv)
    code = launch(experiment.main, experiment.Config, experiment.PRESETS, **how)
    said = capsys.readouterr()
    page = tmp_path / "run" / "summary.md"
    return code, said.out + said.err, page.read_text() if page.exists() else ""


def test_a_row_is_left_to_judge(written, tmp_path, capsys):
    few = read_few_shot(written(**arrays_of(test=0)))
    assert draw_sizes(few, 5, 4) == (4, 6) and shots_with_rows(few, [1, 6], 4) == [1]
    told = "shots: 6 of 6 rows a class of own leave none to judge on, for it has no test rows; use"
    refused(told, draw_sizes, few, 6, 4)
    # With test rows of its own all training rows may be shots.
    assert draw_sizes(read_few_shot(written(**arrays_of())), 6, 4) == (4, 6)
    flags = [f"--data={written(**arrays_of(test=0))}", "--seeds=1", "--methods=nearest mean"]
    code, said, page = ran(few_shot, tmp_path, capsys, "--shots=1,6", *flags)
    line = "note: own: a class has too few rows for 6 shots, which are left out"
    assert code == 0 and said.count(line) == 1 and "nan" not in page
    results = read_results(f"{tmp_path}/run/results.csv")
    assert results and all(np.isfinite(row.value) for row in results)
    assert ran(few_shot, tmp_path / "other", capsys, "--shots=6", *flags)[0] == 2


def test_is_it_ica_says_which_shots_are_left_out(written, capsys):
    config = is_it_ica.Config(data=written(**arrays_of(test=0)), shots=(1, 6))
    say_left_out(config.shots, *((few, is_it_ica_shots(config, few)) for few in ica_sets(config)))
    assert "note: own: a class has too few rows for 6 shots" in capsys.readouterr().err


def _of_some(written, keep=(0, 1), **other):
    text = dict(text=np.eye(WIDTH)[list(keep)], text_labels=np.array(keep))
    return written(**arrays_of() | text | other)


@pytest.mark.slow
def test_a_shift_of_classes_without_texts_is_left_out(written, tmp_path, capsys):
    x, codes = rows_of(9, 3)
    away = lambda name, kept: written(name, test=x[kept], test_labels=codes[kept])
    paths = [away("gone", codes > 1), away("part", codes > 0)]
    few = with_shifts(read_few_shot(_of_some(written)), paths)
    known = with_texts(few)
    assert list(known.shifts) == ["part"] and len(known.shifts["part"].x) == 3
    line = "gone has no row of these classes: it is left out"
    assert known.remarks.count(line) == 1 and line not in few.remarks
    assert not any("left out" in line for line in with_texts(few._replace(shifts={})).remarks)
    flags = [f"--data={_of_some(written)}", f"--shift={paths[0]}", "--seeds=1", "--shots=1"]
    flags.append("--methods=zero-shot")
    code, said, page = ran(few_shot, tmp_path, capsys, *flags)
    assert code == 0 and said.count(f"note: own[2]: {line}") == 1 and "nan" not in page
    assert all(np.isfinite(row.value) for row in read_results(f"{tmp_path}/run/results.csv"))


def _domains(written, away):
    """Two domains, of which `away` has no row of the classes with texts; a third of all."""
    parts = [rows_of(seed, 6) for seed in range(3)]
    where = np.repeat(["day", "dusk", "night"], 24)
    x, labels = (np.concatenate(v) for v in zip(*parts, strict=True))
    kept = ~(np.isin(where, away) & (labels < 2))
    text = dict(text=np.eye(WIDTH)[:2], text_labels=np.arange(2))
    return written(features=x[kept], labels=labels[kept], domain=where[kept], **text)


@pytest.mark.parametrize("classes", ["both", "texts"])
def test_a_domain_of_classes_without_texts_is_left_out(written, tmp_path, capsys, classes):
    flags = [f"--data={_domains(written, ['day'])}", "--domains=domain", "--seeds=1", "--shots=1"]
    flags += ["--methods=zero-shot", f"--classes={classes}"]
    code, said, page = ran(few_shot, tmp_path, capsys, *flags)
    assert code == 0 and "nan" not in page and "own-without-day[2]" not in page
    told = "own-without-day: no row of day is of the classes with texts: no table of these"
    assert sum(line.startswith("note") and told in line for line in said.splitlines()) == 1
    assert "own, 2 classes, 1-shot | without dusk | without night | mean" in page
    assert all(np.isfinite(row.value) for row in read_results(f"{tmp_path}/run/results.csv"))


@pytest.mark.parametrize(
    "name",
    ["valid", "validation", "tests", "Test", "dev", "eval", "testing", "test_features", "x_test"],
)
def test_parts_of_other_names_are_said_to_be_left_out(written, name):
    own = arrays_of()
    assert not read_few_shot(written(**own, val_files=np.zeros(20, "U3"))).remarks[1:]
    x, labels = rows_of(9, 3)
    few = read_few_shot(written(**own, **{name: x, f"{name}_labels": labels}))
    told = f"arrays '{name}', '{name}_labels' are not read: parts are called train or train_K, val"
    assert sum(line.startswith(told) for line in few.remarks) == 1


def test_arrays_of_another_layout_are_said_to_be_left_out(written, tmp_path):
    x, labels = rows_of(9, 6)
    split = np.tile(["train", "train", "train", "val", "test", "test"], 4)
    listed = dict(features=x, labels=labels, split=split)
    every = lambda **other: [
        line for line in read_few_shot(written(**other)).remarks if "left out" in line
    ]
    assert every(**arrays_of(), **listed) == [
        "arrays 'features', 'labels', 'split' are left out beside 'train'"
    ]
    assert every(**listed) == every(**arrays_of()) == []
    whole = arrays_of()
    gone = {k: whole[k] for k in ("val", "val_labels", "test", "test_labels")}
    assert every(**listed, **gone) == [
        "arrays 'test', 'test_labels', 'val', 'val_labels' are left out beside 'features'"
    ]
    both = dict(embeddings=x, label_list=labels, splits=split)
    told = "arrays 'embeddings', 'label_list', 'splits' are left out beside 'features'"
    assert every(**listed, **both) == [told]
    domains = dict(place=np.tile(["day", "night"], 12), split=None)
    sets = read_domains(written(**listed | domains, embeddings=x), "place")
    assert all("array 'embeddings' is left out beside 'features'" in few.remarks for few in sets)
    few = read_few_shot(written(**whole))
    shift = written("shift", test=x, test_labels=labels, features=x, labels=labels)
    told = "shift: arrays 'features', 'labels' are left out beside 'test'"
    assert told in with_shifts(few, [shift]).remarks
    assert not any(
        "left out" in line
        for path in (written("shift", **listed), written("shift", **arrays_of()))
        for line in with_shifts(few, [path]).remarks
    )


@pytest.mark.parametrize(
    "other, told",
    [
        (dict(test=None), "array 'test_labels' without array 'test'; use both or neither"),
        (dict(val=None), "array 'val_labels' without array 'val'; use"),
        (dict(test_labels=None), "no array 'test_labels'"),
        (dict(train_4_labels=np.arange(4)), "array 'train_4_labels' without array 'train_4'; use"),
        (dict(text_labels=np.arange(4)), "array 'text_labels' without array 'text'; use"),
    ],
)
def test_half_of_a_pair_is_refused(written, other, told):
    refused(f"own.npz: {told}", read_few_shot, written(**arrays_of() | other))


def test_half_of_a_pair_is_refused_of_shifts_and_domains(written):
    x, labels = rows_of(9, 6)
    listed = dict(features=x, labels=labels, test_labels=labels, place=labels % 2)
    told = "array 'test_labels' without array 'test'; use both or neither"
    few = read_few_shot(written(**arrays_of()))
    refused(told, with_shifts, few, [written("shift", **listed)])
    refused(told, read_domains, written(**listed), "place")


@pytest.mark.parametrize(
    "gone, told",
    [
        ("val_f", "val_l.pt is there without val_f.pt; use both or neither"),
        ("test_f", "test_l.pt is there without test_f.pt"),
        ("keys_1shots", "values_1shots.pt is there without keys_1shots.pt"),
    ],
)
def test_half_of_a_cache_is_refused(tmp_path, gone, told):
    refused(told, read_few_shot, _cache(tmp_path, gone))


def _cache(folder, gone="", **other):
    x, labels = rows_of(3, 2)
    hot = np.eye(4, dtype=np.float32)[labels]
    arrays = dict(keys_2shots=x.T, values_2shots=hot, keys_1shots=x.T, values_1shots=hot)
    arrays |= dict(val_f=x[::2].copy(), val_l=labels[::2].copy(), test_f=x, test_l=labels) | other
    for name, array in arrays.items():
        if name != gone:
            archive(folder / f"{name}.pt", {"x": array})
    return str(folder)


def test_files_of_other_names_in_a_cache_are_said_to_be_left_out(tmp_path):
    x, labels = rows_of(4, 2)
    few = read_few_shot(_cache(tmp_path, valid_f=x, valid_l=labels, Test_f=x))
    assert any(
        line.startswith("files 'Test_f.pt', 'valid_f.pt', 'valid_l.pt' are not read: parts are")
        for line in few.remarks
    )


TWO = dict(text_photo=np.eye(WIDTH)[:4], text_bad=np.roll(np.eye(WIDTH)[:4], 1, 0))


BOTH = [(read_sets, few_shot.Config), (ica_sets, is_it_ica.Config)]


@pytest.mark.parametrize("sets_of, config", BOTH)
def test_which_of_several_texts_is_used_is_told(written, sets_of, config):
    def told(**texts):
        (few,) = sets_of(config(data=written(**arrays_of(), **texts), shots=(1,)))
        return [line for line in few.remarks if "texts" in line]

    assert told(**TWO) == [
        "of the texts text_bad, text_photo only text_bad, first by name, is used"
    ]
    many = TWO | dict(text_ensemble=np.eye(WIDTH)[:4])
    line = (
        "of the texts text_bad, text_ensemble, text_photo only text_ensemble, an ensemble, is used"
    )
    assert told(**many) == [line]
    assert told(text_photo=np.eye(WIDTH)[:4]) == []
    if config is few_shot.Config:
        given = config(data=written(**arrays_of(), **TWO), methods="nearest mean")
        assert not any("texts" in line for few in read_sets(given) for line in few.remarks)


def _few_to_choose_on():
    """One class has one validation row."""
    arrays = arrays_of()
    kept = (arrays["val_labels"] > 0) | (np.arange(20) == 0)
    return arrays | dict(val=arrays["val"][kept], val_labels=arrays["val_labels"][kept])


FEWER = "validation rows a class, fewer than asked for: "


@pytest.mark.parametrize("sets_of, config", BOTH)
def test_fewer_validation_rows_than_asked_for_are_told(written, sets_of, config):
    def told(shots, **arrays):
        (few,) = sets_of(config(data=written(**arrays), shots=shots))
        return [line.removeprefix(FEWER) for line in few.remarks if line.startswith(FEWER)]

    assert told((1, 2, 4), **_few_to_choose_on()) == ["1 at 2 shots, 1 at 4 shots"]
    assert told((1,), **_few_to_choose_on()) == told((1, 4), **arrays_of()) == []
    assert told((1, 3), **arrays_of(val=0, test=0)) == ["2 at 3 shots"]


def test_the_page_tells_fewer_validation_rows(written, tmp_path, capsys):
    full = few_shot.Config(data=written(**arrays_of(val=0, test=0)), shots=(3,), validation="full")
    assert f"{FEWER}2 at 3 shots" in read_sets(full)[0].remarks
    full = few_shot.Config(data=written(**_few_to_choose_on()), shots=(4,), validation="full")
    assert not any("asked for" in told for told in read_sets(full)[0].remarks)
    flags = [f"--data={written(**_few_to_choose_on())}", "--seeds=1", "--methods=nearest mean"]
    page = ran(few_shot, tmp_path, capsys, "--shots=2,4", *flags)[2]
    assert "min(shots, 4) validation rows a class, fewer where a set's line says so;" in page
    assert f"{FEWER}1 at 2 shots, 1 at 4 shots." in page
    flags[0] = f"--data={written(**arrays_of())}"
    assert (
        "validation rows a class;" in ran(few_shot, tmp_path / "b", capsys, "--shots=2", *flags)[2]
    )


def test_the_page_of_is_it_ica_tells_them_too(written):
    for arrays, told in (
        (
            _few_to_choose_on(),
            " (own: validation rows a class, fewer than asked for: 1 at 2 shots)",
        ),
        (arrays_of(), ""),
    ):
        config = is_it_ica.Config(data=written(**arrays), shots=(1, 2))
        page = ica_summary(config, ica_sets(config), [], {})
        assert f"min(shots, 4) validation rows a class{told}; maps fitted" in page
