"""What MkDocs doesn't do by itself: equations without scripts, and files that live elsewhere.

Equations become MathML, which browsers draw by themselves. RESULTS.md and CHANGELOG.md become
pages, the pictures of experiments/figures come along, and links that leave docs/ go to the page
made of that file, or else to the repository.
"""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/mmjax/mmjax/blob/main/"
PAGES = {"experiments/RESULTS.md": "results.md", "CHANGELOG.md": "changelog.md"}
FIGURES = "experiments/figures/"
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")
MATH = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_files(files, config):
    """The pages and pictures from outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for path in sorted((ROOT / FIGURES).glob("*.png")):
        files.append(File.generated(config, f"figures/{path.name}", abs_src_path=str(path)))
    return files


def moved(target: str, page: str) -> str:
    """Where a link of a page leads on the site; both are paths from the repository's root."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    here = posixpath.dirname(PAGES.get(page, page.removeprefix("docs/")))
    if path.startswith(FIGURES):
        inside = "figures/" + path.removeprefix(FIGURES)
    elif path in PAGES or path.startswith("docs/"):
        inside = PAGES.get(path, path.removeprefix("docs/"))
    else:
        return REPOSITORY + path
    return posixpath.relpath(inside, here or ".")


def on_page_markdown(markdown, page, config, files):
    """Links of the page, from where it lies on the site."""
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    blocks = re.split(r"(```.*?```)", markdown, flags=re.S)
    link = lambda m: m[1] + moved(m[2], source) + (m[3] or "") + m[4]
    return "".join(b if b.startswith("```") else LINK.sub(link, b) for b in blocks)


def on_page_content(content, page, config, files):
    """Equations as MathML; wide tables scroll by themselves, with the keyboard too."""
    kind = {"(": "inline", "[": "block"}
    drawn = lambda m: convert(html.unescape(m[3]).strip(), display=kind[m[2]])
    return MATH.sub(drawn, content)
