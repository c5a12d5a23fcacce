"""The table of Loss values by name, for flags."""

from collections.abc import Callable

from mmjax.losses import aligning, fusing
from mmjax.losses.loss import Loss

# A new loss is one more row here, and one more in the table of tests/test_loss_values.py.
LOSSES: dict[str, Callable[..., Loss]] = {
    "info_nce": aligning.info_nce,
    "cross": aligning.cross,
    "cmc": aligning.cmc,
    "siglip": aligning.siglip,
    "nt_xent": aligning.nt_xent,
    "simclr": aligning.simclr,
    "cross_self": aligning.cross_self,
    "slip": aligning.slip,
    "supcon": aligning.supcon,
    "comm": fusing.comm,
    "comm_of_paper": fusing.comm_of_paper,
    "factor_cl": fusing.factor_cl,
    "factor_cl_supervised": fusing.factor_cl_supervised,
}
