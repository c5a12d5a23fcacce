"""A model as a folder: `model.json` says what it is, `params.safetensors` holds its numbers."""

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import mmjax
from mmjax.data.scaling import Scaling
from mmjax.encoders import Encoder
from mmjax.errors import InvalidInput
from mmjax.models.model import Model, Spec, make_model
from mmjax.nets import Net, as_net, net_from_json
from mmjax.nets.embedders import Fusion
from mmjax.nets.prepare import Preparation
from mmjax.nets.tokens import tokenizer_from_json
from mmjax.types import Tree

FORMAT = 1
_JSON, _PARAMS = "model.json", "params.safetensors"


def _written(tree: Tree, name: str, into: dict[str, np.ndarray]) -> Any:
    """The tree's form in JSON's types; its leaves go into the arrays under their paths."""
    if isinstance(tree, Mapping):
        return {"dict": {k: _written(tree[k], f"{name}/{k}", into) for k in sorted(tree)}}
    if isinstance(tree, tuple | list):
        return {"tuple": [_written(v, f"{name}/{k}", into) for k, v in enumerate(tree)]}
    if tree is None:
        return None
    into[name] = np.ascontiguousarray(tree)
    return name


def _rebuilt(form: Any, arrays: Mapping[str, np.ndarray]) -> Tree:
    """The inverse of _written. Raises KeyError for an array that is missing."""
    if form is None:
        return None
    if isinstance(form, str):
        return jax.numpy.asarray(arrays[form])
    (kind, inner), *more = form.items()
    if more or kind not in ("dict", "tuple"):
        raise ValueError("params: unknown form")
    if kind == "dict":
        return {k: _rebuilt(v, arrays) for k, v in inner.items()}
    return tuple(_rebuilt(v, arrays) for v in inner)


def _preparation_json(p: Preparation) -> dict[str, Any]:
    words = p.tokenizer.to_json() if p.tokenizer else None
    return {"kind": p.kind, "shape": list(p.shape), "padded": p.padded, "tokenizer": words}


def _sealed(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, indent=1, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(model: Model, path: str, *, overwrite: bool = False) -> None:
    """Writes a model's folder: whole, or not at all. See Model.save."""
    s = model.spec
    path = os.path.abspath(path)
    there = os.path.lexists(path)
    if there and not (overwrite and os.path.isfile(os.path.join(path, _JSON))):
        no_model = "use another path: it is no model's folder"
        message = no_model if overwrite else "use another path, or overwrite=True for a model"
        raise InvalidInput(f"save: {path!r} exists; {message}")
    arrays: dict[str, np.ndarray] = {}
    form = _written(model.params, "params", arrays)
    for name, p in s.preparations.items():
        arrays[f"scaling/{name}/mean"] = np.asarray(p.scaling.mean, np.float64)
        arrays[f"scaling/{name}/scale"] = np.asarray(p.scaling.scale, np.float64)
    for name, hashes in s.trained_rows.items():
        arrays[f"trained_rows/{name}"] = hashes.view(np.int64)
    body = {
        "format": FORMAT,
        "mmjax": mmjax.__version__,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
        "dim": s.dim,
        "head": s.head,
        "fusion": s.fusion and dict(s.fusion._asdict()),
        "order": list(s.nets),
        "nets": {name: {"name": n.name, "options": dict(n.options)} for name, n in s.nets.items()},
        "preparations": {name: _preparation_json(p) for name, p in s.preparations.items()},
        "params": form,
        "about": json.loads(json.dumps(s.about)),
    }
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".model-") as folder:
        made = os.path.join(folder, "model")
        os.mkdir(made)
        save_file(arrays, os.path.join(made, _PARAMS))
        body["files"] = {_PARAMS: _sha256(os.path.join(made, _PARAMS))}
        with open(os.path.join(made, _JSON), "w", encoding="utf-8") as file:
            json.dump(body | {"seal": _sealed(body)}, file, indent=1, sort_keys=True)
        if there:
            os.rename(path, os.path.join(folder, "old"))
        os.rename(made, path)


def load(
    path: str, *, nets: Mapping[str, Net | Encoder | Callable[..., Encoder]] | None = None
) -> Model:
    """Reads a model that `Model.save` wrote; nothing in it is ever executed.

    Args:
      path: of the folder.
      nets: modality -> a network that is the user's own, as it was given to fit.

    Returns:
      The model: its embeddings are those of the saved one to the last bit, on the same machine.

    Raises InvalidInput, in one line, for a missing, damaged or changed file, a format from another
    version, and a network that is not given again.
    """
    body = _body(path)
    try:
        return _model(path, body, dict(nets or {}))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"{path}: not a model ({message[:200]})") from error


def _body(path: str) -> dict[str, Any]:
    where = os.path.join(path, _JSON)
    try:
        with open(where, encoding="utf-8") as file:
            body = dict(json.load(file))
    except OSError as error:
        within = lambda *parts: sorted(glob.glob(os.path.join(glob.escape(path), *parts)))
        inside = within("models", "*", "model")
        nearer = [os.path.dirname(name) for name in within("model", _JSON)]
        if os.path.isfile(path) and os.path.basename(path) == _JSON:
            nearer = [os.path.dirname(path) or "."]
        use = nearer[0] if nearer else "what Model.save wrote"
        use = f"a model of this run: {', '.join(inside[:3])}" if inside else use
        message = f"{where}: can't be read ({error.strerror}); use {use}"
        raise InvalidInput(message) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{where}: no model's description ({error})") from error
    if body.get("format") != FORMAT:
        message = f"is {body.get('format')!r}, this mmjax ({mmjax.__version__}) reads {FORMAT}"
        raise InvalidInput(f"{where}: its format {message}")
    if body.pop("seal", None) != _sealed(body):
        raise InvalidInput(f"{where}: has other contents than were saved")
    for name, known in body["files"].items():
        place = os.path.join(path, os.path.basename(name))
        if not os.path.isfile(place):
            raise InvalidInput(f"{place}: is missing")
        if _sha256(place) != known:
            raise InvalidInput(f"{place}: has other contents than were saved")
    return body


def _model(path: str, body: Mapping[str, Any], given: dict[str, Any]) -> Model:
    try:
        arrays = load_file(os.path.join(path, _PARAMS))
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{os.path.join(path, _PARAMS)}: can't be read ({error})") from error
    nets: dict[str, Net] = {}
    for name in body["order"]:
        net = body["nets"][name]
        if net["name"]:
            nets[name] = net_from_json(net["name"], net["options"])
        elif name in given:
            nets[name] = as_net(given[name], name)
        else:
            message = f"the net of {name} is your own function {net['options']['function']}"
            raise InvalidInput(
                f"{path}: {message}; give it again: load(path, nets={{{name!r}: ...}})"
            )
    for name in given:
        if name not in nets:
            raise InvalidInput(f"{path}: nets: {name!r} is no modality of it: {', '.join(nets)}")
    preparations = {}
    for name, p in body["preparations"].items():
        scaling = Scaling(arrays[f"scaling/{name}/mean"], arrays[f"scaling/{name}/scale"])
        words = tokenizer_from_json(p["tokenizer"]) if p["tokenizer"] else None
        preparations[name] = Preparation(p["kind"], tuple(p["shape"]), scaling, p["padded"], words)
    rows = {
        key.partition("/")[2]: values.view(np.uint64)
        for key, values in arrays.items()
        if key.startswith("trained_rows/")
    }
    fusion = body["fusion"] and Fusion(**body["fusion"])
    spec = Spec(
        body["dim"],
        nets,
        {name: preparations[name] for name in nets},
        body["head"],
        fusion,
        rows,
        body["about"],
    )
    return make_model(_rebuilt(body["params"], arrays), spec)
