"""All methods by name. A new one is a line here and a fit and scores of its own."""

from collections.abc import Sequence

from mmjax.few_shot.base import Method
from mmjax.few_shot.probes import (
    LINEAR,
    fit_means,
    fit_texts,
    linear_scores,
    mean_scores,
    text_scores,
)
from mmjax.few_shot.unmix import Unmixing, affine_unmixing


def unmixings(num_components: Sequence[int]) -> dict[str, Unmixing]:
    """Maps without labels by name: those of the published rows, and their controls."""
    rows = [
        affine_unmixing("whitening", "whitening"),
        affine_unmixing("FastICA", "ica"),
        affine_unmixing("random rotation", "turned"),
    ]
    for k in num_components:
        rows += [
            affine_unmixing(f"PCA {k}", "pca", k),
            affine_unmixing(f"PCA {k} + whitening", "whitening", k),
            affine_unmixing(f"PCA {k} + FastICA", "ica", k),
            affine_unmixing(f"PCA {k} + random rotation", "turned", k),
        ]
    return {row.name: row for row in rows}


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
    return rows
