"""What a model has seen of a row, and names and files that must not replace one another."""

import warnings

import jax
import numpy as np
import pytest

import mmjax as mm
from experiments import embed
from mmjax.data.scaling import features_in_float32, scaled, scaling_of
from mmjax.data.seen import seen_rows
from mmjax.errors import InvalidInput
from mmjax.models import trained_on
from mmjax.models.analyses import SweepFigures
from mmjax.models.figures import ProbeFigures
from mmjax.models.model import known_by
from mmjax.run import launch
from mmjax.run.files import slug
from mmjax.tables.models import DataOptions, check_held_out, export_columns, read_data

N = 60
RNG = np.random.default_rng(0)
A, B, FRESH, Y = *RNG.normal(size=(3, N, 6)), np.arange(N) % 2


def _data(split="train", **changes):
    given = {"a": A, "b": B, "split": [split] * N} | changes
    return mm.Dataset.from_arrays(labels={"y": Y}, **given)


def _fit(data, **options):
    return mm.fit(data, dim=2, steps=2, batch_size=8, key=jax.random.key(0), **options)


@pytest.fixture(scope="module")
def model():
    return _fit(_data(), validate_every=0)


def test_rows_of_which_a_modality_was_trained_on_are_not_judged(model):
    half_new = _data("test", b=FRESH)
    with pytest.raises(InvalidInput, match="trained on what all rows of split test hold in a;"):
        mm.probe(model, half_new, "y")
    with pytest.raises(InvalidInput, match="hold in a;"):
        mm.retrieval(model, half_new)
    assert mm.probe(model, half_new, "y", modalities=["b"]).scored < N  # b alone is new
    told = mm.probe(model, half_new, "y", use_trained_rows=True).remarks
    assert any(line.startswith(f"TRAINED ROWS: {N} of {N}") for line in told)
    assert set(export_columns(model, half_new)["split"]) == {"validation"}
    some = _data("test", a=np.r_[A[:10], FRESH[10:]], b=FRESH)
    said = "10 of 60 rows of split test left out: the model was trained on what they hold in a"
    assert said in mm.probe(model, some, "y").remarks


def test_a_sequence_too_long_is_told_by_its_name():
    rows = [RNG.normal(size=(k % 4 + 1, 3)) for k in range(N)]
    model = _fit(_data(b=rows), validate_every=0)
    with pytest.raises(InvalidInput, match=r"^b: .*a length of at most 4"):
        model.embed(b=[RNG.normal(size=(9, 3))] * 3)


def test_it_is_told_in_another_process(model, tmp_path):
    model.save(str(tmp_path / "m"))
    with pytest.raises(InvalidInput, match="hold in a;"):
        mm.probe(mm.load(str(tmp_path / "m")), _data("test", b=FRESH), "y")


def test_vectors_of_class_names_make_no_row_a_trained_one():
    names = RNG.normal(size=(2, 6))[Y]
    model = _fit(_data(b=names), validate_every=0)
    figures = mm.probe(model, _data("test", a=FRESH, b=names), "y")
    assert not any("trained" in line for line in figures.remarks)


def test_an_export_loses_no_modality():
    names = ["split", "group", "is_test", "ids_0"]
    data = mm.Dataset.from_arrays(
        {n: A[:, k : k + 2] for k, n in enumerate(names)}, split=(1, 0, 0)
    )
    model = _fit(data, validate_every=0, nets=dict.fromkeys(names, mm.nets.linear()))
    for name in names:
        with pytest.raises(InvalidInput, match=f"modality: '{name}'"):
            export_columns(model, data.only(name))


@pytest.mark.parametrize("name", ["b_present", "present_b", "b_mask", "b_lengths"])
def test_a_label_becomes_no_mask(model, name):
    data = mm.Dataset.from_arrays(a=A, b=B, labels={name: Y}, split=["train"] * N)
    with pytest.raises(InvalidInput, match=f"labels: '{name}'"):
        export_columns(model, data)


def test_names_of_what_is_made_of_all_are_reserved():
    data = mm.Dataset.from_arrays({"all": A, "b": B}, split=["train"] * N)
    with pytest.raises(InvalidInput, match="modality: 'all'"):
        _fit(data)


def test_an_export_replaces_neither_data_nor_model(model, tmp_path, capsys):
    data, folder = tmp_path / "d.npz", tmp_path / "m"
    np.savez(data, a=A, b=B)
    model.save(str(folder))
    before = data.read_bytes()
    for out, flag in ((data, "--data"), (folder / "params.npz", "--model")):
        argv = ["embed", f"--data={data}", f"--model={folder}", f"--out={out}"]
        argv.append(f"--workdir={tmp_path / 'w'}")
        code = launch(
            embed.main, embed.Config, embed.PRESETS, experiment="embed", doc="", argv=argv
        )
        assert code == 2 and flag in capsys.readouterr().err
    assert data.read_bytes() == before and not (folder / "params.npz").exists()


def test_names_of_users_share_no_file():
    names = ["a b", "a_b", "a/b", "a  b", "a.b", "a$b"]
    assert len({slug(name, of_user=True) for name in names}) == len(names)
    assert slug("dim=2/x y") == "dim=2_x_y"  # checkpoints of before are found


def test_an_offset_does_not_change_what_columns_weigh():
    x = RNG.normal(size=(300, 3)) * [1, 10, 0.1]
    far = features_in_float32(x + 1e9)
    np.testing.assert_allclose(far.std(0), x.std(0), rtol=1e-5)
    tiny = features_in_float32(x * 1e-60)
    np.testing.assert_allclose(tiny.std(0), 1, rtol=1e-5)


def test_a_sweep_tells_the_remarks_of_every_label():
    of = lambda label, *remarks: ProbeFigures(label, "r2", {"a": 0.5}, {}, 0.0, 9, 7, remarks)
    probes = {2: {"y": of("y", "both"), "q": of("q", "both", "of q alone")}}
    lines = str(SweepFigures(probes, {})).splitlines()
    assert lines[-2:] == ["both", "q: of q alone"] and "7 held-out rows judged" in lines[0]


@pytest.mark.parametrize("unit", [1e-200, 1e-120, 1e120])
def test_units_whose_squares_are_no_numbers(unit):
    x = RNG.normal(size=(50, 3))
    one, other = scaling_of(lambda: [x]), scaling_of(lambda: [x[:20] * unit, x[20:] * unit])
    np.testing.assert_allclose(scaled(x * unit, other), scaled(x, one), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "unit"), [("f4", 1e-25), ("f4", 1e25), ("f8", 1e-200)])
def test_shares_of_variance_have_no_unit(dtype, unit):
    x = RNG.normal(size=(50, 3)) * [3, 2, 1]
    one = mm.sklearn.PCA().fit(x.astype(dtype))
    far = mm.sklearn.PCA(whiten=True).fit((x * unit).astype(dtype))
    shares = far.explained_variance_ratio_
    np.testing.assert_allclose(shares, one.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(far.transform((x * unit).astype(dtype)).std(0, ddof=1), 1, rtol=1e-4)


def test_components_that_the_rows_do_not_determine_are_told():
    x = RNG.laplace(size=(300, 6))
    x[:, 2] = 5.0
    with pytest.warns(UserWarning, match="n_components: 6 is more than the 5 directions"):
        ica = mm.sklearn.FastICA(6, random_state=0).fit(x)
    np.testing.assert_allclose(ica.transform(x).std(0), 1, rtol=1e-3)


def test_flags_that_change_nothing_are_told(tmp_path):
    np.savez(tmp_path / "d.npz", a=A, b=B, split=np.array(["train", "test"])[Y])
    options = dict(data=str(tmp_path / "d.npz"), image_size=32, split_seed=7)
    lines = read_data(DataOptions(**options)).remarks
    assert [line.split("=")[0] for line in lines[-2:]] == ["--image_size", "--split_seed"]


SPLIT = ["train"] * 40 + ["test"] * 20


@pytest.mark.parametrize("kind", ["words", "one-hot", "age and sex", "two quantities"])
def test_new_rows_of_words_and_codes_are_judged(kind):
    rng = np.random.default_rng(0)
    y, a = np.arange(N) % 4, A
    age = rng.integers(20, 40, N)
    if kind == "two quantities":
        a, t = rng.permutation(N) % 20, age
    else:
        words = [f"class {k}" for k in y]
        t = {"words": words, "one-hot": np.eye(4)[y], "age and sex": np.c_[age, y % 2]}[kind]
    data = mm.Dataset.from_arrays(a=a, t=t, labels={"y": y}, split=SPLIT)
    nets = {"t": mm.nets.text_transformer(8, 1, 1)} if kind == "words" else {}
    model = _fit(data, nets=nets, validate_every=0)
    new = (
        len({(a[k], t[k]) for k in range(40, N)} - {(a[k], t[k]) for k in range(40)})
        if (kind == "two quantities")
        else 20
    )
    if new == 20:
        assert mm.probe(model, data, "y").scored == 20
    assert trained_on(model, data)[:40].all() and trained_on(model, data)[40:].sum() <= 20 - new


def test_vectors_that_repeat_often_are_recordings():
    which = np.repeat(np.arange(6), 10)
    x = RNG.normal(size=(6, 16))[which]
    split = np.where(np.arange(N) % 10 < 8, "train", "test")
    data = mm.Dataset.from_arrays(a=x, b=B, split=split, labels={"y": Y})
    model = _fit(data, validate_every=0)
    with pytest.raises(InvalidInput, match="hold in a;"):
        mm.probe(model, data, "y")


def test_a_label_of_each_row_makes_no_classes_of_vectors():
    data = mm.Dataset.from_arrays(a=A, b=B, labels={"row": np.arange(N)}, split=["train"] * N)
    assert seen_rows(data, False).recordings == ["a", "b"]


def test_a_model_of_before_knows_pictures(model):
    pictures = RNG.integers(0, 255, (N, 6, 6, 1)).astype(np.uint8)
    model = _fit(_data(b=pictures), validate_every=0)
    about = {k: v for k, v in model.spec.about.items() if k != "recordings"}
    old = model._replace(spec=model.spec._replace(about=about))
    judged = _data("test", a=FRESH, b=pictures)
    assert known_by(old, judged, np.ones(judged.num_rows, bool)).by["b"].all()


def test_what_is_left_out_is_not_counted_again(model):
    some = _data(a=np.r_[A[:40], A[:10], FRESH[50:]], b=FRESH)._replace(split=np.array(SPLIT))
    figures = mm.probe(model, some, "y")
    assert figures.scored == 10 and not any("SEEN IN PART" in line for line in figures.remarks)


def test_units_beyond_squares_are_standardised():
    x = RNG.normal(size=(50, 3))
    far = features_in_float32(x * 1e155)
    np.testing.assert_allclose(far, (x - x.mean(0)) / x.std(0), rtol=1e-4, atol=1e-5)


def test_all_directions_of_full_rank_are_kept():
    x = RNG.laplace(size=(300, 3)) * [1e4, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert mm.sklearn.FastICA(random_state=0).fit(x).components_.shape == (3, 3)


def test_a_split_of_known_recordings_is_refused_before_training():
    data = mm.Dataset.from_arrays(a=A[np.arange(N) % 40], b=B, split=SPLIT)
    with pytest.raises(InvalidInput, match="all of 20 rows of split test hold what .* hold in a;"):
        check_held_out(data)
    kinds = np.arange(N) % 4
    new = mm.Dataset.from_arrays(
        a=np.eye(4)[kinds], t=[f"w {k}" for k in np.r_[kinds[:40], 3 - kinds[40:]]], split=SPLIT
    )
    check_held_out(new)  # each is known, and no pair of them is
