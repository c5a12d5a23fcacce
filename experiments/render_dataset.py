"""Write images, captions and their factors in the layout of Multimodal3DIdent.

  python -m experiments.render_dataset --workdir=scenes             # 2000 + 200 + 200, 64 pixels
  python -m experiments.render_dataset --workdir=scenes --preset=paper   # 125k + 10k + 10k, 224
  python -m experiments.render_dataset --workdir=scenes --position_dependent_color

The workdir becomes the data set's root: train/, val/ and test/ hold images/, text/text_raw.txt,
latents_image.csv and latents_text.csv, as the official loader and
mmjax.data.sets.multimodal_3dident read them. Row i of a split is a function of seed, split and i
alone. A split is whole or not there: the same command writes those that are missing.
"""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.config import option
from mmjax.data.sets.export_3dident import check_free, write_split
from mmjax.errors import InvalidInput, require
from mmjax.generative.scenes import scene_model
from mmjax.observations.rendering import render
from mmjax.run import About, Run, claim_workdir, launch, progress_line
from mmjax.train import Interrupted
from mmjax.types import Key, SceneFactors, ScenePairs

EXPERIMENT = "render_dataset"
SPLITS = ("train", "val", "test")
BLOCK = 1024  # rows drawn in one call, so that all splits share its compilation


ABOUT = About(
    question="How does one get images, captions and their factors in any number?",
    paper="layout of Multimodal3DIdent, Daunhawer et al. 2023",
    minutes="1",
    needs="no files: scenes are rendered here",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the splits, the law of the factors, the images."""

    train: int = option(125_000, "rows of the training split; 0: none")
    val: int = option(10_000, "rows of the validation split; 0: none")
    test: int = option(10_000, "rows of the test split; 0: none")
    resolution: int = option(224, "height and width of the images")
    position_dependent_color: bool = option(False, "the hue depends on the x position")
    seed: int = option(0, "rows are drawn from it")
    batch_size: int = option(64, "images rendered at once")
    workers: int = option(8, "threads that write files")


PRESETS = {"quick": dict(train=2000, val=200, test=200, resolution=64), "paper": {}}


@functools.cache
def _row_sampler(position_dependent_color: bool) -> Callable[[Key, np.ndarray], ScenePairs]:
    sample = scene_model(position_dependent_color=position_dependent_color).sample
    one = lambda key, row: jax.tree.map(lambda v: v[0], sample(jax.random.fold_in(key, row), 1))
    return jax.jit(jax.vmap(one, (None, 0)))


def draw_pairs(key: Key, n: int, *, position_dependent_color: bool) -> ScenePairs:
    """Rows 0 to n - 1 as numpy, each from its own key: a longer split starts with the same rows."""
    draw = _row_sampler(position_dependent_color)
    blocks = [
        jax.device_get(draw(key, np.arange(start, start + BLOCK))) for start in range(0, n, BLOCK)
    ]
    return jax.tree.map(lambda *columns: np.concatenate(columns)[:n], *blocks)


def rendered(
    factors: SceneFactors,
    batch_size: int,
    draw: Callable[[SceneFactors], jax.Array],
    stop: Callable[[], int | None],
) -> Iterator[np.ndarray]:
    """The scenes' images, `[batch, r, r, 3]` uint8 at a time; raises Interrupted on a signal."""
    n = len(factors.object_shape)
    for start in range(0, n, batch_size):
        if (signum := stop()) is not None:
            raise Interrupted(signum)
        rows = np.arange(start, start + batch_size)
        # The last batch is filled up with its last row: one shape, one compilation.
        batch = jax.tree.map(lambda v, rows=rows: v[np.minimum(rows, n - 1)], factors)
        yield np.asarray(draw(batch))[: n - start]


def _check_whole(folder: str, n: int) -> None:
    """Raises InvalidInput where a split that was written has lost images since."""
    images = os.path.join(folder, "images")
    count = len(os.listdir(images)) if os.path.isdir(images) else 0
    if n and count != n:
        raise InvalidInput(
            f"{folder}: {count} of {n} images are there; move it away, and the same command "
            "renders it again"
        )


def main(config: Config, run: Run, render: Callable[..., jax.Array] = render) -> None:
    """Writes the splits that are not there yet."""
    sizes = {split: getattr(config, split) for split in SPLITS}
    for split, n in sizes.items():
        require(n >= 0, split, n, "a whole number >= 0")
    require(max(sizes.values()) > 0, "train, val, test", 0, "a number > 0 for one of them")
    for name in ("batch_size", "workers"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
    size = config.resolution
    require(size >= 1, "resolution", size, "a whole number from 32 to 224")  # of the renderer
    draw = jax.jit(lambda factors: render(factors, resolution=size))
    if not os.path.exists(run.path("config.json")):
        for split in SPLITS:  # a data set of someone else is neither kept nor mixed with ours
            check_free(run.path(split))
        one = jax.ShapeDtypeStruct((1,), jnp.float32)
        jax.eval_shape(draw, SceneFactors(*[one] * len(SceneFactors._fields)))  # refuses its size
    claim_workdir(run, EXPERIMENT, config)

    for number, (split, n) in enumerate(sizes.items()):
        if n == 0 or (os.path.isdir(run.path(split)) and os.listdir(run.path(split))):
            _check_whole(run.path(split), n)
            continue
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        pairs = draw_pairs(key, n, position_dependent_color=config.position_dependent_color)
        batches = rendered(pairs.image, config.batch_size, draw, run.stop)
        write_split(
            run.path(split),
            pairs,
            batches,
            workers=config.workers,
            progress=progress_line(split, n, unit="images"),
        )
    message = ", ".join(f"{split} {n}" for split, n in sizes.items() if n)
    print(f"{run.workdir}: {message}; {config.resolution} x {config.resolution} pixels")


if __name__ == "__main__":
    sys.exit(launch(main, Config, PRESETS, experiment=EXPERIMENT, doc=__doc__, about=ABOUT))
