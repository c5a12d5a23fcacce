"""Random views of observations, by the kind of their modality."""

from collections.abc import Callable, Mapping

from mmjax.errors import require
from mmjax.models.embedders import Fusion
from mmjax.models.prepare import Observation, Preparation
from mmjax.observations.augment import (
    ImageAugmentation,
    SequenceAugmentation,
    augment_images,
)
from mmjax.studies.recorded import augmenter
from mmjax.types import Key

Augment = Callable[[Key, Observation], Observation]

_IMAGES = ImageAugmentation(crop_scale=(0.4, 1.0), brightness=0.3, contrast=0.3)


def augmentations(
    preparations: Mapping[str, Preparation],
    fusion: Fusion | None,
    given: Mapping[str, Augment] | None,
) -> dict[str, Augment]:
    """Those that are given; or, where a loss has nothing but views, noise and drops of features and
    sequences, and crops and light of images. Text stays as it is.

    Raises InvalidInput for a name that is no modality.
    """
    for name in given or {}:
        allowed = "names of modalities: " + ", ".join(preparations)
        require(name in preparations, "augment", name, allowed)
    if given is not None or (fusion is None and len(preparations) > 1):
        return dict(given or {})
    options = fusion or Fusion()
    rows = augmenter(SequenceAugmentation("drop+noise", 0.5, options.noise, (0.0, options.drop)))
    of_kind = {"features": rows, "sequence": rows, "image": augment_images(_IMAGES)}
    return {name: of_kind[p.kind] for name, p in preparations.items() if p.kind in of_kind}
