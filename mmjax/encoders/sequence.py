"""Networks of sequences that may be padded: a transformer and a gated recurrent network.

Observations are Padded, or arrays `[batch, length, features]` without padding. Padding has no
influence, in training as in evaluation: neither what is in it, NaN included, nor how much there is.
"""

import flax.linen as nn
import jax.numpy as jnp

from mmjax.encoders.attention import EPSILON
from mmjax.encoders.base import Encoder, from_module
from mmjax.encoders.fusion import Padded
from mmjax.errors import require
from mmjax.types import Array

NORMS = ("pre", "post")
STATES = ("all", "last")


def zero_padding(observations: Padded | Array) -> Padded:
    """Sequences with 0 wherever nothing is seen; of an array without padding all is seen.

    Raises InvalidInput for another shape, or a mask that doesn't fit.
    """
    if not isinstance(observations, Padded):
        observations = Padded(observations, jnp.ones(observations.shape[:2], bool))
    values, seen = observations
    require(values.ndim == 3, "observations", values.shape, "[batch, length, features]")
    fits = seen.shape == values.shape[:2] and seen.dtype == bool
    require(fits, "seen", (seen.shape, str(seen.dtype)), f"{values.shape[:2]} bool")
    return Padded(jnp.where(seen[..., None], values, 0), seen)


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        require(value >= 1, name, value, "a whole number >= 1")


class _Layer(nn.Module):
    """Attention, then two linear maps with a ReLU; layer norm before or behind each."""

    heads: int
    hidden: int
    norm: str
    dropout: float

    @nn.compact
    def __call__(self, x, seen, *, train: bool):
        drop = lambda x: nn.Dropout(self.dropout, deterministic=not train)(x)
        attention = nn.MultiHeadDotProductAttention(
            self.heads,
            dropout_rate=self.dropout,
            deterministic=not train,
            broadcast_dropout=False,
            name="attention",
        )
        first, last = (
            nn.Dense(w, name=f"mlp_{k}") for k, w in enumerate((self.hidden, x.shape[2]))
        )
        attend = lambda x: drop(attention(x, mask=seen[:, None, None, :]))
        mlp = lambda x: drop(last(drop(nn.relu(first(x)))))
        for branch, name in ((attend, "attention_norm"), (mlp, "mlp_norm")):
            norm = nn.LayerNorm(EPSILON, name=name)
            x = x + branch(norm(x)) if self.norm == "pre" else norm(x + branch(x))
        return x


class _SequenceTransformer(nn.Module):
    width: int
    layers: int
    heads: int
    positions: int
    hidden: int
    norm: str
    dropout: float

    @nn.compact
    def __call__(self, observations, *, train: bool, gather=None):
        values, seen = zero_padding(observations)
        x = nn.Dense(self.width, use_bias=False, name="linear")(values)
        if self.positions:
            length = x.shape[1]
            allowed = f"a length of at most {self.positions}"
            require(length <= self.positions, "observations", values.shape, allowed)
            small = nn.initializers.normal(0.02)
            x = x + self.param("positions", small, (self.positions, self.width))[:length]
        for k in range(self.layers):
            layer = _Layer(self.heads, self.hidden, self.norm, self.dropout, name=f"layer_{k}")
            x = layer(x, seen, train=train)
        return zero_padding(Padded(x, seen))


def transformer_sequence(
    width: int = 40,
    layers: int = 5,
    heads: int = 5,
    positions: int = 0,
    *,
    hidden: int = 2048,
    norm: str = "pre",
    dropout: float = 0.1,
) -> Encoder:
    """The transformer of CoMM for MOSI, UR-FUNNY and MUsTARD (Dufumier et al. 2025, as their code).

    A linear map of each step without bias, then layers of attention and an MLP with a ReLU.
    Embeddings are Padded, a token a step, 0 where nothing is seen. The defaults are the published
    values, for sequences of at most 50 steps; but padding isn't attended in training either, as it
    is there. Without positions the steps are a set: another order of them gives the same tokens in
    that order.

    Statistics are empty. A row of padding alone has no token. How dropout falls depends on the
    length, as the random numbers of one array do.

    Args:
      width: of the tokens, a multiple of heads.
      layers: how many, may be 0 (the linear map alone).
      heads: of the attention.
      positions: most steps, each with a learned vector added to its token; 0 adds none.
      hidden: width within the MLPs.
      norm: pre, layer norm before attention and MLP (Xiong et al. 2020), none at the end; or post,
        behind the sum of each and its input (Vaswani et al. 2017; MultiBench).
      dropout: share dropped in training, in [0, 1), of attention weights, hidden units and what
        each layer adds.

    Raises InvalidInput for a value out of range, and in use for observations or masks that don't
    fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> encoder = transformer_sequence()
      >>> make = lambda key: encoder.init(key, (50, 20))
      >>> params, statistics = jax.eval_shape(make, jax.random.key(0))
      >>> words = Padded(jnp.zeros((2, 50, 20)), jnp.arange(50) < jnp.array([[7], [50]]))
      >>> tokens = jax.eval_shape(encoder.apply, params, statistics, words)  # traced, not run
      >>> tokens.values.shape, tokens.seen.shape
      ((2, 50, 40), (2, 50))
    """
    _check_sizes(width=width, heads=heads, hidden=hidden)
    require(width % heads == 0, "width", width, f"a multiple of {heads} heads")
    for name, value in (("layers", layers), ("positions", positions)):
        require(value >= 0, name, value, "a whole number >= 0")
    require(norm in NORMS, "norm", norm, ", ".join(NORMS))
    require(0 <= dropout < 1, "dropout", dropout, "a number in [0, 1)")
    return from_module(_SequenceTransformer(width, layers, heads, positions, hidden, norm, dropout))


class _GruSequence(nn.Module):
    hidden: int
    states: str

    @nn.compact
    def __call__(self, observations, *, train: bool, gather=None):
        values, seen = zero_padding(observations)

        def step(cell, state, here):
            value, is_seen = here
            state = jnp.where(is_seen[:, None], cell(state, value)[0], state)
            return state, state

        over_time = nn.scan(
            step, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
        )
        start = jnp.zeros((len(values), self.hidden), values.dtype)
        last, states = over_time(nn.GRUCell(self.hidden, name="cell"), start, (values, seen))
        return last if self.states == "last" else zero_padding(Padded(states, seen))


def gru_sequence(hidden: int = 512, *, states: str = "all") -> Encoder:
    """A gated recurrent network over the steps (Cho et al. 2014), as CoMM has it for MIMIC.

    The state starts at 0 and passes steps of padding unchanged, wherever they are. Statistics are
    empty.

    Args:
      hidden: size of the state; published are 512, for 24 hours of 12 features.
      states: all, the embedding is Padded tokens, a state a step, 0 where nothing is seen; or last,
        it is `[batch, hidden]`, the state behind the last step that is seen, 0 where none is.

    Raises InvalidInput for a value out of range, and in use for observations or masks that don't
    fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> encoder = gru_sequence(8)
      >>> params, statistics = encoder.init(jax.random.key(0), (24, 12))
      >>> encoder.apply(params, statistics, jnp.ones((3, 24, 12))).values.shape
      (3, 24, 8)
    """
    _check_sizes(hidden=hidden)
    require(states in STATES, "states", states, ", ".join(STATES))
    return from_module(_GruSequence(hidden, states))
