"""What do aligned and fused representations keep: shared, unique, synergistic? (CoMM, in numbers)

  python -m experiments.comm_trifactors                       # CoMM, Cross, Cross+Self
  python -m experiments.comm_trifactors --methods=comm,comm_joint_term,comm_single_terms
  python -m experiments.comm_trifactors --preset=paper        # every method
  python -m experiments.comm_trifactors --modalities=3 --classes=5

The bimodal Trifeature task of Dufumier et al. 2025 without images. Unbiased training has all
factors independent; biased training has pairs whose texture and colour always match, so that
matching can be learned. All probes are on unbiased pairs. Theory: aligning modalities keeps the
shape alone; self-supervision adds the textures; only fusion learns what no modality tells.
"""

import dataclasses
import sys
from functools import partial

import jax

from mmjax.config import names_in, option
from mmjax.errors import require
from mmjax.report import markdown_table, mean_and_deviation
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    RunOptions,
    fit_seeds,
    launch,
    machine,
    run_table,
    seed_keys,
    seed_numbers,
    values,
)
from mmjax.studies.fused import (
    METHODS,
    FusedOptions,
    FusedStudy,
    chance_of,
    make_fused_study,
    probe_figures,
    raw_features,
)

EXPERIMENT = "comm_trifactors"
BIASES = {"unbiased": 0.0, "biased": 1.0}
PURPOSES = ("env", "train", "evaluate", "untrained")
# Linear probes of images, in percent: R, mean U, S (Dufumier et al. 2025).
PUBLISHED = {
    "comm": (99.9, 87.8, 71.9),
    "cross": (100.0, 11.6, 50.0),
    "cross_self": (99.7, 86.9, 50.0),
}


@dataclasses.dataclass(frozen=True)
class Config(FusedOptions, RunOptions):
    """Which methods, on which pairs, and how the run is carried out."""

    methods: str = option("comm,cross,cross_self", "comma-separated: " + ", ".join(METHODS))
    biases: str = option("unbiased,biased", "training pairs, comma-separated")
    probe_samples: int = option(6000, "pairs: a third each to fit, choose and score probes")


PRESETS = {"quick": {}, "paper": {"methods": ",".join(METHODS), "steps": 1200}}


def judged(config: Config, study: FusedStudy, setting: str, represent) -> list[Row]:
    """Probes of every seed; `represent` is `(seed's place, observations) -> features`."""
    keys, rows = seed_keys(config, PURPOSES), []
    worlds = jax.vmap(study.init_env)(keys["env"])
    modality = "raw" if setting == "raw" else "joint"
    for place, seed in enumerate(seed_numbers(config)):
        world = jax.tree.map(lambda leaf, k=place: leaf[k], worlds)
        figures = probe_figures(
            study.model,
            world,
            partial(represent, place),
            keys["evaluate"][place],
            rows=config.probe_samples,
        )
        rows += [Row(EXPERIMENT, setting, seed, modality, *n, v) for n, v in figures.items()]
    return rows


def trained_rows(config: Config, study: FusedStudy, setting: str, run: Run, log: MetricsLog):
    """Trains all seeds and judges them; no oracle tells a seed that is stuck, so none restarts."""
    keys = seed_keys(config, PURPOSES)
    params = fit_seeds(
        run,
        setting,
        study.plan,
        study.init_params,
        envs=jax.vmap(study.init_env)(keys["env"]),
        keys=keys["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size),
        log=log,
    ).params
    represent = jax.jit(study.represent)
    own = lambda place: jax.tree.map(lambda leaf: leaf[place], params)
    return judged(config, study, setting, lambda place, seen: represent(own(place), seen))


def control_rows(config: Config, study: FusedStudy, setting: str, log: MetricsLog) -> list[Row]:
    """`raw`: the observations side by side. `untrained`: the network as it starts."""
    if setting == "raw":
        return judged(config, study, setting, lambda place, seen: raw_features(seen))
    represent, keys = jax.jit(study.represent), seed_keys(config, PURPOSES)["untrained"]
    start = jax.jit(study.init_params)
    return judged(config, study, setting, lambda place, seen: represent(start(keys[place]), seen))


def summary(config: Config, settings: list[str], rows: list[Row], seconds: dict) -> str:
    """A row a setting, published figures of images beside it, chance below."""
    cells = list(dict.fromkeys((r.target, r.metric) for r in rows))
    short = lambda target, metric: target + (" balanced" if metric != "accuracy" else "")
    modality = lambda setting: "raw" if setting == "raw" else "joint"

    def line(setting):
        figures = [
            mean_and_deviation(
                [100 * v for v in values(rows, setting, modality(setting), *cell)], digits=1
            )
            for cell in cells
        ]
        published = PUBLISHED.get(setting.split("/")[0]) if config.modalities == 2 else None
        beside = " / ".join(map(str, published)) if published else "-"
        spent = f"{seconds[setting] / config.seeds:.0f}" if setting in seconds else "-"
        return [setting, *figures, beside, spent]

    chance = [f"{100 * chance_of(target, config.classes):.1f}" for target, _ in cells]
    header = ["accuracy, %", *(short(*cell) for cell in cells), "published R / U / S", "s / model"]
    table = markdown_table(header, [*map(line, settings), ["chance", *chance, "-", "-"]])
    about = (
        f"Linear probes on unbiased pairs, {config.seeds} seeds, mean ± standard deviation; "
        f"accuracy is the mean over classes. Published figures are of images, R and U of unbiased "
        f"and S of biased training. {machine()}."
    )
    return "\n\n".join([f"# {EXPERIMENT}", about, table]) + "\n"


def main(config: Config, run: Run) -> None:
    """Runs or resumes all methods on all laws of pairs; writes results and summary."""
    methods, biases = names_in(config.methods), names_in(config.biases)
    for name, chosen, known in (("methods", methods, METHODS), ("biases", biases, BIASES)):
        good = len(chosen) > 0 and all(part in known for part in chosen)
        require(good, name, ",".join(chosen), "one or more of " + ", ".join(known))
    require(config.probe_samples >= 30, "probe_samples", config.probe_samples, "30 or more")
    make = lambda method, bias: make_fused_study(
        config,
        method,
        BIASES[bias],
        chunk_steps=config.chunk_steps,
        save_every=config.save_every,
    )
    table = {}
    for control in ("raw", "untrained"):
        table[control] = partial(control_rows, config, make("comm", "unbiased"), control)
    for method in methods:
        for bias in biases:
            setting = f"{method}/{bias}"
            table[setting] = partial(
                lambda setting, study, log: trained_rows(config, study, setting, run, log),
                setting,
                make(method, bias),
            )
    run_table(EXPERIMENT, config, run, table, partial(summary, config, list(table)))


if __name__ == "__main__":
    sys.exit(launch(main, Config, PRESETS, experiment=EXPERIMENT, doc=__doc__))
