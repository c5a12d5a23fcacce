"""The front door: a data set in, a model out; and what is read of it."""

from mmjax.models.analyses import (
    DisentangleFigures,
    ReportFigures,
    SweepFigures,
    disentangle,
    report,
    sweep,
)
from mmjax.models.figures import (
    ProbeFigures,
    RetrievalFigures,
    probe,
    retrieval,
)
from mmjax.models.files import load, save
from mmjax.models.fit import fit
from mmjax.models.model import Model, Spec, trained_on
from mmjax.nets.embedders import JOINT, Fusion

__all__ = [
    "JOINT",
    "DisentangleFigures",
    "Fusion",
    "Model",
    "ProbeFigures",
    "ReportFigures",
    "RetrievalFigures",
    "Spec",
    "SweepFigures",
    "disentangle",
    "fit",
    "load",
    "probe",
    "report",
    "retrieval",
    "save",
    "sweep",
    "trained_on",
]
