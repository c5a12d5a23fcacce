"""A trained model: embeddings of new rows, with all that was fitted for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data.dataset import Dataset
from mmjax.data.seen import Known, Seen, known_rows
from mmjax.encoders import make_head
from mmjax.errors import InvalidInput, choose, require
from mmjax.nets import Net
from mmjax.nets.embedders import JOINT, Embedder, Fusion, fused, towers
from mmjax.nets.prepare import (
    Preparation,
    check_column,
    example_of,
    observe,
    observed_of,
    prepared_rows,
)
from mmjax.types import Array, Tree

_BATCH = 512  # rows embedded together


class Spec(NamedTuple):
    """What a model is, beside its parameters.

    Attributes:
      dim: of the embeddings.
      nets: modality -> its Net.
      preparations: modality -> its Preparation.
      head: name of the space of the embeddings, of towers.
      fusion: the Fusion's options, or None for towers.
      trained_rows: modality -> uint64 hashes (see known_hashes) of the rows that training saw,
        validation rows included where it chose something by them; sorted, each once.
      about: what a report should know: loss, steps, counts of rows, label names, hash of the data;
        of JSON's types.
    """

    dim: int
    nets: Mapping[str, Net]
    preparations: Mapping[str, Preparation]
    head: str
    fusion: Fusion | None
    trained_rows: Mapping[str, np.ndarray]
    about: Mapping[str, Any]


class Model(NamedTuple):
    """Networks with their parameters.

    Attributes:
      params: {"nets", "statistics", "loss"}.
      spec: see Spec.
      apply: `(params, name -> prepared values, name -> present) -> name -> [batch, dim]`, compiled.
    """

    params: Tree
    spec: Spec
    apply: Callable[[Tree, Mapping[str, Any], Mapping[str, Array]], dict[str, Array]]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.spec.nets)

    @property
    def is_fused(self) -> bool:
        """Whether all modalities of a row have one embedding."""
        return self.spec.fusion is not None

    def embed(
        self, data: Dataset | None = None, /, **modalities: Any
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Embeddings of rows, `[n, dim]` float32, networks as in evaluation.

        Args:
          data: rows of a Dataset (`embed(data=...)`, too); or give arrays, as Dataset.from_arrays
            takes them: `embed(image=...)`.
          modalities: rows by name; some of those that were trained on, or all.

        Returns:
          Of towers: an array where one modality is given, else name -> array; NaN where a row lacks
          the modality. Of a fusion: one array, of whatever of the row is given.

        Raises InvalidInput for another modality, kind or width than in training, and for arrays
        beside a Dataset.
        """
        is_own = "data" in self.spec.nets and not isinstance(modalities.get("data"), Dataset)
        if data is None and not is_own:
            data = modalities.pop("data", None)
        more = f"a Dataset and {', '.join(modalities)}"
        require(data is None or not modalities, "embed", more, "a Dataset alone, or rows by name")
        if data is None:
            require(bool(modalities), "embed", "nothing", "rows of " + ", ".join(self.modalities))
            for name in modalities:
                choose(dict(self.spec.nets), "modality", name)
                _check_several(name, modalities[name], self.spec.preparations[name])
            data = Dataset.from_arrays(modalities, split=(0, 0, 1), ids=None, seed=0)
        else:
            if not isinstance(data, Dataset):
                by_name = ", ".join(f"{name}=..." for name in self.modalities)
                require(False, "embed", type(data).__name__, f"rows by name: embed({by_name})")
            data = data.only(*(name for name in self.modalities if name in data.columns))
        for name, column in data.columns.items():
            check_column(name, column, self.spec.preparations[name])
        result = embedded(self, data)
        if self.is_fused:
            return result[JOINT]
        return result if len(data.columns) > 1 else next(iter(result.values()))

    def save(self, path: str, *, overwrite: bool = False) -> None:
        """Writes a folder: `model.json` and `params.safetensors`. See mmjax.load.

        Args:
          path: of the folder, made here.
          overwrite: whether a model that is there may be replaced.

        Raises InvalidInput for a path that exists.
        """
        from mmjax.models.files import save  # it reads models too

        save(self, path, overwrite=overwrite)

    def __str__(self) -> str:
        kind = "fusion" if self.is_fused else "towers"
        nets = ", ".join(
            f"{name} {net.name or net.options['function']}" for name, net in self.spec.nets.items()
        )
        about = self.spec.about
        message = f"{about.get('steps', 0)} steps of {about.get('loss', 'a loss')}"
        return f"{kind} of {nets} to {self.spec.dim} dimensions, {message}"


def make_embedder(
    nets: Mapping[str, Net],
    preparations: Mapping[str, Preparation],
    *,
    dim: int,
    head: str,
    fusion: Fusion | None,
) -> Embedder:
    """The networks of a model as one.

    Raises InvalidInput for options that the networks can't have.
    """
    width = dim if fusion is None else dim * fusion.tokens
    encoders = {
        name: net.make(width, observed_of(preparations[name])) for name, net in nets.items()
    }
    return (
        towers(encoders, make_head(head), dim) if fusion is None else fused(encoders, fusion, dim)
    )


def make_model(params: Tree, spec: Spec) -> Model:
    """The model of these parameters.

    Raises InvalidInput where they don't fit the networks.
    """
    s = spec
    embedder = make_embedder(s.nets, s.preparations, dim=s.dim, head=s.head, fusion=s.fusion)
    examples = {name: example_of(p) for name, p in s.preparations.items()}
    try:
        jax.eval_shape(embedder.apply, params, examples, {})
    except InvalidInput:
        raise
    except Exception as error:  # whatever a network raises when its parameters are others
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"params: they don't fit the networks ({message[:200]})") from error

    @jax.jit
    def apply(params, batch, present):
        observations = {
            name: observe(s.preparations[name], values) for name, values in batch.items()
        }
        return embedder.apply(params, observations, present)

    return Model(params, spec, apply)


def _batch_size(n: int) -> int:
    """A power of two: few shapes are compiled, and a row's embedding depends on no other row."""
    return min(_BATCH, 1 << max(3, (n - 1).bit_length()))


def _check_several(name: str, rows: Any, preparation: Preparation) -> None:
    """A single row without an axis of rows, which would be read as rows of other values."""
    p, shape = preparation, tuple(getattr(rows, "shape", ()))
    whole = {tuple(p.shape), tuple(p.shape[:2])} if p.kind == "image" else {tuple(p.shape)}
    one = p.kind in ("features", "image") and shape in whole
    allowed = f"{name}[None] for one row: the first axis is that of rows"
    require(not one, f"shape of {name}", list(shape), allowed)


def embedded(model: Model, data: Dataset) -> dict[str, np.ndarray]:
    """`name -> [n, dim]`: an entry a modality of towers, `joint` of a fusion; NaN for what rows
    lack."""
    n = data.num_rows
    size, parts = _batch_size(n), []
    absent_in_fusion: dict[str, Any] = {}
    names = list(data.columns)
    if model.is_fused:
        missing = [name for name in model.modalities if name not in names]
        absent_in_fusion = {name: np.zeros(size, bool) for name in missing}
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)  # the last one fills up
        batch: dict[str, Any] = dict(prepared_rows(data, model.spec.preparations, rows))
        present: dict[str, Any] = {name: mask[rows] for name, mask in data.present.items()}
        for name in absent_in_fusion:
            batch[name] = _nothing(model.spec.preparations[name], size)
        present |= absent_in_fusion
        try:
            parts.append(model.apply(model.params, batch, present))
        except InvalidInput as error:  # a network's, which doesn't know whose rows it is given
            of = [name for name in names if model.spec.preparations[name].kind == "sequence"]
            raise InvalidInput(str(error).replace("observations", " or ".join(of), 1)) from error
    order = [JOINT] if model.is_fused else [n for n in model.modalities if n in data.columns]
    out = {name: np.concatenate([np.asarray(p[name]) for p in parts])[:n] for name in order}
    for name, mask in data.present.items():
        if name in out:
            out[name] = np.where(mask[:, None], out[name], np.nan)
    return out


def _nothing(preparation: Preparation, n: int) -> dict[str, Any]:
    """Rows of a modality that isn't there."""
    p = preparation
    if p.tokenizer:
        return {"values": np.zeros((n, p.tokenizer.length), np.int32)}
    dtype = np.uint8 if p.kind == "image" and not p.scaling.mean.size else np.float32
    out: dict[str, Any] = {"values": np.zeros((n, *p.shape), dtype)}
    return out | ({"seen": np.zeros((n, p.shape[0]), bool)} if p.padded else {})


def trained_on(model: Model, data: Dataset) -> np.ndarray:
    """`[n]` bool: rows whose every modality holds what the model was trained on; where these are
    words and codes alone, rows that hold it all in one row."""
    return known_by(model, data, np.ones(data.num_rows, bool)).rows


def known_by(
    model: Model, data: Dataset, judged: np.ndarray, names: Sequence[str] | None = None
) -> Known:
    """Which rows the model saw in its training; see mmjax.data.seen.known_rows."""
    known, kinds, about = model.spec.trained_rows, model.spec.preparations, model.spec.about
    # Models of before 0.3 don't say it of vectors.
    usual = [name for name in known if name and kinds[name].kind in ("image", "sequence")]
    told = about.get("recordings", usual)
    seen = Seen("", known, told, about.get("again", {}), about.get("often", {}), {})
    own = data.only(*(name for name in model.modalities if name in data.columns))
    return known_rows(own, seen, judged, names)
