"""Checkpoints: whole or refused; a loss that is not finite stops."""

import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmjax.errors import InvalidInput
from mmjax.train import (
    NotFinite,
    Recipe,
    Stage,
    fingerprint,
    init_states,
    make_layout,
    open_checkpoints,
    same_fingerprint,
    train,
)

KEYS = jax.random.split(jax.random.key(0), 2)


def _source(constants, key):
    return constants["data"][jax.random.randint(key, (4,), 0, 16)]


def _objective(params, batch, key, gather):
    return jnp.mean((batch @ params["w"] - 1) ** 2), {}


def _data(seed=0):
    return {"data": jax.random.normal(jax.random.key(seed), (2, 16, 3))}


def _train(
    folder, until=40, *, constants=None, size=3, keys=KEYS, stages=None, objective=_objective
):
    stages = stages or [Stage(objective, until)]
    recipe = Recipe(_source, stages, optax.adam(1e-2), chunk_steps=5, save_every=10)
    said, seen = [], []
    checkpoints = open_checkpoints(str(folder), say=said.append)
    states = train(
        recipe,
        init_states(recipe, lambda key: {"w": jnp.zeros(size)}, keys),
        _data() if constants is None else constants,
        keys,
        layout=make_layout("single", num_seeds=len(keys), batch_size=4),
        checkpoints=checkpoints,
        on_resume=seen.append,
    )
    checkpoints.close()
    return np.asarray(states.params["w"]), seen[0], said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, _train(folder)[0]


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run", whole[1]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _flip(path: Path, bit: int) -> None:
    held = bytearray(path.read_bytes())
    held[bit // 8 % len(held)] ^= 1 << bit % 8
    path.write_bytes(held)


def test_the_last_two_are_kept_and_a_finished_training_is_not_repeated(copied):
    folder, want = copied
    assert sorted(os.listdir(folder)) == ["30", "40"]
    found, resumed, said = _train(folder)
    assert resumed == 40 and not said
    np.testing.assert_array_equal(found, want)


def _hurts(folder: Path):
    """Every file of the newest checkpoint, hurt in each of three ways."""
    for path in _files(folder / "40"):
        for how in ("flipped", "cut", "gone"):
            yield path.relative_to(folder), how


def test_whatever_happens_to_the_newest_the_older_one_is_used(whole, tmp_path):
    folder, want = whole
    recipe = Recipe(_source, [], optax.adam(1e-2), 5, 10)
    like = init_states(recipe, lambda key: {"w": jnp.zeros(3)}, KEYS)
    for number, (name, how) in enumerate(_hurts(folder)):
        run = tmp_path / str(number)
        shutil.copytree(folder, run)
        path = run / name
        if how == "flipped":
            _flip(path, 7919 * number)
        elif how == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            path.unlink()
        said = []
        step, _ = open_checkpoints(str(run), say=said.append).restore(like)
        assert step == 30 and len(said) == 1 and "checkpoint" in said[0], (name, how, said)
    found, resumed, _ = _train(run)
    assert resumed == 30
    np.testing.assert_array_equal(found, want)
    assert _train(run)[1:] == (40, [])  # what was left out has been made again


def test_a_file_too_many_is_damage_and_a_hidden_one_is_not(copied):
    folder, _ = copied
    (folder / "40" / ".DS_Store").write_text("of the desktop")
    assert _train(folder)[1:] == (40, [])
    (folder / "40" / "default" / "d" / "more").write_text("from elsewhere")
    _, resumed, said = _train(folder)
    assert resumed == 30 and "more does not belong to it" in said[0]


def test_if_all_are_damaged_it_says_so_and_touches_nothing(copied):
    folder, _ = copied
    for step in (30, 40):
        _flip(folder / str(step) / "default" / "_METADATA", 100)
    before = {p: p.read_bytes() for p in _files(folder)}
    with pytest.raises(InvalidInput, match="none is whole; remove it to start over"):
        _train(folder)
    assert {p: p.read_bytes() for p in _files(folder)} == before


def test_one_that_was_cut_short_has_no_manifest_and_is_none(copied):
    folder, want = copied
    for step in (30, 40):
        (folder / str(step) / "manifest.json").unlink()
    found, resumed, said = _train(folder)
    assert resumed == 0 and len(said) == 2 and all("cut short" in line for line in said)
    np.testing.assert_array_equal(found, want)


def test_one_under_another_step_s_name_is_damaged(copied):
    folder, _ = copied
    shutil.rmtree(folder / "40")
    shutil.copytree(folder / "30", folder / "40")
    assert _train(folder)[1] == 30


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"until": 10}, "40: holds step 40, but 10 steps are asked for; use another folder"),
        ({"until": 39}, "holds step 40, but 39 steps"),
        ({"size": 4, "constants": {"data": jnp.ones((2, 16, 4))}}, r"w is float32\[2, 3\] there, "),
        ({"constants": _data(1)}, "made of other data or other seeds"),
        ({"constants": {"data": _data()["data"][:, ::-1]}}, "made of other data"),
        ({"keys": jax.random.split(jax.random.key(1), 2)}, "made of other data or other seeds"),
        ({"stages": [Stage(_objective, 20), Stage(_objective, 40)]}, "stages ended at steps"),
    ],
)
def test_one_of_another_training_is_refused(changed, told, whole):
    with pytest.raises(InvalidInput, match=told) as error:
        _train(whole[0], **changed)
    assert len(str(error.value).splitlines()) == 1


def test_a_longer_plan_goes_on_from_a_shorter_one(tmp_path):
    _train(tmp_path / "a", 20)
    found, resumed, _ = _train(tmp_path / "a", 40)
    assert resumed == 20
    np.testing.assert_array_equal(found, _train(tmp_path / "b", 40)[0])


def test_a_fingerprint_tells_data_apart_and_not_their_last_bits():
    x = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    told = lambda *leaves: json.loads(json.dumps(fingerprint(leaves)))
    same = lambda a, b: same_fingerprint(told(*a), told(*b))
    assert same([x], [x * np.float32(1 + 1e-6)]) and same([x * 1e30], [x * 1e30])
    one = x.copy()
    one[1234] = 0
    for other in (one, x[::-1], np.roll(x, 4096), x + 1, 2 * x, x.astype(np.float16), x[:-1]):
        assert not same([x], [other])
    labels = np.arange(10)
    assert same([labels], [labels]) and not same([labels], [labels[::-1]])
    assert not same([jax.random.key(0)], [jax.random.key(1)])
    assert not same([x, labels], [x])
    nan = np.where(np.arange(5) == 2, np.nan, x)
    assert same([nan], [nan]) and same([nan.astype(jnp.bfloat16)], [nan.astype(jnp.bfloat16)])


def _bursts(after):
    """NaN in the loss, infinity in the gradient alone, or both, from a number of weights on."""

    def objective(params, batch, key, gather):
        w = params["w"]
        bad = params["count"][0] >= after
        loss = jnp.mean((w - 1) ** 2) + 0 * jnp.sum(batch)
        # sqrt at 0 is 0, and its gradient infinite.
        return loss + jnp.sqrt(jnp.where(bad, 0.0 * w[0], 1.0)), {"count": params["count"] + 1}

    return objective


@pytest.mark.parametrize(
    "name, objective",
    [
        ("gradient", _bursts(12)),
        (  # Adam would square it, and never move that weight again
            "square of the gradient",
            lambda p, b, k, g: (
                jnp.mean(p["w"] ** 2) + jnp.where(p["count"][0] >= 12, 1e25, 0.0) * p["w"][0],
                {"count": p["count"] + 1},
            ),
        ),
        (
            "loss",
            lambda p, b, k, g: (
                jnp.mean(p["w"] ** 2) + jnp.where(p["count"][0] >= 12, jnp.nan, 0.0),
                {"count": p["count"] + 1},
            ),
        ),
        (
            "parameters",
            lambda p, b, k, g: (
                jnp.mean(p["w"] ** 2),
                {"count": jnp.where(p["count"] >= 12, jnp.inf, p["count"] + 1)},
            ),
        ),
    ],
)
@pytest.mark.parametrize("unrolled", [False, True])
def test_what_is_not_finite_stops_within_its_chunk(name, objective, unrolled, tmp_path):
    recipe = Recipe(_source, [Stage(objective, 40)], optax.sgd(0.1), 5, 5, unrolled=unrolled)
    checkpoints, chunks = open_checkpoints(str(tmp_path)), []
    with pytest.raises(NotFinite) as stop:
        train(
            recipe,
            init_states(recipe, lambda key: {"w": jnp.zeros(3), "count": jnp.zeros(1)}, KEYS),
            _data(),
            KEYS,
            layout=make_layout("single", num_seeds=2, batch_size=4),
            checkpoints=checkpoints,
            on_chunk=lambda step, losses: chunks.append(step),
        )
    assert stop.value.step == 13 and list(stop.value.rows) == [0, 1]
    assert chunks == [5, 10] and stop.value.saved == str(tmp_path / "10")
    assert "not finite at step 13" in str(stop.value) and str(tmp_path / "10") in str(stop.value)
    step, states = checkpoints.restore(
        init_states(recipe, lambda key: {"w": jnp.zeros(3), "count": jnp.zeros(1)}, KEYS)
    )
    assert step == 10 and all(np.all(np.isfinite(x)) for x in jax.tree.leaves(states))


@pytest.mark.slow
def test_a_hundred_flipped_bits_change_no_result(whole, tmp_path):
    """Anywhere in the folder: it falls back, or refuses; the result is the undisturbed one's."""
    folder, want = whole
    rng = np.random.default_rng(0)
    outcomes = {"fell back": 0, "refused": 0}
    for number in range(100):
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder, run)
        sizes = np.array([p.stat().st_size for p in _files(run)])
        path = _files(run)[rng.choice(len(sizes), p=sizes / sizes.sum())]
        _flip(path, int(rng.integers(8 * path.stat().st_size)))
        both = number % 4 == 3  # the older one as well: none is left
        if both:
            _flip(run / "30" / "default" / "_METADATA", number)
            _flip(run / "40" / "default" / "_METADATA", number)
        try:
            found, resumed, said = _train(run)
        except InvalidInput:
            shutil.rmtree(run)  # as the line says
            outcomes["refused"] += 1
            found, _, _ = _train(run)
        else:
            assert said or path.is_relative_to(run / "30")
            outcomes["fell back"] += 1
        np.testing.assert_array_equal(found, want)
    print(outcomes)
    assert sum(outcomes.values()) == 100 and all(outcomes.values())
