"""Leave one domain out: what is left out is judged, and nothing else is done with it."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import few_shot, is_it_ica
from mmjax.data import read_domains
from mmjax.errors import InvalidInput
from mmjax.few_shot import make_draws, unlabelled
from mmjax.run import launch
from mmjax.tables import few_shot as table
from mmjax.tables.few_shot_options import say_remarks

CLASSES, WIDTH, DOMAINS, EACH = 3, 8, 3, 8
ROWS = DOMAINS * CLASSES * EACH
DOMAIN = np.repeat(np.arange(DOMAINS), CLASSES * EACH)
LABELS = np.tile(np.repeat(np.arange(CLASSES), EACH), DOMAINS)
SPLIT = np.tile(np.array(["train"] * 4 + ["val"] * 2 + ["test"] * 2), DOMAINS * CLASSES)
NAMES = np.array(["photo", "sketch", "art"])


@pytest.fixture
def written(tmp_path):
    """Writes a file; arrays that are given replace or, where None, remove its own."""

    def write(**other):
        rng = np.random.default_rng(0)
        x = np.eye(WIDTH)[LABELS] + 0.5 * np.eye(WIDTH)[3 + DOMAIN]
        arrays = dict(features=x + 0.3 * rng.normal(size=x.shape), labels=LABELS)
        arrays |= dict(domains=DOMAIN, domain_names=NAMES, split=SPLIT, text=np.eye(WIDTH)[:3])
        arrays |= other
        path = tmp_path / "pictures.npz"
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
        return str(path)

    return write


def test_every_domain_is_left_out_once(written):
    sets = read_domains(written(), "domains")
    every = np.load(written())["features"]
    every = every / np.linalg.norm(every, axis=1, keepdims=True)
    assert [list(few.shifts) for few in sets] == [[name] for name in sorted(NAMES)]
    for few in sets:
        (name,) = few.shifts
        assert few.name == f"pictures-without-{name}"
        away = NAMES[DOMAIN] == name
        for rows, part in ((few.pool, "train"), (few.val, "val"), (few.test, "test")):
            kept = every[~away & (part == SPLIT)]
            np.testing.assert_allclose(np.sort(rows.x, 0), np.sort(kept, 0), rtol=1e-5)
        np.testing.assert_allclose(few.shifts[name].x, every[away & (SPLIT == "test")], rtol=1e-5)


def test_without_a_split_all_rows_of_the_domain_are_judged(written):
    for few in read_domains(written(split=None, domain_names=None), "domains"):
        ((name, rows),) = few.shifts.items()
        assert name in "012" and len(rows.x) == CLASSES * EACH
        assert few.val is None and few.test is None and len(few.pool.x) == ROWS - len(rows.x)


def test_what_is_left_out_changes_no_fit_and_no_choice(written):
    """Its features and labels are scrambled, and only its own accuracy changes."""
    rng = np.random.default_rng(7)
    asked = "PCA 4 + FastICA;L1, linear probe;GDA;Tip-Adapter"
    how = dict(seed=0, seeds=2, shots=(2,), validation="shots", validation_shots=2, tuned=False)
    config = SimpleNamespace(**how, num_components=(4,), methods=asked, unmix="source")
    away, path = DOMAIN == 1, written()
    arrays = dict(np.load(path))
    arrays["features"][away] = rng.normal(size=(away.sum(), WIDTH))
    arrays["labels"][away] = rng.permutation(LABELS[away])
    pick = lambda sets: next(few for few in sets if "sketch" in few.shifts)
    plain = pick(read_domains(path, "domains"))
    scrambled = pick(read_domains(written(**arrays), "domains"))
    np.testing.assert_array_equal(unlabelled(plain), unlabelled(scrambled))
    keys = jax.random.split(jax.random.key(0), 2)
    draws = [make_draws(few, keys, shots=2, validation=2, texts="text")[0] for few in (plain,)]
    draws += [make_draws(scrambled, keys, shots=2, validation=2, texts="text")[0]]
    for a, b in zip(draws[0][:-1], draws[1][:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    moved = 0
    rows = [
        [row for pieces in table.settings(config, [few]).values() for row in pieces[0].judge(None)]
        for few in (plain, scrambled)
    ]
    for a, b in zip(*rows, strict=True):
        assert a[:6] == b[:6]
        if a.target == "sketch":
            moved += a.value != b.value
        else:
            assert a.value == b.value or np.isnan(a.value), a
    assert moved > 4


@pytest.mark.parametrize(
    "other, column, told",
    [
        (
            dict(domains=np.zeros(ROWS, int)),
            "domains",
            "array 'domains' holds one domain, 'photo'; use",
        ),
        ({}, "painter", "no array 'painter'; it holds"),
        (
            dict(domains=DOMAIN + 1),
            "domains",
            "'domains' holds 3, first in row 48; use whole numbers from 0 to 2",
        ),
        (
            dict(domains=DOMAIN[1:]),
            "domains",
            f"'features' has {ROWS} rows, array 'domains' {ROWS - 1}; use",
        ),
        (
            dict(labels=np.where(DOMAIN == 2, LABELS, np.minimum(LABELS, 1))),
            "domains",
            "without art: no train row of 1 of 3 classes",
        ),
        (
            dict(split=np.where(DOMAIN == 0, SPLIT, "test")),
            "domains",
            "without photo: no row of split train; use a",
        ),
    ],
)
def test_bad_domains_are_told_in_one_line(written, other, column, told):
    with pytest.raises(InvalidInput, match=told) as error:
        read_domains(written(**other), column)
    assert "\n" not in str(error.value)


def test_more_components_than_columns_are_said_to_be_all(written, capsys):
    sets = read_domains(written(), "domains")[:1]
    say_remarks(SimpleNamespace(num_components=(2, WIDTH, 99)), sets)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"num_components {WIDTH}, 99: all of the {WIDTH} columns")


@pytest.mark.parametrize(
    "experiment, flags, told",
    [
        (few_shot, ["--data=none.npz"], "the path of an existing file (data: 'none.npz'"),
        (few_shot, ["--shift=none.npz"], "the path of an existing file (shift: 'none.npz'"),
        (few_shot, ["--methods=nonsense"], "use one of 40 names (--help lists them), nearest are "),
        (few_shot, ["--methods=fastica"], "did you mean 'FastICA'? use one of 40 names"),
        (few_shot, ["--methods=; "], "names, separated by semicolons; nothing for all (methods: '"),
        (few_shot, ["--methods=TaskRes", "--tuned=false"], "is not trained, or --tuned (methods: "),
        (few_shot, ["--methods=zero-shot"], "use one that needs no texts, or files with a text of"),
        (few_shot, ["--validation_shots=0"], "a whole number >= 1 (validation_shots: 0"),
        (few_shot, ["--shots=2,2"], "different whole numbers >= 1, comma-separated (shots: (2, 2)"),
        (is_it_ica, ["--data=none.npz"], "the path of an existing file (data: 'none.npz'"),
        (is_it_ica, ["--texts=none.npz"], "the path of an existing file (texts: 'none.npz'"),
        (
            is_it_ica,
            ["--names_shown=5", "--shots=1", "--data=TEXTS"],
            "use 1 to 3, the texts (names",
        ),
        (is_it_ica, ["--splits=0"], "a whole number >= 1 (splits: 0"),
        (is_it_ica, ["--num_components=0"], "comma-separated (num_components: (0,)"),
    ],
)
def test_flags_are_named_before_a_folder_is_made(
    experiment, flags, told, written, tmp_path, capsys
):
    data = written(text=None if "--data=TEXTS" not in flags else np.eye(WIDTH)[:3])
    flags = [flag.replace("TEXTS", data) for flag in flags]
    argv = ["x", f"--workdir={tmp_path}/run", f"--data={data}", *flags]
    how = dict(experiment=experiment.EXPERIMENT, doc="", about=experiment.ABOUT, argv=argv)
    assert launch(experiment.main, experiment.Config, experiment.PRESETS, **how) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert told in said and len(said) < 240 and not (tmp_path / "run").exists()
