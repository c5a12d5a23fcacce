"""Paired data, traversals and metrics: what copies, spaces, draws and units would change unseen."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import traverse
from mmjax.data import SideNames, load_pairs
from mmjax.data.dataset import LABEL
from mmjax.data.files.checks import stripped
from mmjax.errors import InvalidInput
from mmjax.evaluate import (
    fit_single,
    half_waves,
    longer_side,
    mean_squared_error,
    monosemanticity,
    nearest_texts,
    single_accuracies,
    top_classes,
)
from mmjax.run import Row
from mmjax.run.table import seed_keys
from mmjax.studies.pictures import Pictures, read_pictures, varying
from mmjax.tables import traverse as table

RNG = np.random.default_rng
N = 100


def load(tmp_path, arrays, x=None, t=None, **how):
    path = str(tmp_path / "pairs.npz")
    np.savez(path, **arrays)
    sides = x or SideNames("x"), t or SideNames("t")
    return load_pairs(path, *sides, **dict(pairs="index", pair_index="", test_share=0.2) | how)


def copied(by_ids):
    """Noise without a class in it: all rows of t twice, the second of each without a partner."""
    rng = RNG(0)
    x, t, label = rng.normal(size=(N, 4)), rng.normal(size=(N, 200)), rng.integers(0, 4, N)
    near = 1e-3 * rng.normal(size=t.shape) if by_ids else 0
    arrays = dict(x=x, t=np.r_[t, t + near], lx=label, lt=np.r_[label, label], pair=np.arange(N))
    return arrays | dict(of=np.r_[np.arange(N), np.arange(N)], mask=np.arange(N) % 5 == 0)


@pytest.mark.parametrize("by_ids", [False, True])
@pytest.mark.parametrize("mask", ["", "mask"])
def test_copies_without_a_partner_are_on_the_side_of_their_recording(tmp_path, by_ids, mask):
    sides = SideNames("x", "lx", is_test=mask), SideNames("t", "lt", ids="of" if by_ids else "")
    data = load(tmp_path, copied(by_ids), *sides, pair_index="pair")
    test = data.t.split == "test"
    np.testing.assert_array_equal(test[:N], test[N:])
    np.testing.assert_array_equal(test[:N], data.x.split == "test")
    assert not data.remarks


def test_rows_without_a_partner_or_a_copy_are_trained_on(tmp_path):
    rng = RNG(0)
    arrays = dict(x=rng.normal(size=(20, 3)), t=rng.normal(size=(30, 3)), pair=np.arange(20))
    data = load(tmp_path, arrays, pair_index="pair")
    assert (data.t.split[20:] == "train").all() and (data.t.split == "test").sum() == 4


def test_named_masks_that_part_copies_without_a_partner_are_told(tmp_path):
    arrays = copied(False) | dict(of_t=np.arange(2 * N) % 5 == 0)
    arrays["of_t"][N:] = False
    data = load(tmp_path, arrays, t=SideNames("t", is_test="of_t"), pair_index="pair")
    assert data.remarks[0].startswith("20 groups of rows that are one recording lie on both sides")


def test_rows_that_repeat_like_classes_do_not_follow_each_other(tmp_path):
    """One content a class: rows without a partner would all be test rows."""
    label = np.arange(80) % 4
    arrays = dict(x=RNG(0).normal(size=(40, 3)), t=np.eye(4)[label], pair=np.arange(40))
    data = load(tmp_path, arrays, pair_index="pair")
    assert "repeat like classes" in data.remarks[0]
    assert (data.t.split[40:] == "train").all()
    arrays["mask"] = np.arange(40) % 5 == 0
    masked = load(tmp_path, arrays, SideNames("x", is_test="mask"), pair_index="pair")
    assert (masked.t.split[40:] == "train").all() and "4 groups" in masked.remarks[0]


def test_text_is_read_without_the_space_around_it(tmp_path):
    rng, kind = RNG(0), np.arange(40) % 4
    names = np.array(list("abcd"))[kind]
    given = dict(x=rng.normal(size=(40, 3)), t=rng.normal(size=(40, 2)))
    padded = np.char.ljust(names, 6)
    sides = SideNames("x", "lx", ("own",)), SideNames("t", "lt")
    for lt in (padded, np.char.encode(padded), np.char.rjust(names, 3)):
        own = np.where(np.arange(40) % 2, padded, names)
        data = load(tmp_path, given | dict(lx=names, lt=lt, own=own), *sides)
        np.testing.assert_array_equal(data.x.labels[LABEL], data.t.labels[LABEL])
        np.testing.assert_array_equal(data.x.labels["own"], kind)
    given |= dict(lx=names, lt=padded, own=names)
    by_label = load(tmp_path, given, *sides, pairs="label")
    np.testing.assert_array_equal(by_label.x.labels[LABEL], by_label.t.labels[LABEL])


def test_ids_with_space_around_them_are_one_recording(tmp_path):
    rng, of = RNG(0), np.arange(40) // 2
    text = of.astype(str)
    ids = np.where(np.arange(40) % 2, np.char.ljust(text, 5), np.char.ljust(text, 6))
    arrays = dict(x=rng.normal(size=(40, 3)), t=rng.normal(size=(40, 2)), ids=ids)
    data = load(tmp_path, arrays, SideNames("x", ids="ids"))
    test = data.x.split == "test"
    assert not set(of[test]) & set(of[~test]) and len(set(data.x.groups)) == 20


def test_stripped_leaves_numbers_alone():
    numbers = np.arange(3.0)
    assert stripped(numbers) is numbers
    assert stripped(np.array(["a ", " b", "a"])).tolist() == ["a", "b", "a"]
    assert stripped(np.array([b"a ", b" b"])).tolist() == [b"a", b"b"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_label_with_fractions_on_one_side_is_a_quantity_on_both(tmp_path, turned):
    rng = RNG(0)
    age = rng.normal(size=N) * 10 + 40
    lx, lt = (np.round(age).astype(int), age) if turned else (age, np.round(age))
    sides = SideNames("x", "lx"), SideNames("t", "lt")
    x = age[:, None] + rng.normal(size=(N, 3))
    arrays = dict(x=x, t=rng.normal(size=(N, 2)), lx=lx, lt=lt)
    data = load(tmp_path, arrays, *sides)
    for side, values in ((data.x, lx), (data.t, lt)):
        assert side.labels[LABEL].dtype == np.float64
        np.testing.assert_array_equal(side.labels[LABEL], values)
    with pytest.raises(InvalidInput, match="pairs are drawn by a label of classes, not .*[.]"):
        load(tmp_path, arrays, *sides, pairs="label")


def pictures(tmp_path, n=200, **arrays):
    """Pictures of noise in colour, and a factor of each sort that one row alone tells apart."""
    rng, path = RNG(0), str(tmp_path / "shown.npz")
    rare = np.arange(n) == 3
    some = dict(
        size=rng.normal(size=n), rare=1.5 * rare, odd=rare.astype(int), said=rare.astype("U5")
    )
    np.savez(path, images=rng.integers(0, 255, (n, 4, 4, 3), np.uint8), **some | arrays)
    return path


def test_a_factor_that_the_drawn_pictures_all_share_is_left_out(tmp_path):
    path = pictures(tmp_path)
    names, key = ("size", "rare", "odd", "said"), jax.random.key(0)
    how = dict(images="images", labels=names, key=key)
    assert sorted(read_pictures(path, **how).factors) == sorted(names)
    assert 3 not in jax.random.permutation(key, 200)[:50]
    data = read_pictures(path, **how, rows=50)
    assert [*data.factors] == ["size"] and [name for name, _ in data.left_out] == [*names[1:]]
    assert data.left_out[0][1] == f"{path}: rare is the same in all 50 pictures drawn, left out"
    with pytest.raises(InvalidInput, match="odd is the same in all 50 .* no factor is left; use"):
        read_pictures(path, **how | dict(labels=("odd",)), rows=50)


def test_a_factor_that_held_or_fitted_pictures_all_share_is_left_out():
    images, held = np.zeros((20, 2, 2, 3), np.uint8), np.arange(16, 20)
    rows = {"fitted on": np.arange(16), "held": held}
    factors = dict(a=np.arange(20), b=np.arange(20) == 3, c=(np.arange(20) == 17) * 1.0)
    data = varying(Pictures(images, factors, None, np.arange(20)), rows, "scenes")
    assert [*data.factors] == ["a"]
    assert data.left_out == (
        ("b", "scenes: b is the same in all 4 pictures held, left out"),
        ("c", "scenes: c is the same in all 16 pictures fitted on, left out"),
    )


def test_a_traversal_tells_what_it_leaves_out(tmp_path, capsys, monkeypatch):
    """Of a decoder and a judge that are not trained."""
    decoder = SimpleNamespace(decode=lambda x: jnp.zeros((len(x), 4, 4, 3)))
    monkeypatch.setattr(table, "train_decoder", lambda *_, **__: decoder)
    monkeypatch.setattr(table, "train_judge", lambda *_, **__: SimpleNamespace(read=None))
    monkeypatch.setattr(table, "judge_skill", lambda *_: {})
    path = pictures(tmp_path, values=RNG(1).normal(size=(200, 3)))
    config = traverse.Config(data=path, labels="size,odd", values="values", rows=40, seeds=1)
    keys = {name: keys[0] for name, keys in seed_keys(config, table.PURPOSES).items()}
    seen = table.seen_of(config, None, keys, 0)
    assert [*seen.truth] == ["size"] and seen.left_out == ["odd"]
    told = f"note: seed 0: {path}: odd is the same in all 40 pictures drawn, left out"
    said = capsys.readouterr()
    assert told in said.out + said.err
    rows = [
        Row("traverse", "shown", 0, "x", *of)
        for of in (("odd", "left_out", 1.0), ("PCA: size", "move", 0.5))
    ]
    text = table.summary(config, "shown", rows, {})
    line = "does not vary in the pictures drawn, fitted on or held, and is left out there."
    assert f"\n\nseed 0: odd {line}\n\n" in text and text.count("odd") == 1


def test_labels_of_pictures_are_read_without_the_space_around_them(tmp_path):
    padded = np.array(["a", "a ", "b", " b"])[np.arange(200) % 4]
    path = pictures(tmp_path, said=padded)
    data = read_pictures(path, images="images", labels=("said",), key=jax.random.key(0))
    assert np.unique(data.factors["said"]).tolist() == ["a", "b"]
    path = pictures(tmp_path, said=np.array(["a", "a ", "a", " a"])[np.arange(200) % 4])
    with pytest.raises(InvalidInput, match="labels 'said' are all 'a'"):
        read_pictures(path, images="images", labels=("said",), key=jax.random.key(0))


SKEWED = RNG(0).exponential(size=(300, 3)) * np.array([-1, 1, -1])
KIND = np.arange(300) % 3
ACTIVE = np.abs(RNG(1).normal(size=(300, 2))) + 5 * (KIND[:, None] == np.arange(2))
WORDS = np.array(["c1", "c2", "c3"])[KIND]
HOLED = np.where(np.arange(600).reshape(300, 2) == 77, np.nan, ACTIVE)


@pytest.mark.parametrize("unit, offset", [(1, 0), (1e-16, 0), (1e-30, 0), (1e15, 0), (1, 1e8)])
def test_the_longer_side_depends_on_no_unit_and_no_offset(unit, offset):
    y = SKEWED * unit + offset
    assert longer_side(y).tolist() == [-1, 1, -1]
    if not offset:
        assert longer_side(jnp.asarray(y, jnp.float32)).tolist() == [-1, 1, -1]
    seen = np.asarray(half_waves(y, y), np.float64) / unit
    wanted = np.maximum(np.array([-1, 1, -1]) * (SKEWED - SKEWED.mean(0)), 0)
    np.testing.assert_allclose(seen, wanted, atol=1e-5)


def test_half_waves_of_float32_are_as_they_were():
    y, fit = (jnp.asarray(RNG(k).exponential(size=(97, 5)), jnp.float32) for k in (1, 2))
    former = jax.jit(lambda y, fit: jax.nn.relu(y - jnp.mean(fit, 0)))
    np.testing.assert_array_equal(half_waves(y, fit), former(y, fit))


def test_squared_errors_are_of_differences_not_of_what_float32_leaves():
    t = RNG(0).normal(size=200)
    for offset in (0, 1e9):
        found = mean_squared_error(t + offset, t + offset + 0.1)
        assert float(found) == pytest.approx(0.01, rel=1e-4)
    whole = np.arange(5) + 2**40
    assert float(mean_squared_error(whole, whole + 3)) == 9
    both = jnp.asarray(t, jnp.float32), jnp.asarray(t[::-1], jnp.float32)
    assert float(mean_squared_error(*both)) == float(jnp.mean((both[0] - both[1]) ** 2))


def single(z, labels):
    return single_accuracies(fit_single(z, labels, z[:0], labels[:0], 3), z, labels).tolist()


def test_a_threshold_on_one_component_keeps_its_digits_beside_an_offset():
    plain = single(ACTIVE.astype(np.float32), KIND)
    for z in (ACTIVE, ACTIVE + 1e9, ACTIVE * 1e-60):
        assert single(z, KIND) == plain
    found = fit_single(ACTIVE + 1e9, KIND, ACTIVE[:9] + 1e9, KIND[:9], 3)
    near = fit_single(ACTIVE, KIND, ACTIVE[:9], KIND[:9], 3)
    np.testing.assert_allclose(found.threshold - 1e9, near.threshold, atol=1e-5)


def test_labels_are_codes_or_any_of_so_many_values():
    coded = monosemanticity(ACTIVE, KIND, 3).tolist(), single(ACTIVE, KIND)
    main, purity = top_classes(ACTIVE, KIND, 3, 50)
    for labels in (WORDS, WORDS.astype(object), np.char.encode(WORDS), KIND + 2**40):
        assert (monosemanticity(ACTIVE, labels, 3).tolist(), single(ACTIVE, labels)) == coded
        assert top_classes(ACTIVE, labels, 3, 50)[0].tolist() == main.tolist() == [0, 1]
    fitted = fit_single(ACTIVE, WORDS, ACTIVE[:0], WORDS[:0], 3)
    some = WORDS != "c1"  # whose ranks would be those of other classes
    with pytest.raises(InvalidInput, match="labels: '2 classes' is not allowed; use all 3, or cod"):
        single_accuracies(fitted, ACTIVE[some], WORDS[some])
    assert float(single_accuracies(fitted, ACTIVE[some], KIND[some])[1]) > 0.95


@pytest.mark.parametrize("labels", [KIND + 1, KIND - 1, np.arange(300).astype(str)])
@pytest.mark.parametrize(
    "score",
    [
        lambda z, labels: monosemanticity(z, labels, 3),
        lambda z, labels: top_classes(z, labels, 3, 50),
        single,
        lambda z, labels: single_accuracies(fit_single(z, KIND, z[:0], KIND[:0], 3), z, labels),
    ],
)
def test_labels_out_of_range_and_holes_are_refused(score, labels):
    with pytest.raises(InvalidInput, match="labels: .* use 0 to 2"):
        score(ACTIVE, labels)
    with pytest.raises(InvalidInput, match="NaN or infinite values .the first: row 38, column 1"):
        score(HOLED, KIND)


def test_what_is_not_finite_or_negative_names_nothing():
    for call in (longer_side, lambda v: half_waves(v, ACTIVE), lambda v: half_waves(ACTIVE, v)):
        with pytest.raises(InvalidInput, match="y: .*NaN or infinite"):
            call(HOLED)
    eye = np.eye(3)
    for pair in ((eye, np.where(eye > 0, np.nan, 0)), (np.where(eye > 0, np.inf, 0), eye)):
        with pytest.raises(InvalidInput, match="NaN or infinite"):
            nearest_texts(*pair, 1)
    with pytest.raises(InvalidInput, match="activations: '-1' is not allowed; use numbers >= 0"):
        monosemanticity(np.where(ACTIVE == ACTIVE[5, 0], -1, ACTIVE), KIND, 3)


def test_top_rows_are_told_apart_by_digits_that_float32_has_not():
    z = 1e9 + np.arange(30.0)[:, None]
    assert top_classes(z, np.arange(30) // 20, 2, 10)[1].tolist() == [1]
    assert top_classes(z, np.arange(30) // 20, 2, 10)[0].tolist() == [1]
