"""The former place of mmjax.data.clip.images."""

from mmjax.data.clip.images import *  # noqa: F403
