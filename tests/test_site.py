"""The built pages: whole, and sufficient unto themselves. Needs the extra `docs`."""

import posixpath
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs `pip install 'mmjax[docs]'`")
pytest.importorskip("latex2mathml", reason="needs `pip install 'mmjax[docs]'`")

ROOT = Path(__file__).parent.parent


class Seen(HTMLParser):
    """What a page loads, links to, and shows."""

    def __init__(self):
        super().__init__()
        self.loads, self.links, self.pictures, self.equations, self.words = [], [], [], 0, []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.pictures.append(given.get("alt", ""))
        self.equations += tag == "math"

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    out = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))
    return out


@pytest.fixture(scope="module")
def pages(site):
    seen = {}
    for path in site.rglob("*.html"):
        seen[path] = Seen()
        seen[path].feed(path.read_text(encoding="utf-8"))
    return seen


def test_nothing_is_loaded_from_elsewhere(pages, site):
    for path, page in pages.items():
        for target in page.loads:
            assert not target.startswith(("http:", "https:", "//")), f"{path.name} loads {target}"
    for path in site.rglob("*.css"):
        assert "url(http" not in path.read_text(encoding="utf-8"), path.name


def test_links_lead_somewhere(pages, site):
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for target in page.links:
            if target.startswith(("https://", "mailto:", "#", "javascript:")):
                continue
            to = posixpath.normpath(path.parent / target.split("#")[0])
            assert Path(to).exists(), f"{path.name} links to {target}"


def test_equations_and_pictures_are_drawn(pages):
    by_name = {path.stem: page for path, page in pages.items()}
    for name in ("sphere", "box", "content_style", "comm", "frozen", "few_shot", "paired"):
        assert by_name[name].equations and by_name[name].pictures, name
    for path, page in pages.items():
        assert all(page.pictures), f"{path.name}: a picture without words"
        assert "\\(" not in "".join(page.words), f"{path.name}: an equation is left as text"


def test_the_public_names_are_in_the_reference(site):
    import mmjax

    told = (site / "objects.inv").read_bytes()
    assert told.startswith(b"# Sphinx inventory")
    text = "".join(p.read_text(encoding="utf-8") for p in (site / "api").glob("*.html"))
    rooms = {"disentangle", "losses", "nets", "report", "sklearn", "testing"}
    for name in set(mmjax.__all__) - rooms:
        assert f"mm.{name}<" in text or f'.{name}"' in text, name
