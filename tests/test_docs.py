"""README, the results and docs/ are code: their order, links, commands and Python."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.__main__ import EXPERIMENTS
from mmjax.run import launch
from mmjax.run.flags import make_flags, parse_flags, read_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "experiments/RESULTS.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
STEPS = ["--steps=4", "--chunk_steps=2", "--seeds=1"]
# What makes a command small enough to be run here.
SMALL = {
    "traverse": ["--steps=4", "--batch_size=8", "--decoder_steps=4", "--rows=40", "--seeds=1"],
    "paired_data": [*STEPS, "--hidden=8"],
    "content_style": [
        *STEPS,
        "--hidden=8",
        "--batch_size=16",
        "--mixing_candidates=10",
        "--eval_samples=64",
        "--kernel_samples=16",
    ],
    "comm_trifactors": [
        *STEPS,
        "--hidden=4",
        "--methods=cross",  # comm is trained in the notebook
        "--biases=biased",
        "--batch_size=8",
        "--probe_samples=300",
    ],
    "render_dataset": ["--train=3", "--val=2", "--test=2", "--resolution=32"],
}
# Too many rows, files of the reader's own, an accelerator's work, or minutes of compilation (some
# have tests of their own): these are parsed only.
# Others differ in sizes alone, which are small here anyway.
LONG = (
    *("--data", "--features", "--model", "--table", "--preset", "--dim", "--diagnose"),
    *("image_text", "comm_trifeature", "comm_digits", "comm_mmimdb", "comm_multibench"),
    *("disentangle", "partial_causal"),
)


def _commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", "\n".join(PAGES.values()), flags=re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [part.strip() for line in lines for part in line.split("&&") if "-m " in part]
    return list(dict.fromkeys(" ".join(command.split()) for command in found))


ALL = [shlex.split(c.split("-m experiments.")[1]) for c in _commands() if "-m experiments." in c]
RUNS = [words for words in ALL if not words[0].startswith("benchmarks")]


def test_commands_are_found():
    assert {"partial_causal", "content_style", "fit", "disentangle"} <= {w[0] for w in RUNS}
    named = {w[0].split(".")[0] for w in ALL}
    assert named <= {*EXPERIMENTS, "benchmarks"}


def test_readme_is_short_and_has_its_sections_in_order():
    assert len(README.splitlines()) <= 150
    titles = re.findall(r"^## (.*)", README, flags=re.M)
    assert titles == [
        "Install",
        "Two commands",
        "Five lines of Python",
        "Your own files",
        "Your own loss",
        "What else there is",
        "Cite",
    ]
    assert README.index("![") < README.index("## Install")


def test_readme_names_every_front_door():
    """What a user may call that no other part of the README shows."""
    rest = README.split("## What else there is")[1]
    for name in ("mm.sklearn", "experiments.benchmarks.kernel", "experiments.compare"):
        assert name in rest, name


def _anchors(page: str) -> set[str]:
    """What GitHub and these docs make of a page's titles."""
    titles = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", page, flags=re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_and_pictures_exist(name):
    text = re.sub(r"```.*?```", "", PAGES[name], flags=re.S)
    for alt, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        to = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert to.exists(), target
        if anchor:
            assert anchor in _anchors(to.read_text()), target
        assert alt, f"{target} has no words"


def test_every_room_is_in_the_anatomy():
    rooms = {p.name for p in (ROOT / "mmjax").iterdir() if p.is_dir() and p.name[0] != "_"}
    for room in rooms:
        assert f"mmjax/{room}`" in PAGES["docs/anatomy.md"], room


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_commands_parse_and_describe_a_run(words):
    module = EXPERIMENTS[words[0]]
    values = make_flags(module.Config, module.PRESETS)
    parse_flags(values, words)
    config = read_config(module.Config, module.PRESETS, values)
    if words[0] in ("partial_causal", "content_style"):
        assert module.settings(config)


SHORT = [w for w in RUNS if not any(long in a for long in LONG for a in w)]
# Minutes of compilation, of what tests of their own go through too.
NIGHTLY = ("comm_trifactors", "content_style", "paired_data", "traverse")
_marks = lambda words: [pytest.mark.slow] if words[0] in NIGHTLY else []


@pytest.mark.parametrize("words", [pytest.param(w, marks=_marks(w), id=" ".join(w)) for w in SHORT])
def test_commands_run_with_small_settings(words, tmp_path):
    module = EXPERIMENTS[words[0]]
    argv = [*words, *SMALL[words[0]], f"--workdir={tmp_path}"]
    code = launch(
        module.main,
        module.Config,
        module.PRESETS,
        experiment=words[0],
        doc=module.__doc__,
        argv=argv,
    )
    assert code == 0
    made = {p.name for p in tmp_path.iterdir()}
    assert {"results.csv", "summary.md"} <= made or {"train", "val", "test"} <= made


@pytest.mark.parametrize("name", [n for n in PAGES if n == "README.md" or "methods" in n])
def test_figures_are_those_of_the_results(name):
    """A figure that is measured again changes on every page, or on none."""
    figures = set(re.findall(r"\d+\.\d+ ± \d+\.\d+", PAGES[name]))
    assert figures <= set(re.findall(r"\d+\.\d+ ± \d+\.\d+", PAGES["experiments/RESULTS.md"]))


BLOCKS = {
    f"{name}:{number}": code
    for name, text in PAGES.items()
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, flags=re.S))
}
SMALLER = {
    "steps=500": "steps=4, progress=False",
    "steps=2000": "steps=4, progress=False",
    "steps=1200, pre_steps=400": "steps=4, pre_steps=2, mixing_candidates=50",
    "pre_steps=0": "pre_steps=0, steps=4, mixing_candidates=50",
    "digits.images[:, ": "digits.images[:300, ",
    "digits.target": "digits.target[:300]",
}
_nightly = lambda name: [] if name.startswith("README") else [pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(n, marks=_nightly(n)) for n in BLOCKS])
def test_python_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = BLOCKS[name]
    for whole, small in SMALLER.items():
        code = code.replace(whole, small)
    exec(compile(code, name, "exec"), {})
    assert capsys.readouterr().out
