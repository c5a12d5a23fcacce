"""The study of fused representations: what is trained, what is read, how it is judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mmjax.errors import InvalidInput
from mmjax.generative import TriFactors
from mmjax.losses import no_gather
from mmjax.studies.fused import (
    METHODS,
    FusedOptions,
    make_fused_study,
    mean_recall,
    searched_probe,
    targets_of,
)

TINY = dict(hidden=(4,), tokens=2, width=8, heads=2, head_hidden=8, head_out=4, batch_size=6)


def _study(method, modalities=2, **options):
    options = FusedOptions(modalities=modalities, **(TINY | options))
    return make_fused_study(options, method, 1.0, chunk_steps=1, save_every=1)


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_loss_and_something_to_read(method, modalities):
    """Traced, not run: one scalar, statistics like those before, a Z of all or one a modality."""
    study, key = _study(method, modalities), jax.random.key(0)
    world = jax.eval_shape(study.init_env, key)
    params = jax.eval_shape(study.init_params, key)
    batch = jax.eval_shape(study.plan.source, world, key)
    objective = lambda *args: study.plan.phases[0].objective(*args, key, no_gather)
    loss, changes = jax.eval_shape(objective, params, batch)
    assert loss.shape == () and loss.dtype == jnp.float32
    assert jax.tree.structure(changes["statistics"]) == jax.tree.structure(params["statistics"])
    read = jax.eval_shape(study.represent, params, batch["views"][0])
    assert read.shape == (6, 8 if METHODS[method].fused else 8 * modalities)


def test_bad_options():
    for call in (
        lambda: _study("none"),
        lambda: _study("comm", temperature=0.0),
        lambda: _study("comm", batch_size=1),
    ):
        with pytest.raises(InvalidInput):
            call()


def test_targets():
    factors = TriFactors(np.arange(3), np.ones((3, 3)), np.zeros((3, 3)), np.zeros((3, 2)))
    names = ["shared", "unique1", "unique2", "unique3", "synergy1", "synergy2"]
    assert list(targets_of(factors)) == names
    assert list(targets_of(factors._replace(synergy=np.zeros((3, 1)))))[-1] == "synergy"


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_mean_recall_is_scikit_learn_s_balanced_accuracy():
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice([0, 2, 3], 50, p=[0.7, 0.2, 0.1]), rng.integers(0, 5, 50)
    ours = mean_recall(jnp.asarray(predicted), jnp.asarray(labels), 5)
    want = balanced_accuracy_score(labels, predicted)
    np.testing.assert_allclose(ours, want, rtol=1e-6)


def test_the_probe_finds_what_is_linear_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    labels = jnp.asarray(rng.choice(2, 1500, p=[0.9, 0.1]), jnp.int32)
    noise = jnp.asarray(rng.normal(size=(1500, 4)), jnp.float32)
    seen = noise.at[:, 0].add(20.0 * labels)
    assert searched_probe(seen, labels, 2) > 0.99
    assert abs(searched_probe(noise, labels, 2) - 0.5) < 0.05
