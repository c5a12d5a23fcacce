"""What encoders of images and of captions tell of every factor of a scene (Daunhawer et al. 2023).

  python -m experiments.image_text                      # renders its own pairs, 64 pixels, 3 seeds
  python -m experiments.image_text --encoding_sizes=1,2,3,4,5,6,7,8
  python -m experiments.image_text --position_dependent_color
  python -m experiments.image_text --negatives=both     # as published: phrasing leaves a trace
  python -m experiments.image_text --rendered=0         # endless fresh scenes, on an accelerator
  python -m experiments.image_text --data=m3di --preset=paper   # a Multimodal3DIdent folder

Image and caption share shape, positions and (nearly) colour; background, spotlight, rotation are
the image's own, phrasing is the caption's. Theory: from either encoder the shared factors can be
read, and of private ones only what shared ones predict.
"""

import dataclasses
import sys
from functools import partial

from mmjax.config import option
from mmjax.errors import require
from mmjax.generative import scene_model
from mmjax.run import About, Run, RunOptions, launch, run_table
from mmjax.studies import ImageTextOptions, make_image_text_study, streamed_source
from mmjax.tables.image_text import (
    EXPERIMENT,
    _loaded,
    _rendered,
    content_rows,
    draw,
    produce,
    summary,
)
from mmjax.tables.needs import NEEDS

ABOUT = About(
    question="Which factors of a scene do encoders of images and of captions tell?",
    paper="Daunhawer et al. 2023, Section 5.2",
    minutes="63",
    needs="no files: scenes are rendered here; or a Multimodal3DIdent folder",
)


@dataclasses.dataclass(frozen=True)
class Config(ImageTextOptions, RunOptions):
    """Where pairs come from, the rows, and how they are judged."""

    data: str = option(
        "", "a Multimodal3DIdent folder with train, val, test; empty: rendered here", file=True
    )
    on_corrupt: str = option("refuse", "at an image that can't be read", ("refuse", "skip"))
    cache: str = option("", "folder outside the data for decoded images; empty: none")
    resolution: int = option(64, "side of the images in pixels, 32 to 224")
    rendered: int = option(40_000, "training pairs rendered ahead; 0: fresh ones in every step")
    position_dependent_color: bool = option(False, "the hue depends on the x position")
    data_seed: int = option(0, "of rendered pairs, the same for all seeds")
    encoding_sizes: tuple[int, ...] = option((8,), "embedding dimensions, a row of the table each")
    eval_pairs: int = option(4096, "rendered pairs that probes are fitted on, and scored on")
    kernel_samples: int = option(2048, "pairs that the kernel ridge is fitted on, at most")
    probe_steps: int = option(2000, "training steps of a nonlinear classifier, 20 or more")
    export_features: bool = option(False, "write embeddings, factors and images to features/")
    parallel: str = option(
        "auto", "seeds and batches on devices", ("auto", "single", "data", "seeds")
    )
    chunk_steps: int = option(50, "steps a compiled call; a point of the curves each")


PRESETS = {
    "quick": {},
    "paper": dict(
        image_encoder="resnet18",
        text_encoder="convnet",
        text_width=128,
        temperature=1.0,
        learn_temperature=False,
        negatives="both",
        steps=100_000,
        optimiser="adam",
        learning_rate=1e-5,
        warmup=0,
        schedule="constant",
        weight_decay=0.0,
        resolution=224,
        rendered=0,
        encoding_sizes=(1, 2, 3, 4, 5, 6, 7, 8),
        eval_pairs=10_000,
        kernel_samples=10_000,
    ),
}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all encoding sizes, writes results, figures and summary."""
    sizes = config.encoding_sizes
    require(len(sizes) > 0 and min(sizes) >= 1, "encoding_sizes", sizes, "whole numbers >= 1")
    require(32 <= config.resolution <= 224, "resolution", config.resolution, "32 to 224")
    require(config.rendered >= 0, "rendered", config.rendered, "a whole number >= 0")
    require(config.eval_pairs >= 64, "eval_pairs", config.eval_pairs, "a whole number >= 64")
    allowed = "a whole number >= 16"
    require(config.kernel_samples >= 16, "kernel_samples", config.kernel_samples, allowed)
    require(config.probe_steps >= 20, "probe_steps", config.probe_steps, "a whole number >= 20")
    held = []

    def world():
        """Source and splits, made once and only where a row is missing."""
        if not held:
            held.append(_loaded(config, run) if config.data else _rendered(config))
        return held[0]

    if config.data:
        world()  # faults of a data set are told before anything is written
    # A wrong option of the encoders too: on a source of the same shapes that draws nothing.
    make_image_text_study(
        streamed_source(scene_model(), config.resolution, config.batch_size),
        config,
        min(sizes),
        chunk_steps=config.chunk_steps,
        save_every=config.save_every,
    )
    jobs = {"content": partial(content_rows, config, run, world)}
    for size in sizes:
        jobs[f"size={size}"] = partial(produce, config, run, f"size={size}", size, world)

    def summarise(rows, seconds):
        draw(config, run, rows)
        return summary(config, rows, seconds)

    facts = {"training": config.data or f"{config.rendered or 'endless'} rendered pairs"}
    facts["probes"] = "val, test" if config.data else f"{config.eval_pairs} pairs, and as many more"
    run_table(EXPERIMENT, config, run, jobs, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))
