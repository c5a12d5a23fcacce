"""All methods by name. A new one is a line here and a fit and scores of its own."""

from collections.abc import Sequence

from mmjax.disentangle import recipes
from mmjax.few_shot.base import Method
from mmjax.few_shot.caches import (
    ape_scores,
    cca_scores,
    fit_ape,
    fit_cca,
    fit_gaussian,
    fit_gda,
    fit_tip,
    gda_scores,
    tip_scores,
)
from mmjax.few_shot.probes import (
    LINEAR,
    fit_means,
    fit_texts,
    linear_scores,
    mean_scores,
    text_scores,
)
from mmjax.few_shot.tuned import (
    adapter_scores,
    cca_ft_scores,
    cross_scores,
    fit_adapter,
    fit_cca_ft,
    fit_cross,
    fit_lp,
    fit_task,
    fit_tip_f,
    lp_scores,
    task_scores,
)
from mmjax.few_shot.unmix import SPARSE, Unmixing, affine_unmixing


def unmixings(num_components: Sequence[int]) -> dict[str, Unmixing]:
    """Maps without labels by name: those of the published rows, and their controls."""
    rows = [affine_unmixing(*recipe) for recipe in recipes(num_components, turned=True)]
    first = next((n for n, row in enumerate(rows) if row.num_components), len(rows))
    rows.insert(first, SPARSE)
    return {row.name: row for row in rows}


ADAPTERS = (
    Method("Gaussian", fit_gaussian, linear_scores),
    Method("GDA", fit_gda, gda_scores, texts=True),
    Method("Tip-Adapter", fit_tip, tip_scores, texts=True),
    Method("CCA", fit_cca, cca_scores, unmixing="FastICA", texts=True),
    Method("CCA, whitening", fit_cca, cca_scores, unmixing="whitening", texts=True),
    Method("APE", fit_ape, ape_scores, texts=True),
    Method("LP++", fit_lp, lp_scores, texts=True, tuned=True),
    Method("Tip-Adapter-F", fit_tip_f, tip_scores, texts=True, tuned=True),
    Method("CCA-FT", fit_cca_ft, cca_ft_scores, unmixing="FastICA", texts=True, tuned=True),
    Method("TaskRes", fit_task, task_scores, texts=True, tuned=True),
    Method("CLIP-Adapter", fit_adapter, adapter_scores, texts=True, tuned=True),
    Method("cross-modal probe", fit_cross, cross_scores, texts=True, tuned=True),
)
PLAIN = affine_unmixing("as they are", "none")  # centred, in one scale


def methods(num_components: Sequence[int]) -> list[Method]:
    """Every row, in the order of the table."""
    rows = [
        Method("zero-shot", fit_texts, text_scores, texts=True),
        Method("nearest mean", fit_means, mean_scores),
    ]
    for name in ("", *unmixings(num_components)):
        for penalty, fit in LINEAR.items():
            shown = ("L1, " if penalty == "l1" else "") + (name or "linear probe")
            rows.append(Method(shown, fit, linear_scores, unmixing=name or PLAIN.name))
    return [*rows, *ADAPTERS]
