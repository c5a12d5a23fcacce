"""The former place of mmjax.data.sets.mm_imdb."""

from mmjax.data.sets.mm_imdb import *  # noqa: F403
