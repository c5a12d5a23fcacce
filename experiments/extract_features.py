"""Features of images and texts by a CLIP from a folder, as one .npz file.

  python -m experiments.extract_features --model=clip --images=photos      # a folder of images
  python -m experiments.extract_features --model=clip --images=pairs.tsv   # path<TAB>caption a line
  python -m experiments.extract_features --model=clip --images=list.csv    # columns filepath, title
  python -m experiments.extract_features --model=clip --texts=names.txt --output=names.npz

The model is a folder of Hugging Face (config.json, model.safetensors, and for texts tokenizer.json
or vocab.json and merges.txt) or of OpenCLIP (open_clip_config.json, open_clip_model.safetensors).

Of images or texts the file holds `feature_list` `[n, d]` float32, `name_list` and, where every
image lies in a subfolder and there are several, `label_list`, their names. Of pairs it holds
`image_features`, `text_features`, `names` and `texts`. mmjax.data.read_features reads each. Killed
at any time the same command goes on where it stopped, with the same numbers.
"""

import dataclasses
import os
import shutil
import sys

from mmjax.config import option
from mmjax.data.clip.inputs import read_inputs
from mmjax.data.files.pictures import left_out
from mmjax.errors import InvalidInput, note, require
from mmjax.run import About, Run, atomic_write, claim_workdir, launch, save_arrays
from mmjax.tables.clip_features import (
    EXPERIMENT,
    Claim,
    EmbeddingOptions,
    arrays_of,
    check_written,
    checked_output,
    extract,
    fingerprint,
    joined,
    make_encoders,
    note_written,
    summary,
)
from mmjax.tables.needs import NEEDS

ABOUT = About(
    question="What does a CLIP from a folder see in images and texts?",
    paper="",
    minutes="",
    needs="a CLIP's folder, and images or texts",
    trains=False,
)


@dataclasses.dataclass(frozen=True)
class Config(EmbeddingOptions):
    """The model, what it embeds, and where the features go."""

    images: str = option("", "a folder of images, or a list: a table with columns image "
                         "and text, or a line `path` or `path<TAB>caption` each",
                         file=True)  # fmt: skip
    texts: str = option("", "a file with a text a line", file=True)
    output: str = option("", "the .npz file to write; empty: features.npz in the workdir")


PRESETS = {"quick": {}}


def main(config: Config, run: Run) -> None:
    """Embeds what is missing and writes the file; a finished run only prints its summary."""
    for name in ("batch_size", "save_every", "workers"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")
    there = bool(config.model) and os.path.isdir(config.model)
    require(there, "--model", config.model, "the path of an existing folder")
    inputs = read_inputs(config.images, config.texts)
    if inputs.others:
        why = "no picture by its ending, hidden, or a link to a folder"
        note(left_out(config.images, inputs.others, why))
    output, summary_path = checked_output(config.output, run), run.path("summary.md")
    given = {f.name: getattr(config, f.name, "") for f in dataclasses.fields(Claim)}
    claim = Claim(**given | {"inputs": fingerprint(inputs, config.model)})
    if claimed := os.path.exists(run.path("config.json")):
        claim_workdir(run, EXPERIMENT, claim)
    if os.path.exists(summary_path) and os.path.exists(output):
        check_written(run, output)
        shutil.rmtree(run.path("parts"), ignore_errors=True)
    else:
        # Ours is there only with a summary: any other file is kept.
        require(not os.path.exists(output), "--output", output, "a file that is not there yet")
        encoders = make_encoders(config, inputs)
        if not claimed:
            claim_workdir(run, EXPERIMENT, claim)
        whole = joined(extract(config, run, inputs, encoders))
        if not len(whole.rows):
            raise InvalidInput(f"--images: no image in {config.images!r} can be read")
        arrays = arrays_of(inputs, whole)
        atomic_write(summary_path, summary(config, inputs, arrays, output, whole.rows))
        save_arrays(output, **arrays)
        note_written(run, output)
        shutil.rmtree(run.path("parts"), ignore_errors=True)
    with open(summary_path, encoding="utf-8") as file:
        print(file.read(), end="")


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))
