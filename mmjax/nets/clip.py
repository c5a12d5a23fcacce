"""Nets that start from the towers of a CLIP: frozen, with a head of their own, or tuned."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import encoders
from mmjax.data import ClipConfig, ClipPixels, ClipTower, read_clip, read_clip_config, read_pixels
from mmjax.encoders import Encoder
from mmjax.errors import InvalidInput, require
from mmjax.nets.base import Net, Observed, all_trained
from mmjax.nets.tokens import clip_tokenizer
from mmjax.types import Array, Tree

TUNES = ("none", "head", "all")


def clip_image(folder: str, tune: str = "head", hidden: Sequence[int] = ()) -> Net:
    """The image tower of a CLIP; images are float `[batch, h, w, 3]` (or 1 channel) in [0, 1].

    They are resized, cut and standardised as the folder says, see clip_pixels.

    Args:
      folder: see mmjax.data.read_clip. Its weights are read where parameters are initialised, and
        only there: a saved model needs no folder.
      tune: what is trained. `none`: nothing; the embedding is CLIP's own, and only of its dimension
        (InvalidInput else). `head`: a new head behind the frozen tower, whose features can be
        computed once (Net.parts). `all`: tower and head, or without hidden layers the tower alone
        where the dimension is its own.
      hidden: widths of the head's hidden layers; empty, a linear map.

    Raises InvalidInput for a value out of range or a broken folder.
    """
    config = read_clip_config(folder)
    pixels = read_pixels(folder, config.image_size)
    return _image_net(folder, tune, hidden, config, pixels)


def clip_text(folder: str, tune: str = "head", hidden: Sequence[int] = ()) -> Net:
    """The text tower of a CLIP, with the folder's tokenizer; arguments and errors of clip_image."""
    config = read_clip_config(folder)
    net = _text_net(folder, tune, hidden, config)
    return net._replace(tokenizer=clip_tokenizer(folder, config.context_length))


def clip_image_from(options: Mapping[str, Any]) -> Net:
    """The net of saved options; the folder is only needed to initialise."""
    o = dict(options)
    config, pixels = _config(o.pop("config")), ClipPixels(**o.pop("pixels"))
    pixels = pixels._replace(mean=_three(pixels.mean), std=_three(pixels.std))
    return _image_net(config=config, pixels=pixels, **o)


def clip_text_from(options: Mapping[str, Any]) -> Net:
    """The same of a text tower. The tokenizer is saved with the model, not here."""
    o = dict(options)
    return _text_net(config=_config(o.pop("config")), **o)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _config(fields: Mapping[str, Any]) -> ClipConfig:
    towers = {side: ClipTower(**fields[side]) for side in ("image", "text")}
    return ClipConfig(**dict(fields) | towers)


def _as_json(config: ClipConfig) -> dict[str, Any]:
    return {**config._asdict(), "image": config.image._asdict(), "text": config.text._asdict()}


def _image_net(
    folder: str, tune: str, hidden: Sequence[int], config: ClipConfig, pixels: ClipPixels
) -> Net:
    image = encoders.clip_encoders(config).image
    tower = encoders.before(lambda x: clip_pixels(x, pixels), _read(folder, "image", config, image))
    options = {
        "folder": folder,
        "tune": tune,
        "hidden": list(hidden),
        "config": _as_json(config),
        "pixels": {
            **pixels._asdict(),
            "mean": list(pixels.mean),
            "std": list(pixels.std),
            "filter": int(pixels.filter),
        },
    }
    return _tuned("clip_image", options, tower, config.embedding_dim, jnp.float32)


def _text_net(folder: str, tune: str, hidden: Sequence[int], config: ClipConfig) -> Net:
    tower = _read(folder, "text", config, encoders.clip_encoders(config).text)
    config_json = _as_json(config)
    options = {"folder": folder, "tune": tune, "hidden": list(hidden), "config": config_json}
    return _tuned("clip_text", options, tower, config.embedding_dim, jnp.int32)


def _read(folder: str, side: str, config: ClipConfig, encoder: Encoder) -> Encoder:
    """The encoder whose parameters are those of the folder."""

    def weights() -> Tree:
        try:
            model = read_clip(folder)
        except InvalidInput as error:
            raise InvalidInput(f"clip_{side}: training anew needs its weights: {error}") from error
        same = model.config == config
        require(same, f"clip_{side}: folder", folder, "the CLIP that the net was made of")
        return model.params[side]

    def init(key, shape):
        make = lambda key: encoder.init(key, shape)
        if not isinstance(key, jax.core.Tracer):
            return jax.tree.map(jnp.asarray, weights()), {}
        # Traced for its shapes alone, as where a model is loaded, nothing is read.
        shapes, _ = jax.eval_shape(make, jax.random.key(0))
        return jax.pure_callback(weights, shapes), {}

    return encoder._replace(init=init)


def _tuned(name: str, options: dict[str, Any], tower: Encoder, dim: int, dtype) -> Net:
    tune, hidden = options["tune"], options["hidden"]
    require(tune in TUNES, "tune", tune, ", ".join(TUNES))
    encoders.mlp(hidden, 1)  # checks
    fixed = lambda params: jax.tree.map(lambda _: False, params)
    if tune == "none":
        require(not hidden, "hidden", hidden, "no hidden layers where nothing is tuned")
        return Net(name, options, lambda out, observed: _own(tower, dim, out), fixed)
    parts = lambda out, observed: (tower, encoders.mlp(hidden, out))
    chain = lambda out, observed: encoders.chained(
        *parts(out, observed), frozen=tune == "head", dtype=dtype
    )
    if tune == "head":
        trained = lambda p: {"body": fixed(p["body"]), "head": all_trained(p["head"])}
        return Net(name, options, chain, trained, parts)

    def make(out: int, observed: Observed) -> Encoder:
        return tower if out == dim and not hidden else chain(out, observed)

    return Net(name, options, make)


def _own(tower: Encoder, dim: int, out: int) -> Encoder:
    require(out == dim, "dim", out, f'{dim}, the CLIP\'s own, or tune="head" or "all"')

    def forward(params, statistics, seen, key, gather):
        return tower.apply(jax.lax.stop_gradient(params), statistics, seen), statistics

    return tower._replace(forward=forward)


def clip_pixels(x: Array, pixels: ClipPixels) -> Array:
    """Images as a CLIP wants them, what mmjax.data.fit_image and standardise_pixels do to files.

    Args:
      x: `[batch, h, w, 3]` (or 1 channel, which becomes three) float in [0, 1].
      pixels: see ClipPixels. Resizing is linear or cubic with antialiasing (nearest and Lanczos as
        they are); values are not rounded to 8 bits and stay in [0, 1].

    Returns:
      `[batch, size, size, 3]` float, standardised.

    Raises InvalidInput for another shape.
    """
    good = x.ndim == 4 and x.shape[-1] in (1, 3)
    require(good, "images", x.shape, "[batch, height, width, 3 or 1]")
    sides, size = np.array(x.shape[1:3]), pixels.size
    to = np.array([size, size])
    if pixels.shortest is not None:
        to = sides * pixels.shortest // min(sides)
    if (to != sides).any():
        method = _METHODS[int(pixels.filter)]
        x = jax.image.resize(x, (len(x), *map(int, to), x.shape[-1]), method, antialias=True)
        x = jnp.clip(x, 0, 1)
    halves = [round(v / 2) if pixels.even else v // 2 for v in (to - size).tolist()]
    # Beyond the image's edge, where it is smaller than the cut, is black.
    edges = [(max(-v, 0), max(v + size - side, 0)) for v, side in zip(halves, to, strict=True)]
    x = jnp.pad(x, ((0, 0), *edges, (0, 0)))
    top, left = (max(v, 0) for v in halves)
    x = x[:, top : top + size, left : left + size]
    x = jnp.broadcast_to(x, (*x.shape[:3], 3)) * (255 * pixels.scale)
    return (x - jnp.asarray(pixels.mean, x.dtype)) / jnp.asarray(pixels.std, x.dtype)


_METHODS = {0: "nearest", 1: "lanczos3", 2: "linear", 3: "cubic"}  # by Pillow's numbers
