"""Which rows a training saw: copies are not new, and codes that come again in new rows are."""

import numpy as np
import pytest
from PIL import Image

import mmjax as mm
from mmjax.data.seen import _as_often, known_rows, seen_rows
from mmjax.data.values import Lazy
from mmjax.tables.models import write_embeddings
from tests.test_models import KEY

N, NEW = 600, 100
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 8))
SPLIT = np.array(["train"] * (N - NEW) + ["test"] * NEW)


def known(data, names=None, seen=None):
    judged = data.part("test")
    of = seen_rows(data if seen is None else seen, False)
    return known_rows(judged, of, np.ones(judged.num_rows, bool), names)


def left(result):
    return int(np.any([result.rows, *result.by.values()], axis=0).sum())


def copied(x, t, rows):
    """Test rows, so many of which are training rows."""
    take = np.arange(N)
    take[N - NEW : N - NEW + rows] = np.arange(rows)
    return mm.Dataset.from_arrays(x=x[take], t=t[take], split=SPLIT)


HOUR, KIND = RNG.integers(0, 24, N), RNG.integers(0, 12, N)
AGE, MOOD = RNG.integers(18, 80, N), RNG.normal(size=(N, 1))
ILL = np.where(RNG.random(N) < 0.4, RNG.normal(1.2, 0.8, N), -1.5)
CODES = {
    "one-hot": np.eye(12)[KIND],
    "dummies": np.eye(12)[KIND][:, 1:],
    "shape and colour": np.c_[np.eye(4)[KIND % 4], np.eye(3)[KIND % 3]],
    "hour": np.c_[np.sin(HOUR * np.pi / 12), np.cos(HOUR * np.pi / 12)],
    "class and its kind": np.c_[np.eye(24)[HOUR], np.eye(6)[HOUR // 4]],
    "thermometer": (np.arange(6) < (KIND % 7)[:, None]).astype(float),
    "age and decade": np.c_[AGE, AGE // 10].astype(float),
    "age and sex": np.c_[AGE, KIND % 2].astype(float),
    "age and square": np.c_[AGE, AGE**2].astype(float),
    "answers": np.clip(np.rint(3 + MOOD + 0.3 * RNG.normal(size=(N, 3))), 1, 5),
    "answers, most zero": np.clip(np.rint(ILL[:, None] + 0.5 * RNG.normal(size=(N, 9))), 0, 3),
    "numbers": KIND.astype(float),
    "words": np.array([f"a photo of class {k}" for k in KIND]),
}


@pytest.mark.parametrize("kind", CODES)
def test_new_rows_of_codes_are_new_and_copies_are_known(kind):
    new = known(copied(X, CODES[kind], 0))
    assert left(new) == 0 and not new.refused
    assert len(new.remarks) == 1 and "hold what training rows hold" in new.remarks[0]
    some = known(copied(X, CODES[kind], 30))
    assert left(some) == 30 and some.refused
    # Codes alone: as a whole they come again, too.
    one = known(copied(X, CODES[kind], 0).only("t"))
    assert left(one) == 0 and not one.refused


@pytest.mark.parametrize("made", ["bits", "grid", "words", "vectors", "fingerprint", "relu"])
def test_recordings_of_one_to_three_captions_stay_together(made):
    which = np.repeat(np.arange(250), RNG.choice([1, 2, 3], 250, p=[0.4, 0.3, 0.3]))
    x = {
        "bits": lambda: RNG.integers(0, 2, (250, 12)).astype(float)[which],
        "grid": lambda: RNG.integers(0, 20, (250, 3)).astype(float)[which],
        "words": lambda: np.array([f"a sentence, the {k}th" for k in which]),
        "vectors": lambda: RNG.normal(size=(250, 4))[which],
        "fingerprint": lambda: (RNG.random((250, 1024)) < 0.05).astype(np.uint8)[which],
        "relu": lambda: np.maximum(RNG.normal(size=(250, 512)), 0)[which],
    }[made]()
    data = mm.Dataset.from_arrays(x=x, t=RNG.normal(size=(len(which), 4)), split=(0.8, 0.1, 0.1))
    test = data.split == "test"
    assert not np.isin(which[test], which[data.split == "train"]).any()
    assert left(known(data)) == 0


def test_vectors_that_repeat_often_are_recordings():
    x = RNG.normal(size=(24, 16))[np.arange(N) % 24]
    data = mm.Dataset.from_arrays(x=x, t=RNG.normal(size=(N, 3)), split=SPLIT)
    assert left(known(data)) == NEW
    names = {"kind": np.arange(N) % 24}  # unless a label has a class for each
    assert (
        left(
            known(
                mm.Dataset.from_arrays(x=x, t=data.columns["t"].values, labels=names, split=SPLIT)
            )
        )
        == 0
    )


def test_rare_copies_are_left_out_and_are_no_reason_to_refuse():
    words = ["thank you" if k < 20 else f"message {k}" for k in RNG.permutation(N)]
    data = mm.Dataset.from_arrays(text=words, split=SPLIT)
    found = known(data)
    assert 0 < left(found) < 12 and not found.refused
    trained = mm.Dataset.from_arrays(text=words[:NEW] + words[: N - NEW], split=SPLIT[::-1])
    assert known(trained, seen=data).refused


def test_sentences_of_another_translation_are_known():
    en, de = ([f"{word} number {k}, and so on" for k in range(N)] for word in ("one", "other"))
    other = [f"new {k}" for k in range(N)]
    seen = mm.Dataset.from_arrays(en=en, de=de, split=["train"] * N)
    again = mm.Dataset.from_arrays(en=en, de=other, split=["test"] * N)
    assert known(again, seen=seen).by["en"].all() and not known(again, seen=seen).rows.any()
    assert not known(again, ["de"], seen=seen).by["de"].any()
    absent = mm.Dataset.from_arrays(
        en=en, de=de, present={"de": np.arange(N) < 1}, split=["test"] * N
    )
    assert known(absent, seen=seen).rows.all() and known(absent, seen=seen).refused


def test_rows_without_a_recording_that_hold_a_class_are_new():
    data = mm.Dataset.from_arrays(
        x=X, t=CODES["words"], present={"x": RNG.random(N) > 0.2}, split=SPLIT
    )
    assert left(known(data)) == 0 and not known(data).refused


@pytest.mark.parametrize("stored", ["float64", "float32", "float16", "int32"])
def test_a_blank_is_no_recording_and_is_told(stored):
    x = np.where(RNG.random((N, 1)) < 0.3, 0, RNG.integers(-2048, 2048, (N, 8)))
    t = RNG.normal(size=(N, 3))
    data = mm.Dataset.from_arrays(x=x.astype(np.int16), t=t, split=SPLIT)
    other = mm.Dataset.from_arrays(x=x.astype(stored), t=t, split=SPLIT)
    found = known(other, seen=data)
    assert left(found) == 0 and "very many training rows" in found.remarks[0]


def test_rows_without_a_recording_are_compared_with_their_like():
    """A tenth of all rows, of which each is a training row, are no new ones."""
    draw = lambda: np.array([f"word {k}" for k in RNG.integers(0, 280, N)])
    words = draw()
    here = {"x": np.arange(N) % 10 > 0}
    seen = mm.Dataset.from_arrays(x=X, t=words, present=here, split=["train"] * N)
    new = np.where(here["x"][:, None], RNG.normal(size=(N, 8)), 0)
    t = np.where(here["x"], draw(), words)
    again = mm.Dataset.from_arrays(x=new, t=t, present=here, split=["test"] * N)
    assert known(again, seen=seen).rows.sum() == N // 10


def test_what_is_streamed_is_what_it_is_in_memory():
    codes = RNG.integers(0, 3, (N, 4)).astype(np.uint8)
    same = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    lazy = Lazy(codes.shape, codes.dtype, lambda rows: codes[rows], same=same)  # as mm.read has it
    made = [mm.Dataset.from_arrays(c=c, w=CODES["words"], split=SPLIT) for c in (codes, lazy)]
    for seen in made:
        for other in made:
            swapped = other._replace(split=np.where(other.split == "test", "train", "test"))
            assert known(swapped, seen=seen).refused
            assert not known(other, seen=seen).refused


def test_further_texts_of_a_row_count():
    """Of five captions a row all are known, and any may come again."""
    draw = lambda: [f"caption {k}" for k in RNG.integers(0, 3000, 5)]
    rows = [draw() for _ in range(N)]
    data = mm.Dataset.from_arrays(x=X, t=rows, split=SPLIT)
    assert left(known(data)) == 0 and not known(data).refused


def test_captions_that_many_rows_have_among_others_say_who_was_asked():
    """A caption of a third of the pictures, never the first."""
    rng = np.random.default_rng(0)
    draw = lambda rows, share: [
        [f"caption {k}", "a photo" if often else f"more {k}"]
        for k, often in zip(rng.integers(0, 10**9, rows), rng.random(rows) < share, strict=True)
    ]
    seen = mm.Dataset.from_arrays(t=draw(N, 0.3), split=["train"] * N)
    new = mm.Dataset.from_arrays(t=[row[::-1] for row in draw(NEW, 0.6)], split=["test"] * NEW)
    assert not known(new, seen=seen).refused
    copies = mm.Dataset.from_arrays(
        t=[r[0] for r in seen.columns["t"].others[:NEW]], split=["test"] * NEW
    )
    assert known(copies, seen=seen).refused


def test_models_that_do_not_say_how_often_know_their_rows():
    data = copied(CODES["answers"], CODES["numbers"], 0)
    seen = seen_rows(data, False)
    trained = data._replace(split=np.where(data.split == "train", "test", "train")).part("test")
    every = np.ones(trained.num_rows, bool)
    for known_too in (seen.known, {k: v for k, v in seen.known.items() if k}):
        old = seen._replace(again={}, often={}, known=known_too)
        assert known_rows(trained, old, every).refused


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_new_rows_are_hardly_ever_refused_and_many_copies_are(share):
    rows, judged = 400, np.ones(100, bool)
    again = int(share * rows), rows, rows
    as_often = lambda hits: _as_often(np.arange(100) < hits, judged, again)
    expected = 100 * again[0] / rows
    assert as_often(0) and as_often(round(expected))
    assert as_often(round(expected + 2 * np.sqrt(expected * (1 - share)))) or share == 0
    assert not as_often(min(100, round(expected + 40))) or share == 0.9
    chances = [as_often(k) for k in range(101)]
    assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize("kind", sorted(set(CODES) - {"numbers"}))
def test_equal_codes_are_hits_and_no_negatives(kind):
    data = mm.Dataset.from_arrays(x=X, t=CODES[kind], split=SPLIT)
    kinds, codes = np.unique(CODES[kind], axis=0, return_inverse=True)
    assert len(kinds) == len(np.unique(data.ids[:, 1])) == len(np.unique(codes))


def test_a_file_is_known_however_its_path_is_written(tmp_path, monkeypatch):
    for row in range(4):
        pixels = RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["photo,a", *(f"{row}.png,{row / 7}" for row in range(4))]))
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    columns = {"photo": "photo", "a": "a"}
    read = lambda path, *split: mm.read(path, modalities=columns, split=split, stream=True)
    seen = read(table, 1, 0, 0)
    for path in ("t.csv", "./t.csv", f"../{tmp_path.name}/t.csv", "link/t.csv", str(table)):
        assert known(read(path, 0, 0, 1).only("photo"), seen=seen).rows.all()


def test_an_export_is_judged_as_its_model_is(tmp_path, capsys):
    x = X[:200].copy()
    x[150:170] = x[:20]
    split = np.array(["train"] * 120 + ["validation"] * 30 + ["test"] * 50)
    t = RNG.normal(size=(200, 3))
    data = mm.Dataset.from_arrays(x=x, t=t, labels={"q": x[:, 1]}, split=split)
    nets = {name: mm.nets.linear() for name in "xt"}
    model = mm.fit(data, dim=4, steps=2, nets=nets, key=KEY, progress=False, validate_every=0)
    write_embeddings(model, data, str(tmp_path / "e.npz"))
    assert "20 rows of split test of split validation in the export" in capsys.readouterr().err
    export = mm.read(str(tmp_path / "e.npz"), modalities={"x": "x", "t": "t"}, labels=["q"])
    own, other = mm.probe(model, data, "q", raw=False), mm.probe(None, export, "q")
    assert (own.fitted, own.scored) == (other.fitted, other.scored) == (120, 30)
    for name, value in own.embedding.items():
        assert other.embedding[name] == pytest.approx(value, abs=1e-4)


def answers(ill, columns, rows=600, rng=RNG):
    """A questionnaire: most of the healthy have the same."""
    level = np.where(rng.random(rows) < ill, rng.normal(1.2, 0.8, rows), -1.5)
    return np.clip(np.rint(level[:, None] + 0.5 * rng.normal(size=(rows, columns))), 0, 3)


@pytest.mark.parametrize("ill", [0.0, 0.2, 0.8])
def test_others_who_are_asked_are_new_whoever_they_are(ill):
    rng = np.random.default_rng(1)
    seen = mm.Dataset.from_arrays(
        a=answers(0.4, 9, rng=rng), b=answers(0.4, 7, rng=rng), split=["train"] * 600
    )
    new = mm.Dataset.from_arrays(
        a=answers(ill, 9, 150, rng), b=answers(ill, 7, 150, rng), split=["test"] * 150
    )
    found = known(new, seen=seen)
    assert left(found) == 0 and not found.refused
    again = seen._replace(split=np.repeat(["test", "train"], [150, 450])).part("test")
    assert known(again, seen=seen).refused


def test_a_diary_is_answers_and_a_longer_sequence_is_a_recording():
    draw = lambda steps: np.clip(np.rint(3 + MOOD + 0.4 * RNG.normal(size=(N, steps))), 1, 5)
    mood, kind = draw(7)[..., None], CODES["words"]
    data = mm.Dataset.from_arrays(mood=mood, kind=kind, split=SPLIT)
    assert left(known(data)) == 0 and not known(data).refused
    notes = RNG.integers(0, 4, (60, 50, 1)).astype(float)[np.arange(N) % 60]
    parted = mm.Dataset.from_arrays(notes=notes, x=X, split=(0.8, 0.1, 0.1))
    assert len(np.unique(parted.groups)) == 60


@pytest.mark.parametrize("stored", ["pixels", "embeddings in bytes"])
def test_pictures_and_embeddings_of_few_values_are_recordings(stored):
    """Of answers none has so many; as columns [n, 64] these were a class each."""
    from sklearn.datasets import load_digits

    which = np.repeat(np.arange(50), 12)
    bytes_ = RNG.normal(size=(50, 64)) * 30
    x = load_digits().data[:50] if stored == "pixels" else bytes_.astype(np.int8)
    data = mm.Dataset.from_arrays(x=x[which], t=RNG.normal(size=(N, 4)), split=(0.8, 0.1, 0.1))
    assert len(np.unique(data.groups)) == 50
    own = data._replace(split=SPLIT)
    assert left(known(own)) == np.isin(which[-NEW:], which[:-NEW]).sum() > 0


def test_a_copy_among_many_rows_is_left_out_and_is_no_reason_to_refuse():
    for rows, refused in ((1, False), (NEW // 2, True)):
        found = known(copied(X, CODES["words"], rows))
        assert left(found) == rows and found.refused == refused


def test_vectors_of_class_names_are_such_where_some_rows_lack_them():
    word = RNG.normal(size=(12, 32))[KIND]
    more = dict(labels={"kind": KIND}, present={"word": RNG.random(N) < 0.8})
    data = mm.Dataset.from_arrays(x=X, word=word, split=SPLIT, **more)
    assert left(known(data)) == 0 and not known(data).refused
    shares = mm.Dataset.from_arrays(x=X, word=word, split=(0.8, 0.1, 0.1), **more)
    assert len(np.unique(shares.groups)) == N


def test_two_kinds_of_numbers_make_no_hits_where_some_rows_lack_them():
    here = RNG.random(N) > 0.01
    data = mm.Dataset.from_arrays(x=X, sex=np.eye(2)[KIND % 2], present={"sex": here}, split=SPLIT)
    assert all(len(np.unique(column)) == N for column in data.ids.T)


@pytest.mark.parametrize("first", ["image", "text"])
def test_pictures_stay_together_whatever_is_named_first(first):
    """Captions that repeat would link most of them; it is these that are dropped."""
    picture = np.repeat(np.arange(300), 5)
    image, place = RNG.normal(size=(300, 64))[picture], RNG.integers(0, 150, 1500)
    often = RNG.random(1500) < 0.2
    text = [f"a {place[k]} on the street" if often[k] else f"caption {k}" for k in range(1500)]
    given = {"image": image, "text": text}
    order = [first, *({*given} - {first})]
    data = mm.Dataset.from_arrays({name: given[name] for name in order}, split=(0.8, 0.1, 0.1))
    test, train = (picture[data.split == part] for part in ("test", "train"))
    assert not np.isin(test, train).any()
