"""mmjax: the theory of multimodal contrastive learning, executable.

The front door, five lines:

    data = mm.Dataset.from_arrays(image=pictures, text=captions, labels={"class": y})
    model = mm.fit(data, dim=16, loss=mm.losses.info_nce(temperature=0.1), key=jax.random.key(0))
    z = model.embed(image=new_pictures)
    print(mm.probe(model, data, "class"), mm.retrieval(model, data))
    model.save("mine")

Rooms, lowest first; a module imports only from lower ones (tests/test_layers.py draws them).
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:  # what the names below are, for tools that read types
    from mmjax import disentangle, losses, nets, report, sklearn, testing
    from mmjax.data.dataset import Dataset
    from mmjax.data.formats import read
    from mmjax.errors import InvalidInput
    from mmjax.losses import Context, Loss
    from mmjax.models import Fusion, Model, load, probe, retrieval, sweep
    from mmjax.models.fit import fit

# Public name -> the module that has it; None: it is a module itself.
_PUBLIC = {
    "Context": "mmjax.losses",
    "Dataset": "mmjax.data.dataset",
    "Fusion": "mmjax.models",
    "InvalidInput": "mmjax.errors",
    "Loss": "mmjax.losses",
    "Model": "mmjax.models",
    "disentangle": None,
    "fit": "mmjax.models",
    "load": "mmjax.models",
    "losses": None,
    "nets": None,
    "probe": "mmjax.models",
    "read": "mmjax.data.formats",
    "report": None,
    "retrieval": "mmjax.models",
    "sklearn": None,
    "sweep": "mmjax.models",
    "testing": None,
}

__all__ = [
    "Context",
    "Dataset",
    "Fusion",
    "InvalidInput",
    "Loss",
    "Model",
    "disentangle",
    "fit",
    "load",
    "losses",
    "nets",
    "probe",
    "read",
    "report",
    "retrieval",
    "sklearn",
    "sweep",
    "testing",
]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: `import mmjax` stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmjax' has no attribute {name!r}")
    where = _PUBLIC[name]
    if where is None:
        return importlib.import_module(f"mmjax.{name}")
    value = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
