"""README is code: its order, its links, its commands."""

import re
import shlex
from pathlib import Path

import pytest

from experiments import (
    comm_digits,
    comm_mmimdb,
    comm_multibench,
    comm_trifactors,
    comm_trifeature,
    content_style,
    disentangle,
    embed,
    extract_features,
    fit,
    image_text,
    paired_data,
    partial_causal,
    probe,
    render_dataset,
)
from mmjax.run import launch
from mmjax.run.flags import make_flags, parse_flags, read_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXPERIMENTS = {
    module.EXPERIMENT: module
    for module in (
        comm_digits,
        comm_mmimdb,
        comm_multibench,
        comm_trifactors,
        comm_trifeature,
        content_style,
        disentangle,
        embed,
        extract_features,
        fit,
        image_text,
        paired_data,
        partial_causal,
        probe,
        render_dataset,
    )
}
STEPS = ["--steps=4", "--chunk_steps=2", "--seeds=1"]
# What makes a command of README small enough to be run here.
SMALL = {
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
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines for part in line.split("&&") if "-m " in part]


RUNS = [shlex.split(c.split("experiments.")[1]) for c in _commands() if "experiments." in c]
RUNS = [words for words in RUNS if not words[0].startswith("benchmarks")]


def test_readme_has_its_sections_in_order():
    titles = re.findall(r"^## (.*)", README, flags=re.M)
    assert titles == [
        "Two commands",
        "What you get",
        "Your own data",
        "GPUs, TPUs, many seeds",
        "Anatomy",
        "Results",
        "Papers",
    ]
    assert README.index("![") < README.index("## Two commands")


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_every_room_is_in_the_anatomy():
    rooms = {p.name for p in (ROOT / "mmjax").iterdir() if p.is_dir() and p.name[0] != "_"}
    for room in rooms:
        assert f"mmjax/{room}`" in README, room


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
NIGHTLY = ("comm_trifactors", "content_style")
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


BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_of_readme_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = BLOCKS[number].replace("steps=500", "steps=4, progress=False")
    exec(compile(code, f"README block {number}", "exec"), {})
    assert capsys.readouterr().out
