"""Few-shot files: a class is what it is called, whatever order and storage its rows are in; what a
set lacks is told."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import few_shot, is_it_ica, traverse
from mmjax.data import read_domains, read_few_shot, with_shifts
from mmjax.errors import InvalidInput
from mmjax.few_shot import make_draws
from mmjax.run import launch
from mmjax.tables.few_shot import read_sets
from mmjax.tables.is_it_ica import read_sets as is_it_ica_sets

WIDTH, EACH = 6, 5
NAMES = np.array(["zebra", "ape", "cat"])  # not in order of the alphabet


def _arrays(seed=0, parts=("train", "val", "test")):
    rng, arrays = np.random.default_rng(seed), {}
    for part in parts:
        labels = np.repeat(np.arange(3), EACH)
        arrays[part] = np.eye(WIDTH)[labels] + 0.3 * rng.normal(size=(len(labels), WIDTH))
        arrays[f"{part}_labels"] = labels
    return arrays | dict(text=np.eye(WIDTH)[:3])


def _named(arrays, names=NAMES):
    return {k: names[v] if k.endswith("_labels") else v for k, v in arrays.items()}


@pytest.fixture
def written(tmp_path):
    def write(**arrays):
        path = tmp_path / "own.npz"
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
        return str(path)

    return write


def _zero_shot(few):
    """Accuracy, and of each class the share that is right."""
    right = (few.test.x @ few.texts["text"].T).argmax(1) == few.test.labels
    return {name: right[few.test.labels == k].mean() for k, name in enumerate(few.classes)}


def test_labels_by_name_are_the_classes_of_codes(written):
    arrays = _arrays()
    own = _zero_shot(read_few_shot(written(**arrays, class_names=NAMES)))
    assert np.mean(list(own.values())) > 0.8
    turned, order = _named(arrays), [2, 0, 1]
    text = dict(text=arrays["text"][order], text_labels=NAMES[order])
    for given in (
        turned | dict(class_names=NAMES),
        {k: v.astype(bytes) if v.dtype.kind == "U" else v for k, v in turned.items()}
        | dict(class_names=NAMES.astype(bytes)),
        turned | text,
        turned | text | dict(class_names=NAMES),
        turned | dict(class_names=NAMES, text=text["text"], text_labels=np.array(order)),
    ):
        assert _zero_shot(read_few_shot(written(**given))) == own


@pytest.mark.parametrize(
    "other, told",
    [
        ({}, "nothing says of which class a row of array 'text' is; add text_labels"),
        (
            dict(text_labels=np.arange(3)),
            "'text_labels' has codes where labels are names; use names",
        ),
        (
            dict(class_names=np.array(["zebra", "ape", "bat"])),
            "'cat' in row 10 of the labels is no cl",
        ),
        (
            dict(class_names=np.array([*NAMES, "cat"])),
            "'cat' in row 10 of the labels is the name of classes 2 and 3; use their codes",
        ),
        (dict(class_names=np.array(["zebra", " ", "cat"])), "'class_names' is empty in row 1; use"),
    ],
)
def test_names_that_tell_nothing_are_refused(written, other, told):
    with pytest.raises(InvalidInput, match=told) as error:
        read_few_shot(written(**_named(_arrays()), **other))
    assert "\n" not in str(error.value)


def test_two_classes_of_a_name_are_told_apart_by_codes_alone(written, tmp_path):
    """Two of ImageNet's are called missile, two sunglasses."""
    twice = np.array(["missile", "ape", "missile"])
    few = read_few_shot(written(**_arrays(), class_names=twice))
    assert few.classes.tolist() == twice.tolist()
    shift = tmp_path / "sketch.npz"
    arrays = _arrays(1, ("test",))
    arrays.pop("text")
    np.savez(shift, **arrays)
    assert len(with_shifts(few, [str(shift)]).shifts["sketch"].x) == 3 * EACH
    np.savez(shift, **_named(arrays, twice))
    with pytest.raises(InvalidInput, match="is the name of classes 0 and 2; use their codes"):
        with_shifts(few, [str(shift)])


def test_opposite_texts_are_no_text(written):
    text = np.concatenate([np.eye(WIDTH)[:3], -np.eye(WIDTH)[1:2]])
    with pytest.raises(InvalidInput, match="of array 'text' that are of class '1' sum to 0; use"):
        read_few_shot(written(**_arrays() | dict(text=text, text_labels=np.array([0, 1, 2, 1]))))


def test_rows_below_float32_are_no_zeros(written):
    arrays = _arrays()
    arrays["val"][4] *= 1e-60
    with pytest.raises(InvalidInput, match="'val' is smaller than float32 holds in row 4; scale"):
        read_few_shot(written(**arrays))


def test_a_file_in_columns_is_the_file_in_rows(written):
    rng, arrays = np.random.default_rng(0), _arrays()
    for part in ("train", "val", "test"):  # wide, so that sums in another order are others
        arrays[part] = np.c_[arrays[part], rng.normal(size=(len(arrays[part]), 500))]
    arrays.pop("text")
    rows = read_few_shot(written(**arrays))
    columns = {k: np.asfortranarray(v) for k, v in arrays.items()}
    columns = read_few_shot(written(**columns))
    for one, other in (
        (rows.pool, columns.pool),
        (rows.val, columns.val),
        (rows.test, columns.test),
    ):
        np.testing.assert_array_equal(one.x, other.x)


def test_copies_of_what_is_chosen_on_are_counted(written):
    arrays = _arrays()
    arrays["test"][:2] = arrays["val"][:2]
    told = " ".join(read_few_shot(written(**arrays)).remarks)
    assert "2 of 15 test rows repeat a validation row (cosine above 0.99)" in told


def test_training_rows_beside_draws_are_said_to_be_left_out(written):
    arrays = _arrays()
    draws = dict(train_5=arrays["train"], train_5_labels=arrays["train_labels"])
    told = read_few_shot(written(**arrays, **draws)).remarks
    assert any("array 'train' is left out beside train_K" in line for line in told)


def _listed(where):
    """Rows in one array."""
    arrays = _arrays()
    joined = lambda end: np.concatenate(
        [arrays[f"{part}{end}"] for part in ("train", "val", "test")]
    )
    split = np.repeat(["Train", "val", " TEST "], 3 * EACH)
    return dict(features=joined(""), labels=joined("_labels"), split=split, domains=where)


def test_parts_are_named_in_any_case_and_domains_not_as_parts(written):
    where = np.tile(np.array(["day", "night", "day", "night", "day"]), 9)
    few = read_few_shot(written(**_listed(where)))
    assert [len(rows.x) for rows in (few.pool, few.val, few.test)] == [15, 15, 15]
    assert len(read_domains(written(**_listed(where)), "domains")) == 2
    for name in ("test", "validation"):
        named = np.where(where == "day", name, where)
        with pytest.raises(InvalidInput, match=f"a domain called '{name}', as our tables call"):
            read_domains(written(**_listed(named)), "domains")


def test_a_domain_of_one_class_is_not_judged_among_it(written):
    where = np.tile(np.array(["night", "noon"]), 23)[:45]
    # Of class 0; of classes 0 and 1; which leaves noon 1 and 2.
    where[[30, 31]], where[[32, 33, 35, 36]] = "dawn", "dusk"
    for few in read_domains(written(**_listed(where)), "domains"):
        (kind,) = few.shifts
        tests = make_draws(few, jax.random.split(jax.random.key(0), 2), shots=1, validation=1)[1]
        among = [name for name in tests if "among" in name]
        assert among == ([f"{kind} among its 2 classes"] if kind in ("dusk", "noon") else [])


@pytest.mark.parametrize(
    "gone, options, told",
    [
        ("text", {}, "no text of each class, so without zero-shot, GDA"),
        ("text", dict(classes="texts"), "fewer than two classes with texts: all classes are"),
        ("test", {}, "maps are fitted on the rows of each draw, as by --unmix=draw"),
        ("val", dict(validation="full"), "as many training rows of a class are chosen on as there"),
    ],
)
def test_what_a_set_lacks_is_told(written, gone, options, told):
    config = few_shot.Config(num_components=(2,), **options)
    whole = written(**_arrays())
    assert not any(told in line for few in read_sets(_of(config, whole)) for line in few.remarks)
    arrays = {k: v for k, v in _arrays().items() if not k.startswith(gone)}
    (few,) = read_sets(_of(config, written(**arrays)))
    assert sum(told in line for line in few.remarks) == 1


def test_is_it_ica_says_whose_rows_maps_are_of(written):
    sets_of = lambda arrays: is_it_ica_sets(is_it_ica.Config(data=written(**arrays)))
    told = lambda sets: [line for line in sets[0].remarks if "on the rows of each draw" in line]
    assert not told(sets_of(_arrays()))
    assert len(told(sets_of(_arrays(parts=("train", "val"))))) == 1


def _of(config, path):
    return dataclasses.replace(config, data=path)


@pytest.mark.parametrize(
    "experiment, flags, told",
    [
        (is_it_ica, ["--probes=one,one"], "different names, comma-separated (probes: 'one,one'"),
        (traverse, ["--labels=kind,kind"], "different names, comma-separated (labels: 'kind,kind'"),
    ],
)
def test_names_in_flags_are_there_once(written, experiment, flags, told, tmp_path, capsys):
    argv = ["x", f"--workdir={tmp_path}/run", f"--data={written(**_arrays())}", *flags]
    how = dict(experiment=experiment.EXPERIMENT, doc="", about=experiment.ABOUT, argv=argv)
    assert launch(experiment.main, experiment.Config, experiment.PRESETS, **how) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert told in said and not (tmp_path / "run").exists()
