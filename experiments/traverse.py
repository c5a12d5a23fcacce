"""Move one component of the features, decode: does one factor of the picture move? (Figure 3)

  python -m experiments.traverse                       # rendered scenes, five known factors
  python -m experiments.traverse --data=av_digits.npz --images=image --labels=image_digit \\
      --index=pair_image_index
  python -m experiments.traverse --data=pacs_images_48.npz --labels=labels,domains --dim=16

An encoder is trained on pairs of pictures and noisy factors (or features are given), a decoder
from features to pictures, and a judge that reads the factors of pictures. Then one component of
FastICA, PCA or a random rotation goes from its low to its high end. Scored: MCC and DCI of the
components, how far a factor moves with its own component, and how much the others move with it.
"""

import dataclasses
import sys

from mmjax.config import different, option
from mmjax.errors import require, say
from mmjax.run import About, Run, SeedOptions, atomic_write, launch, run_table
from mmjax.tables.needs import NEEDS
from mmjax.tables.traverse import (
    EXPERIMENT,
    LEAST,
    check_file,
    draw_strips,
    name_of,
    settings,
    summary,
)

ABOUT = About(
    question="Does moving one component of the features move one factor of the decoded picture?",
    paper="Liu et al. 2026, Figure 3",
    minutes="5",
    needs="no files: scenes are rendered; or pictures with labels (.npz, .safetensors)",
)


@dataclasses.dataclass(frozen=True)
class Config(SeedOptions):
    """Which pictures and factors, and how features, decoder and judge are trained."""

    data: str = option("", "file of pictures and their labels; empty: rendered scenes", file=True)
    images: str = option("images", "name of the pictures' array, uint8")
    labels: str = option("labels", "names of the columns of known factors, comma-separated")
    index: str = option("", "name of the rows of the pictures that other arrays belong to")
    values: str = option("", "name of an array of their features; empty: an encoder is trained")
    rows: int = option(6000, "pictures, at most; 0: all of a file")
    noise: float = option(0.2, "of quantities on the partner's side, in standard deviations")
    dim: int = option(
        6, "dimension of the features that are trained; of scenes one more than factors"
    )
    steps: int = option(1500, "of the encoder's training")
    batch_size: int = option(128, "pairs a step")
    temperature: float = option(0.1, "of InfoNCE, > 0")
    decoder_steps: int = option(1500, "of the decoder's and of the judge's training")
    num_components: int = option(5, "principal directions that are kept")
    seeds: int = option(3, "encoders, decoders and judges")


PRESETS = {"quick": {}}


def main(config: Config, run: Run) -> None:
    """Runs or resumes all seeds; writes results, the traversals and summary."""
    for name in ("dim", "steps", "batch_size", "decoder_steps", "num_components", "seeds"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
    few = f"0, or {LEAST} and more"
    require(config.rows == 0 or config.rows >= LEAST, "rows", config.rows, few)
    require(config.noise >= 0, "noise", config.noise, "a number >= 0")
    require(config.temperature > 0, "temperature", config.temperature, "a number > 0")
    different("labels", config.labels)
    width = check_file(config)
    if config.num_components > width:
        say(f"note: num_components {config.num_components}: all of the {width} columns")
    name = name_of(config)

    def summarise(rows, seconds):
        draw_strips(config, run)
        text = summary(config, name, rows, seconds)
        atomic_write(run.path("summary.md"), text)
        return text

    run_table(EXPERIMENT, config, run, settings(config, run, name), summarise)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))
