"""Do fusions of RECORDED digits keep what each view has of its own? (CoMM and its baselines)

  python -m experiments.comm_digits                            # quadrants of scikit-learn's digits
  python -m experiments.comm_digits --data=uci_mfeat.npz       # 2, 3 and 6 views of digits
  python -m experiments.comm_digits --table=speech --data=av_digits.npz   # spoken and written

Table views: accuracy of the digit, from all views and from parts of them (the others masked).
Table speech: an utterance and an image pair by their digit alone. R is the digit, U1 the speaker,
whom only audio tells, U2 how an image leans, in terciles among images of its digit. Theory: aligned
modalities (cross) keep the digit and drop the others; self-supervision and fusion keep them too.
"""

import dataclasses
import sys

import numpy as np

from mmjax.config import names_in, option
from mmjax.data.dataset import LABEL, SPLITS, facts_of
from mmjax.data.sets.digits import digit_views, speech_data, speech_pairs
from mmjax.errors import counted, require
from mmjax.nets.prepare import preparations_of
from mmjax.run import About, Run, RunOptions, launch, machine, run_table
from mmjax.studies.fusing_methods import METHODS
from mmjax.studies.multimodal import multimodal_task
from mmjax.studies.recorded import MultimodalOptions, default_recorded
from mmjax.tables.digits import EXPERIMENT, TARGETS, speech_summary, views_summary
from mmjax.tables.fused import chosen_names, methods_option
from mmjax.tables.needs import NEEDS
from mmjax.tables.recorded import Case, Target, case_table, named_subsets, target_of

TEST_PAIRS = 3000  # of speech
CHOICE_PAIRS = 1000  # that C is chosen on
WIDTHS = {"views": 48, "speech": 16}


ABOUT = About(
    question="Do fusions of recorded digits keep what each view has of its own?",
    paper="after Dufumier et al. 2025, on other data",
    minutes="19",
    needs="no files: quadrants of scikit-learn's digits; or an .npz of views or of speech",
)


@dataclasses.dataclass(frozen=True)
class Config(MultimodalOptions, RunOptions):
    """Which table, which methods, and how the run is carried out."""

    width: int = option(0, "of a token and of Z; 0: 48 for views, 16 for speech")
    heads: int = option(4, "of the fusion's attention")
    hidden: tuple[int, ...] = option((256,), "hidden widths of the encoders")
    steps: int = option(1200, "training steps")
    augmentation_probability: float = option(1.0, "of noise and of drops, for each row, in [0, 1]")
    noise: float = option(0.3, "deviation of the noise, of standardised values")
    drop: float = option(0.5, "largest share of features left out, in [0, 1]")
    table: str = option("views", "what is fused", ("views", "speech"))
    data: str = option("", "an .npz file; empty: quadrants of scikit-learn's digits", file=True)
    methods: str = methods_option()
    views: tuple[int, ...] = option((2, 3, 6), "numbers of views; more than there are: all")
    view_names: str = option("", "views in order, comma-separated; empty: all that are known")
    split_seed: int = option(0, "of the split of views, the same for all seeds")
    image_rows: int = option(10_000, "training and test images of table speech, at most")
    probe_samples: int = option(3000, "training rows or pairs that probes are fitted on, at most")


PRESETS = {"quick": {}, "paper": {}}


def view_cases(config: Config) -> list[Case]:
    """A case a number of views."""
    data = digit_views(config.data, names_in(config.view_names), config.split_seed)
    preparations, known = preparations_of(data.part("train")), len(data.columns)
    require(known >= 2, "view_names", config.view_names, "two or more names")
    good = len(config.views) > 0 and min(config.views) >= 2
    require(good, "views", config.views, f"numbers from 2 to {known}")
    require(config.probe_samples >= 2, "probe_samples", config.probe_samples, "2 or more")
    cases = []
    for count in dict.fromkeys(min(count, known) for count in config.views):
        names = list(data.columns)[:count]
        part, prepared = data.only(*names), {name: preparations[name] for name in names}
        task = multimodal_task(part, default_recorded(config, prepared), prepared, label=LABEL)
        targets = {"digit": target_of(part, "classification")}
        cases.append(Case(f"views={count}", task, part, prepared, targets, named_subsets(names)))
    return cases


def speech_case(config: Config) -> Case:
    """Utterances and images; probes see pairs that are drawn once."""
    require(config.image_rows >= 100, "image_rows", config.image_rows, "100 or more")
    require(config.probe_samples >= 100, "probe_samples", config.probe_samples, "100 or more")
    sides = speech_data(config.data, config.image_rows)
    prepared = {k: p for side in sides for k, p in preparations_of(side.part("train")).items()}
    sizes = {"train": config.probe_samples, "validation": CHOICE_PAIRS, "test": TEST_PAIRS}
    pairs = speech_pairs(*sides, sizes, seed=0)
    speakers = int(sides[0].labels["speaker"].max()) + 1
    classes = {"digit": 10, "speaker": speakers, "slant": 3}
    targets = {name: Target("classification", classes[name], (name,)) for name in TARGETS}
    task = multimodal_task(
        sides, default_recorded(config, prepared), prepared, label=LABEL, pairs=LABEL
    )
    return Case("speech", task, pairs, prepared, targets, named_subsets(["audio", "image"]))


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on the table's data; writes results, figure and summary."""
    methods = chosen_names("methods", config.methods, METHODS)
    views = config.table == "views"
    config = dataclasses.replace(config, width=config.width or WIDTHS[config.table])
    cases = view_cases(config) if views else [speech_case(config)]
    table = {}
    for case in cases:
        limit = config.probe_samples
        table |= case_table(EXPERIMENT, config, case, methods, run, limit=limit)

    def summarise(rows, seconds):
        tables = views_summary if views else speech_summary
        parts = tables(config, run, cases if views else cases[0], rows, seconds)
        sizes = {part: n for part in SPLITS if (n := int(np.sum(cases[0].data.split == part)))}
        about = (
            f"{config.data or 'scikit-learn digits, quadrants'}; probed: "
            + ", ".join(f"{size} {part} rows" for part, size in sizes.items())
            + f"; {counted(config.seeds, 'seed')}, mean ± standard deviation; {machine()}."
        )
        return "\n\n".join([f"# {EXPERIMENT}, {config.table}", about, *parts]) + "\n"

    facts = {f"{c.name}, {k}": v for c in cases for k, v in facts_of(c.data).items()}
    run_table(EXPERIMENT, config, run, table, summarise, facts)


if __name__ == "__main__":
    how = dict(experiment=EXPERIMENT, doc=__doc__, about=ABOUT, needs=NEEDS[EXPERIMENT])
    sys.exit(launch(main, Config, PRESETS, **how))
