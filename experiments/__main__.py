"""All experiments, a line each.

python -m experiments                        # question, paper, minutes on 2 CPU cores, data
python -m experiments NAME --flags           # runs one, as `python -m experiments.NAME` does
python -m experiments.compare RUN RUN ...    # runs side by side
"""

import sys
from collections.abc import Sequence
from types import ModuleType

from experiments import (
    comm_digits,
    comm_mmimdb,
    comm_multibench,
    comm_trifactors,
    comm_trifeature,
    content_style,
    disentangle,
    embed,
    extract_features,
    few_shot,
    fit,
    image_text,
    is_it_ica,
    paired_data,
    partial_causal,
    probe,
    render_dataset,
    traverse,
)
from mmjax.errors import InvalidInput, act_first, choose, say
from mmjax.run import launch
from mmjax.tables.needs import NEEDS

EXPERIMENTS: dict[str, ModuleType] = {
    module.EXPERIMENT: module
    for module in (
        partial_causal,
        content_style,
        image_text,
        disentangle,
        few_shot,
        is_it_ica,
        traverse,
        comm_trifactors,
        comm_trifeature,
        comm_digits,
        comm_multibench,
        comm_mmimdb,
        fit,
        probe,
        embed,
        paired_data,
        extract_features,
        render_dataset,
    )
}


def listing() -> str:
    """A line an experiment: name, minutes, question, paper, data."""
    rows = [("experiment", "min", "question", "paper", "data")]
    for name, module in EXPERIMENTS.items():
        about = module.ABOUT
        rows.append((name, about.minutes or "-", about.question, about.paper or "-", about.needs))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    line = lambda row: "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]])
    return "\n".join(map(line, rows))


def main(argv: Sequence[str]) -> int:
    """The list, or the run of the experiment that is named."""
    if len(argv) < 2 or argv[1] in ("-h", "--help", "--list"):
        print(listing())
        print("\nmin: minutes of the plain command on 2 CPU cores; -: depends on your files.")
        print("python -m experiments.NAME --help tells its flags.")
        return 0
    try:
        module = choose(EXPERIMENTS, "experiment", argv[1])
    except InvalidInput as error:
        say(f"error: {act_first(str(error))}; python -m experiments lists all")
        return 2
    del sys.argv[1]
    about = dict(doc=module.__doc__ or "", about=module.ABOUT, needs=NEEDS.get(argv[1], {}))
    return launch(module.main, module.Config, module.PRESETS, experiment=argv[1], **about)


if __name__ == "__main__":
    sys.exit(main(list(sys.argv)))
