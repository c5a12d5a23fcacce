"""Nets by name, by kind of modality, and back from JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmjax.errors import InvalidInput, choose
from mmjax.nets.base import Net
from mmjax.nets.clip import clip_image_from, clip_text_from
from mmjax.nets.kinds import as_is, convnet, linear, mlp, resnet, text_transformer, transformer
from mmjax.nets.tokens import tokenizer_from_json

# name -> `options -> Net`
NETS: dict[str, Callable[[Mapping[str, Any]], Net]] = {
    "as_is": lambda o: as_is(**o),
    "clip_image": clip_image_from,
    "clip_text": clip_text_from,
    "convnet": lambda o: convnet(**o),
    "linear": lambda o: linear(**o),
    "mlp": lambda o: mlp(**o),
    "resnet": lambda o: resnet(**o),
    "text_transformer": lambda o: text_transformer(**o),
    "transformer": lambda o: transformer(**o),
}


def net_from_json(name: str, options: Mapping[str, Any]) -> Net:
    """The net that was written down as its name and options.

    Raises InvalidInput, in one line, for an unknown name, and for options that the net doesn't have
    or that are out of range.

    Example:
      >>> net_from_json("mlp", {"hidden": [32]}).options["dropout"]
      0.2
    """
    make = choose(NETS, "net", name)
    try:
        return make(options)
    except InvalidInput as error:
        raise InvalidInput(f"net {name}: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        shown = json.dumps(options, default=str)[:200]
        raise InvalidInput(f"net {name}: its options {shown} are not allowed ({error})") from error


def unpickled(name: str, options: Mapping[str, Any], tokens: Mapping[str, Any] | None) -> Net:
    """The net, with the tokenizer that it came with."""
    tokenizer = None if tokens is None else tokenizer_from_json(tokens)
    return net_from_json(name, options)._replace(tokenizer=tokenizer)


_LARGE = 40  # side of images from which a residual network is taken


def default_net(kind: str, shape: Sequence[int]) -> Net:
    """The net of a modality of which nothing else is said.

    Args:
      kind: features, sequence, image or text (see mmjax.data.columns).
      shape: of one observation; of images `(height, width, channels)`.

    Returns:
      mlp of features, transformer of sequences, text_transformer of text; of images convnet up to
      40 pixels a side, the narrow resnet beyond.

    Raises InvalidInput for an unknown kind.
    """
    return choose(_DEFAULTS, "kind", kind)(tuple(shape))


_DEFAULTS: dict[str, Callable[[tuple[int, ...]], Net]] = {
    "features": lambda shape: mlp(),
    "sequence": lambda shape: transformer(),
    "image": lambda shape: convnet() if max(shape[:2]) <= _LARGE else resnet(),
    "text": lambda shape: text_transformer(),
}
