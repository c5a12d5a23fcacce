"""Tables of latents recovered: a row trained, judged against an oracle, drawn and summarised."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.errors import counted
from mmjax.evaluate import correlations, match, mcc
from mmjax.report import (
    Expected,
    bars_figure,
    curves_figure,
    heat_map_figure,
    markdown_table,
    mean_and_deviation,
    save_figure,
    scatter_figure,
)
from mmjax.run import (
    Fit,
    MetricsLog,
    Row,
    Run,
    fit_seeds,
    machine,
    seed_keys,
    seed_numbers,
    slug,
    values,
)
from mmjax.studies import Study, diagnosis, identification_metrics
from mmjax.studies.partial_causal import Embedded
from mmjax.train import Outcome
from mmjax.types import Tree

EXPERIMENT = "partial_causal"

# Liu et al. 2026, synthetic results: mean over seeds, percent there, fractions here.
PUBLISHED = {"sphere": ("r2_linear", "R2 0.995 ± 0.001"), "box": ("mcc", "MCC 0.991 ± 0.001")}


_THEOREMS = {"sphere/vmf": ("r2_linear", 0.995, 0.001), "box/laplace": ("mcc", 0.991, 0.001)}


def expected(config: Any, settings: Sequence[str]) -> list[Expected]:
    """Latents as published, nothing of what is private, where the theorem's assumptions hold."""
    results = []
    for setting, (metric, value, error) in _THEOREMS.items():
        if setting in settings:
            for side in ("x", "t"):
                name = (setting, side, "z", metric)
                results.append(Expected(*name, value, error, "Liu et al. 2026, synthetic"))
            for side in ("x", "t"):
                name = (setting, side, "m", "r2_linear")
                results.append(Expected(*name, 0.0, 0.01, "theory: private latents leave no trace"))
    return results


class Setting(NamedTuple):
    """A row of the table."""

    name: str
    study: Study
    as_theory: bool
    why: str


PURPOSES = ("constants", "train", "gap", "evaluate", "diagnose", "split")


def train_setting(
    config: Any, setting: Setting, run: Run, log: MetricsLog
) -> tuple[Outcome, Tree, np.ndarray]:
    """Trains a row's seeds. Returns (outcome, constants, oracle loss of each seed)."""
    study, keys = setting.study, seed_keys(config, PURPOSES)
    constants = jax.jit(jax.vmap(study.init_constants))(keys["constants"])
    batches = max(1, config.eval_samples // config.batch_size)
    losses = jax.jit(jax.vmap(lambda p, e, k: study.losses(p, e, k, batches)))
    lowest = [np.inf]
    oracles = np.zeros(config.seeds)

    def gap(params, rows):
        index = np.asarray(rows)
        pick = lambda tree: jax.tree.map(lambda x: x[index], tree)
        trained, oracle = losses(params, pick(constants), keys["gap"][index])
        oracles[index] = oracle
        above = np.asarray(trained - oracle)
        if setting.as_theory:
            return above
        # The oracle's critic isn't optimal here: a seed is stuck where others got further, be it
        # in a later attempt (train_with_restarts then measures all of them again).
        lowest[0] = min(lowest[0], np.nanmin(above))
        return above - lowest[0]

    # At the first temperature, where it is learned.
    true = lambda i, e, k: study.losses(study.init_params(i), e, k, batches)[1]  # compiled alone
    level = jax.jit(jax.vmap(true))(keys["train"], constants, keys["gap"])
    outcome = fit_seeds(
        run,
        setting.name,
        study.recipe,
        study.init_params,
        gap,
        constants=constants,
        keys=keys["train"],
        seeds=seed_numbers(config),
        fit=Fit(config.parallel, config.batch_size, config.stuck_gap, config.max_restarts),
        log=log,
        oracle=np.asarray(level),
    )
    trained, oracle = losses(outcome.params, constants, keys["gap"])
    return outcome._replace(gap=np.asarray(trained - oracle)), constants, np.asarray(oracle)


def evaluate_setting(
    config: Any, setting: Setting, outcome: Outcome, constants: Tree, run: Run
) -> tuple[list[Row], Embedded]:
    """All rows of results.csv of a setting, and what its figures need of the first seed."""
    study, keys = setting.study, seed_keys(config, PURPOSES)

    @jax.jit
    def look(params, constants, key, split_key):
        seen = study.embed(params, constants, key, config.eval_samples)
        return seen, identification_metrics(seen, split_key)

    rows, shown = [], []
    for k in run.tracked(range(config.seeds), f"{setting.name}, judging", "seeds"):
        first = lambda tree, k=k: jax.tree.map(lambda x: x[k], tree)
        own_keys = keys["evaluate"][k], keys["split"][k]
        seen, result = look(first(outcome.params), first(constants), *own_keys)
        figures: dict[tuple[str, str, str], float] = {n: float(v) for n, v in result.items()}
        for side in ("x", "t"):
            z, f = getattr(seen.latents, f"z_{side}"), getattr(seen.embedded, side)
            figures[side, "z", "mcc"] = mcc(z, f)
            figures[side, "z", "mcc_spearman"] = mcc(z, f, kind="spearman")
        if config.diagnose or config.table == "corollary":
            figures |= diagnosis(seen, keys["diagnose"][k])
        figures["joint", "loss", "oracle_gap"] = float(outcome.gap[k])
        figures["joint", "loss", "attempts"] = float(outcome.attempts[k])
        figures["joint", "loss", "stuck"] = float(outcome.stuck[k])
        rows += [
            Row(EXPERIMENT, setting.name, config.seed + k, *name, v) for name, v in figures.items()
        ]
        shown.append(seen)
    return rows, shown[0]


def draw_setting(
    config: Any,
    setting: Setting,
    run: Run,
    log: MetricsLog,
    shown: Embedded,
    oracle: np.ndarray,
) -> None:
    """Training curves against the oracle, |correlation| heat map, each latent against its match."""
    path = lambda kind: run.path("figures", f"{kind}_{slug(setting.name)}.png")
    curves: dict[int, tuple[list[int], list[float]]] = {}
    logged = (row for row in log.rows() if row[4] == "loss")
    for name, attempt, seed, step, _, value in logged:
        if name == setting.name and attempt == "0":
            steps, losses = curves.setdefault(int(seed), ([], []))
            steps.append(int(step))
            losses.append(float(value))
    levels = {config.seed + k: float(v) for k, v in enumerate(oracle)}
    pre = setting.study.assumptions.pre_steps
    save_figure(curves_figure(curves, levels, title=setting.name, stage_end=pre), path("loss"))
    heat = {
        s: np.asarray(correlations(getattr(shown.latents, f"z_{s}"), getattr(shown.embedded, s)))
        for s in ("x", "t")
    }
    title = f"{setting.name}: latents against embeddings, seed {config.seed}"
    save_figure(heat_map_figure(heat, title=title), path("correlation"))
    z, f = np.asarray(shown.latents.z_x), np.asarray(shown.embedded.x)
    if setting.name.startswith("sphere"):
        # Known up to an orthogonal map: undo the best linear one.
        design = np.column_stack([f, np.ones(len(f))])
        estimate, label = design @ np.linalg.lstsq(design, z, rcond=None)[0], "linear map of f(x)"
    else:
        latents, features = match(heat["x"])
        estimate, label = np.zeros_like(z), "matched f(x)"
        estimate[:, latents] = f[:, features]
    figure = scatter_figure(
        z, estimate, title=f"{setting.name}: each latent recovered", ylabel=label
    )
    save_figure(figure, path("scatter"))


def summary(config: Any, rows: Sequence[Row], table: Sequence[Setting], seconds: dict) -> str:
    """The table, mean ± standard deviation over seeds, published numbers beside."""

    def cell(*name):
        return mean_and_deviation(values(rows, *name))

    header = [
        "setting",
        "R2 z_x",
        "R2 z_t",
        "MCC z_x",
        "MCC z_t",
        "R2 m_x (raw x)",
        "R2 m_t (raw t)",
        "oracle gap",
        "stuck",
        "published",
        "s / model",
    ]
    lines, reasons = [], []
    for setting in table:
        name = setting.name
        leak = [
            f"{cell(name, s, 'm', 'r2_linear')} ({cell(name, s, 'm', 'r2_linear_raw')})"
            for s in ("x", "t")
        ]
        stuck = sum(r.value for r in rows if r.setting == name and r.metric == "stuck")
        again = sum(r.value - 1 for r in rows if r.setting == name and r.metric == "attempts")
        message = f"{stuck:.0f} of {config.seeds}" + (f", {again:.0f} restarts" if again else "")
        published = PUBLISHED[name.split("/")[0]][1] if setting.as_theory else ""
        spent = f"{seconds[name] / config.seeds:.0f}" if name in seconds else "-"
        scores = [cell(name, s, "z", m) for m in ("r2_linear", "mcc") for s in ("x", "t")]
        lines.append(
            [
                name,
                *scores,
                *leak,
                cell(name, "joint", "loss", "oracle_gap"),
                message,
                published,
                spent,
            ]
        )
        if setting.why:
            reasons.append(f"- `{name}`: {setting.why}")
    about = (
        f"dim {config.dim}, private_dim {config.private_dim}, {counted(config.seeds, 'seed')}, "
        "mean ± "
        f"standard deviation; {machine()}. Wall seconds a model, compilation and metrics included."
    )
    meant = (
        "z_x, z_t: shared latents, from the embedding of x, of t. m_x, m_t: private ones, which no "
        "embedding should tell (in brackets: raw values do). R2: up to a linear map, what theory "
        "gives on a sphere; MCC: one by one, as in a box. Oracle gap: nats of loss above that of "
        "the true latents; stuck: seeds that stay far above it."
    )
    message = diagnosis_table(rows, [setting.name for setting in table])
    body = markdown_table(header, lines)
    parts = [f"# {EXPERIMENT}", about, body, meant, message, "\n".join(reasons)]
    return "\n\n".join(p for p in parts if p) + "\n"


def diagnosis_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """What FastICA adds, beside what it adds to the true latents; and the geometry that is read
    off the pairs. Empty without a diagnosis."""
    lines = []
    for name in names:
        cell = lambda *what, name=name: mean_and_deviation(values(rows, name, *what))
        exponents = values(rows, name, "joint", "geometry", "exponent")
        if not exponents:
            continue
        pointed = sum(v > 0 for v in values(rows, name, "joint", "geometry", "advantage"))
        scores = [cell(s, "z", m) for m in ("mcc", "mcc_ica") for s in ("x", "t")]
        lines.append(
            [
                name,
                *scores,
                cell("joint", "z", "mcc_ica_truth"),
                cell("joint", "geometry", "exponent"),
                cell("joint", "geometry", "advantage"),
                f"{pointed} box, {len(exponents) - pointed} sphere",
            ]
        )
    header = ["setting", "MCC z_x", "MCC z_t", "+ FastICA, z_x", "+ FastICA, z_t"]
    header += ["FastICA of true z", "coupling's exponent", "nats for box", "told (seeds)"]
    return markdown_table(header, lines) if lines else ""


def _table_figure(rows, table):
    bars = {}
    for setting in table:
        metric = PUBLISHED[setting.name.split("/")[0]][0]
        wanted = lambda r, s=setting, m=metric: (r.setting, r.target, r.metric) == (s.name, "z", m)
        bars[setting.name] = [r.value for r in rows if wanted(r)]
    return bars_figure(bars, title="sphere: linear R2; box: MCC (both encoders)", level=0.995)
