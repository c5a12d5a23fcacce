"""What mkdocstrings reads otherwise than our docstrings mean it."""

import re

import griffe


class Examples(griffe.Extension):
    """`Example:` is a section of doctests, not a box of text."""

    def on_object(self, *, obj, **_):
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
