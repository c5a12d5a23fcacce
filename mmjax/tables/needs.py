"""What makes a flag moot: given one whose need is not met, a run says so in a line."""

from mmjax.config import names_in
from mmjax.run import Need
from mmjax.studies.aligned import NEEDS as LOSS_NEEDS

_MIXING = {
    "mixing_activation": Need("mixing_depth 2 or more", lambda c: c.mixing_depth > 1),
    "slope": Need("hidden layers", lambda c: bool(c.hidden)),
}
_FILE = Need("--features", lambda c: bool(c.features))
_FILES = Need("--features or --twin", lambda c: bool(c.features or c.twin))
_DATA = Need("--data", lambda c: bool(c.data))
_SAMPLED = Need("rendered pairs, no --data", lambda c: not c.data)
_FOLDER = Need("--data that is a folder", lambda c: not c.data.endswith((".h5", ".hdf5")))


def _augmented(kind: str):
    return Need(f"{kind} in --augmentation", lambda c: kind in c.augmentation.split("+"))


# The other tables of partial_causal change these assumptions from row to row.
def _assumed(what: str, met) -> Need:
    return Need(what, lambda c: c.table != "main" or met(c))


_PARTIAL_CAUSAL = _MIXING | {
    "similarity": _assumed(LOSS_NEEDS["similarity"].what, LOSS_NEEDS["similarity"].met),
    "learn_temperature": LOSS_NEEDS["learn_temperature"],
    "kappa": _assumed(
        "geometry sphere or conditional vmf",
        lambda c: c.geometry != "box" or c.conditional == "vmf",
    ),
    "scale": _assumed(
        "geometry box or a conditional other than vmf",
        lambda c: c.geometry != "sphere" or c.conditional not in ("", "vmf"),
    ),
    "marginal_scale": _assumed(
        "marginal normal or laplace", lambda c: c.marginal in ("normal", "laplace")
    ),
    "p": _assumed(
        f"{LOSS_NEEDS['p'].what}, or conditional generalised_normal",
        lambda c: LOSS_NEEDS["p"].met(c) or c.conditional == "generalised_normal",
    ),
    "spare_dims": Need("pre_steps above 0", lambda c: c.pre_steps > 0),
}

_CONTENT_STYLE = (
    {name: LOSS_NEEDS[name] for name in ("similarity", "p")}
    | _MIXING
    | {
        "embedding_dim": Need("another table than dims", lambda c: c.table != "dims"),
        "embedding_dims": Need("table dims", lambda c: c.table == "dims"),
        "dependence": Need("another table than cells", lambda c: c.table != "cells"),
        "change_prob": Need("another table than cells", lambda c: c.table != "cells"),
    }
)


def _told_test_rows(c) -> bool:
    """Whether masks are of both sides: where rows pair by index one is of both."""
    named = (c.test_x, c.test_t)
    return any(named) if c.pairs == "index" else all(named)


_PAIRED_DATA = (
    LOSS_NEEDS
    | {
        "test_share": Need(
            "a side without a test mask, and pairs that have none of the other's",
            lambda c: not (c.data and _told_test_rows(c)),
        ),
        "pair_index": Need("--data and --pairs=index", lambda c: c.data and c.pairs == "index"),
    }
    | {
        f"{name}_{side}": _DATA
        for name in ("label", "private", "ids", "test")
        for side in ("x", "t")
    }
    | dict.fromkeys(("x", "t", "pairs"), _DATA)
)

_IMAGE_TEXT = LOSS_NEEDS | {
    "negatives": Need("loss info_nce", lambda c: c.loss == "info_nce"),
    "text_layers": Need("text_encoder transformer", lambda c: c.text_encoder == "transformer"),
    **dict.fromkeys(("on_corrupt", "cache"), _DATA),
    **dict.fromkeys(("rendered", "position_dependent_color", "eval_pairs", "data_seed"), _SAMPLED),
}

_DISENTANGLE = {
    "generated": Need("no --features", lambda c: not c.features),
    **dict.fromkeys(
        ("values", "labels", "names", "text", "text_values", "validation", "test", "shifted"), _FILE
    ),
    **dict.fromkeys(("domains", "latents", "attributes", "images"), _FILE),
    **dict.fromkeys(("split", "group", "use_trained_rows"), _FILES),  # a control's too
    "source": Need("--domains", lambda c: bool(c.domains)),
    "validation_share": Need("no --validation", lambda c: not c.validation),
    "prompt_values": Need("--prompts", lambda c: bool(c.prompts)),
    **dict.fromkeys(("twin_values", "twin_text_values"), Need("--twin", lambda c: bool(c.twin))),
}

_FEW_SHOT = {
    "validation_shots": Need("--validation=shots", lambda c: c.validation == "shots"),
}

_TEXTS = Need("--texts", lambda c: bool(c.texts))
_IS_IT_ICA = {
    "text_values": _TEXTS,
    "text_names": _TEXTS,
}

_TRAINED = Need("features that are trained, no --values", lambda c: not c.values)
_TRAVERSE = {
    **dict.fromkeys(("images", "labels", "index", "values"), _DATA),
    **dict.fromkeys(("noise", "dim", "steps", "batch_size", "temperature"), _TRAINED),
}

# FactorCL compares by critics that it trains.
_METHODS = {
    "temperature": Need(
        "a method other than factor_cl and factor_cl_supervised",
        lambda c: not {*names_in(c.methods)} <= {"factor_cl", "factor_cl_supervised"},
    )
}

_COMM_DIGITS = _METHODS | {
    **dict.fromkeys(
        ("views", "view_names", "split_seed"), Need("table views", lambda c: c.table == "views")
    ),
    "image_rows": Need("table speech", lambda c: c.table == "speech"),
    "noise": _augmented("noise"),
    "drop": _augmented("drop"),
    "augmentation_probability": Need("an augmentation", lambda c: bool(c.augmentation)),
}

_EPOCHS = _METHODS | {"epochs": Need("--steps=0", lambda c: c.steps == 0)}

_COMM_MULTIBENCH = _EPOCHS | {
    "image_width": Need("dataset vision_touch", lambda c: c.dataset == "vision_touch"),
    "tokens": Need(
        "dataset av_mnist or vision_touch", lambda c: c.dataset in ("av_mnist", "vision_touch")
    ),
    "sequence_layers": Need(
        "a dataset of sequences (mosi, mosei, humor, sarcasm)",
        lambda c: c.dataset in ("mosi", "mosei", "humor", "sarcasm"),
    ),
}

_COMM_MMIMDB = _EPOCHS | {
    "warmup_epochs": Need("--warmup=0", lambda c: c.warmup == 0),
    "ends": Need("--data that is an HDF5 file", lambda c: not _FOLDER.met(c)),
    **dict.fromkeys(("clip", "embed_batch", "workers"), _FOLDER),
}

_EXTRACT_FEATURES = dict.fromkeys(
    ("skip_corrupt", "workers"), Need("--images", lambda c: bool(c.images))
)

_FUSED = Need("--fusion", lambda c: c.fusion)
_FIT = {
    "similarity": Need("--loss=info_nce", lambda c: c.loss == "info_nce"),
    "learn_temperature": Need(
        "a loss whose temperature is not always learned",
        lambda c: c.loss not in ("siglip", "factor_cl", "factor_cl_supervised"),
    ),
    "temperature": Need(
        "a loss other than factor_cl and factor_cl_supervised",
        lambda c: c.loss not in ("factor_cl", "factor_cl_supervised"),
    ),
    "head": Need("towers, no --fusion", lambda c: not c.fusion),
    "tune": Need("--clip", lambda c: bool(c.clip)),
    "train_label": Need("a loss of labels", lambda c: "sup" in c.loss or c.loss == "factor_cl"),
    "patience": Need("validate_every other than 0", lambda c: c.validate_every != 0),
    **{name: _FUSED for name in ("tokens", "layers", "heads", "masking", "noise", "drop")},
}

NEEDS = {
    "fit": _FIT,
    "partial_causal": _PARTIAL_CAUSAL,
    "content_style": _CONTENT_STYLE,
    "paired_data": _PAIRED_DATA,
    "image_text": _IMAGE_TEXT,
    "disentangle": _DISENTANGLE,
    "few_shot": _FEW_SHOT,
    "is_it_ica": _IS_IT_ICA,
    "traverse": _TRAVERSE,
    "comm_digits": _COMM_DIGITS,
    "comm_multibench": _COMM_MULTIBENCH,
    "comm_mmimdb": _COMM_MMIMDB,
    "comm_trifactors": _METHODS,
    "comm_trifeature": _METHODS,
    "extract_features": _EXTRACT_FEATURES,
}
