"""The losses of Daunhawer et al. 2023, written out pair by pair, against compositions of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import InvalidInput
from mmjax.losses import Context, info_nce, make_similarity
from mmjax.studies import ContentStyleOptions, make_content_style_study
from mmjax.studies.aligned import aligning_loss
from mmjax.studies.content_style import official_loss


def _embeddings(n, dim, count, seed=0):
    return list(np.random.default_rng(seed).normal(size=(count, n, dim)))


def _images_and_text(x, t, temperature):
    """Cosine; the candidates of an anchor are all other rows of both modalities."""
    every = jnp.concatenate([x, t])
    every /= jnp.linalg.norm(every, axis=1, keepdims=True)
    logits = jnp.where(jnp.eye(len(every), dtype=bool), -jnp.inf, every @ every.T / temperature)
    n = len(x)
    positive = jnp.concatenate([jnp.arange(n, 2 * n), jnp.arange(n)])
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(2 * n), positive])


def _simulation(x, t, more_x, more_t):
    """The published code: |a - b|^2; negatives of the anchor's own modality from a second batch;
    log-mean-exp."""

    def one_way(anchor, positive, negatives):
        near = jnp.sum((anchor - positive) ** 2, axis=1)
        far = jnp.sum((anchor[:, None] - negatives[None]) ** 2, axis=2)
        logits = -jnp.concatenate([far, near[:, None]], axis=1)
        return jnp.mean(near + jnp.log(jnp.mean(jnp.exp(logits), axis=1)))

    return 0.5 * (one_way(x, t, more_x) + one_way(t, x, more_t))


def _as_written(x, t, more_x, more_t):
    """The paper: the same, with negatives of the other modality."""
    return _simulation(x, t, more_t, more_x)


def _same(ours, theirs, arguments, dtype, tolerance):
    arguments = [jnp.asarray(a, dtype) for a in arguments]
    wanted = range(len(arguments))
    one, two = (jax.value_and_grad(loss, wanted)(*arguments) for loss in (ours, theirs))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n, dim, temperature, chunk", [(2, 1, 1.0, 50), (9, 4, 0.1, 4)])
def test_images_and_text(n, dim, temperature, chunk):
    def ours(x, t, temperature):
        return info_nce(
            x,
            t,
            similarity=make_similarity("cosine"),
            temperature=temperature,
            within=jnp.arange(n),
            chunk=chunk,
        )

    with jax.enable_x64(True):
        arguments = [*_embeddings(n, dim, 2), temperature]
        _same(ours, _images_and_text, arguments, jnp.float64, 1e-11)


@pytest.mark.parametrize("negatives, published", [("code", _simulation), ("paper", _as_written)])
@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
def test_simulation(dtype, tolerance, negatives, published):
    def ours(x, t, more_x, more_t):
        options = ContentStyleOptions(loss="official", negatives=negatives)
        return official_loss((x, t), (more_x, more_t), options=options)

    with jax.enable_x64(dtype == jnp.float64):
        _same(ours, published, _embeddings(9, 3, 4), dtype, tolerance)


@pytest.mark.parametrize("negatives", ["code", "paper"])
def test_simulation_row_by_row_in_numpy(negatives):
    x, t, more_x, more_t = (v[:5] for v in _embeddings(9, 3, 4))
    for_x, for_t = (more_x, more_t) if negatives == "code" else (more_t, more_x)
    total = 0.0
    for anchors, partners, others in ((x, t, for_x), (t, x, for_t)):
        for anchor, partner in zip(anchors, partners, strict=True):
            near = np.sum((anchor - partner) ** 2)
            all_of = np.array([near, *(np.sum((anchor - o) ** 2) for o in others)])
            total += near + np.log(np.mean(np.exp(-all_of)))
    given = [jnp.asarray(v, jnp.float32) for v in (x, t, more_x, more_t)]
    options = ContentStyleOptions(loss="official", negatives=negatives)
    ours = official_loss(given[:2], given[2:], options=options)
    np.testing.assert_allclose(ours, total / (2 * len(x)), rtol=2e-6)


def test_a_choice_of_negatives_that_changes_nothing_is_refused():
    with pytest.raises(InvalidInput, match="negatives: 'code' is not allowed"):
        make_content_style_study(ContentStyleOptions(negatives="code"))
    assert ContentStyleOptions().negatives == "paper"


def test_pairs_of_three_modalities_count_alike():
    l2 = make_similarity("squared_l2")
    a, b, c = (jnp.asarray(v, jnp.float32) for v in _embeddings(8, 2, 3))
    alone = lambda *pair: info_nce(*pair, similarity=l2, temperature=1.0)
    loss = aligning_loss(ContentStyleOptions())
    together, _ = loss.value({}, {"x1": a, "x2": b, "x3": c}, Context())
    want = (alone(a, b) + alone(a, c) + alone(b, c)) / 3
    np.testing.assert_allclose(together, want, rtol=1e-6)
