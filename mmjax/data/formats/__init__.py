"""Users' data in the formats that they have. A new format is one file and a line in read.py."""

from mmjax.data.formats.choice import parse_modalities
from mmjax.data.formats.read import check_own_split, read
from mmjax.data.formats.sounds import MelOptions, log_mel

__all__ = ["MelOptions", "check_own_split", "log_mel", "parse_modalities", "read"]
