"""Rendered scenes of one object: shapes, camera, light, images. A new shape is one function."""

from mmjax.observations.rendering.primitives import ShapeTable, shape_table
from mmjax.observations.rendering.render import render, render_float, scene_mask
from mmjax.observations.rendering.scene import hsv_to_rgb
from mmjax.observations.rendering.shapes import SHAPE_NAMES, SPHERE, scene_shapes

__all__ = [
    "SHAPE_NAMES",
    "SPHERE",
    "ShapeTable",
    "hsv_to_rgb",
    "render_float",
    "render",
    "scene_mask",
    "scene_shapes",
    "shape_table",
]
