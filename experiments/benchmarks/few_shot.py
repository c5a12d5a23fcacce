"""Few-shot tables beside their limits, the search of a linear probe beside scikit-learn's.

  python -m experiments.benchmarks.few_shot                        # rows by chance, of CLIP's sizes
  python -m experiments.benchmarks.few_shot FOLDER                 # oxford_pets.npz, imagenet.npz
  python -m experiments.benchmarks.few_shot FOLDER search pets     # some parts

Each part runs in a process of its own, compilation and reading included, and tells its wall and CPU
seconds and its peak memory. Classes without a text are given the mean of their validation rows, so
that every method runs on every class. A ratio above 1 is within the limit.
"""

import json
import os
import resource
import subprocess
import sys
import time
import warnings

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression

from experiments.benchmarks import make_parser, run_benchmark
from experiments.few_shot import Config
from mmjax.data import FewShotSet, LabelledRows, read_few_shot
from mmjax.disentangle import fast_ica
from mmjax.errors import choose, one_of, require
from mmjax.few_shot import PLAIN, fit_unmixing, make_draws, unlabelled, unmixed
from mmjax.few_shot.probes import L2, LINEAR
from mmjax.report import markdown_table
from mmjax.run import machine
from mmjax.tables.few_shot import settings

SHOTS, DRAWS, GIGABYTES = (1, 2, 4, 8, 16), 5, 4
PUBLISHED = "linear probe;whitening;FastICA;PCA 256;PCA 256 + whitening;PCA 256 + FastICA"


def by_chance(name: str, classes: int, pool: int, held: int) -> FewShotSet:
    """Unit rows around directions of classes, in CLIP's 512 columns; held of 0: pool alone."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(classes, 512))

    def rows(each):
        labels = np.repeat(np.arange(classes, dtype=np.int32), each)
        x = means[labels] + 2 * rng.normal(size=(len(labels), 512))
        return LabelledRows((x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float32), labels)

    texts = {"text": (means / np.linalg.norm(means, axis=1)[:, None]).astype(np.float32)}
    parts = [rows(each) if each else None for each in (pool, 20 * bool(held), held)]
    return FewShotSet(name, np.arange(classes).astype(str), *parts, texts, {}, ())


def pets(folder: str) -> FewShotSet:
    """37 classes, with a text each."""
    path = os.path.join(folder, "oxford_pets.npz")
    few = read_few_shot(path) if folder else by_chance("pets", 37, 31, 99)
    texts = {}
    for name, values in few.texts.items():
        means = np.stack([few.val.x[few.val.labels == k].mean(0) for k in range(len(few.classes))])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        texts[name] = np.where(np.isfinite(values), values, means)
    return few._replace(texts=texts)


def imagenet(folder: str) -> FewShotSet:
    """1000 classes, about seven rows each and no others."""
    path = os.path.join(folder, "imagenet.npz")
    return read_few_shot(path) if folder else by_chance("imagenet", 1000, 7, 0)


def table(few: FewShotSet, **options) -> str:
    """Judges all rows of a table; tells what it has judged."""
    config = Config(num_components=(64, 256), **options)
    made = settings(config, [few])
    for number, (name, pieces) in enumerate(made.items()):
        for piece in pieces:
            piece.judge(None)
        print(f"{number + 1} of {len(made)}: {name}", file=sys.stderr, flush=True)
    return f"{len(made)} cells"


def components(folder: str) -> str:
    """All 512 components of 2,000 rows of ImageNet, to a gradient of 1e-3."""
    x = unlabelled(imagenet(folder))[::3][:2000]
    options = dict(floor=1e-6, tolerance=1e-3, max_steps=500)
    result = jax.block_until_ready(fast_ica(x, jax.random.key(0), **options))
    return f"{int(result.steps)} passes, " + ("converged" if result.converged else "NOT converged")


def search(folder: str) -> dict:
    """Every C of the search, ours and scikit-learn's on the same rows; seconds of either."""
    few, ours, theirs, apart, fits = pets(folder), np.zeros((2, 2)), np.zeros(2), [], 0
    keys = jax.random.split(jax.random.key(0), DRAWS)
    for shots in SHOTS:
        draws, _ = make_draws(few, keys, shots=shots, validation=4)
        draws = unmixed(PLAIN, fit_unmixing(PLAIN, draws, unlabelled(few)), draws)
        for turn in range(2):  # the second time all is compiled
            start = clocks()
            result = jax.block_until_ready(LINEAR["l2"](draws, len(few.classes)))
            ours[turn] += clocks() - start
        parts = draws.z, draws.labels, draws.val_z, draws.val_labels
        start = clocks()
        for draw in range(DRAWS):
            best, count = searched(*(np.asarray(v[draw]) for v in parts))
            apart.append(float(result.validation[draw]) - best)
            fits += count
        theirs += clocks() - start
        print(f"search, {shots} shots: {ours.ravel()}, {theirs}", file=sys.stderr, flush=True)
    message = f"{fits} fits; once compiled {ours[1, 0]:.1f} s: {theirs[0] / ours[1, 0]:.1f} times; "
    cpu = f"{ours[0, 1]:.0f} s, once compiled {ours[1, 1]:.0f} s"
    message += f"CPU: {theirs[1]:.0f} s of scikit-learn, {cpu} of ours; "
    message += f"validation accuracy apart {np.mean(apart):+.3f} ± {np.std(apart):.3f}"
    return dict(told=message, seconds=ours[0, 0], peer=theirs[0])


def clocks() -> np.ndarray:
    """Wall and CPU seconds; where others use the cores the second is the fairer."""
    return np.array([time.perf_counter(), time.process_time()])


def searched(x, labels, val, val_labels) -> tuple[float, int]:
    """The same search with scikit-learn: the best accuracy, and how many fits."""
    scores: dict[float, float] = {}

    def score(c):
        if c not in scores:
            model = LogisticRegression(C=c, max_iter=L2["max_steps"], tol=L2["flatness"])
            scores[c] = model.fit(x, labels).score(val, val_labels)
        return scores[c]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = max(L2["coarse"], key=score)
        for halving in range(1, 5):
            factor = 100.0 ** (0.5**halving)
            best = max((best, best / factor, best * factor), key=score)
    return scores[best], len(scores)


LIMITS = {
    "search": (search, None, "search of C, linear probe, 37 classes, 5 draws, 5 numbers of shots"),
    "ica": (components, 30, "FastICA, 512 components of 2,000 rows"),
    "untuned": (
        lambda folder: table(pets(folder), tuned=False, seeds=DRAWS, shots=SHOTS),
        120,
        "Pets, methods that are not fine-tuned, 5 draws, 5 numbers of shots",
    ),
    "pets": (
        lambda folder: table(pets(folder), seeds=DRAWS, shots=SHOTS),
        300,
        "Pets, all methods, 5 draws, 5 numbers of shots",
    ),
    "imagenet": (
        lambda folder: table(imagenet(folder), seeds=1, shots=(2,), methods=PUBLISHED),
        300,
        "ImageNet, 2 shots, 1000 classes, the published six rows, one draw",
    ),
}


def alone(folder: str, part: str) -> None:
    """Runs a part and prints what it took."""
    run, limit, name = LIMITS[part]
    start = time.perf_counter()
    result, wall = run(folder), time.perf_counter() - start
    result = result if isinstance(result, dict) else dict(told=result, seconds=wall, peer=limit)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(result | dict(name=name, cpu=time.process_time(), peak=peak)))


def main(words: list[str]) -> None:
    """Prints the table. Raises InvalidInput for words that are no folder and no parts."""
    folder = words[0] if words and words[0] not in LIMITS else ""
    allowed = f"a folder, or {one_of(LIMITS, folder)}"
    require(not folder or os.path.isdir(folder), "words", folder, allowed)
    parts = {part: choose(LIMITS, "words", part) for part in words[bool(folder) :] or LIMITS}
    lines = []
    for part in parts:
        command = [sys.executable, "-m", __spec__.name, "--alone", folder, part]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        v = json.loads(out.splitlines()[-1])
        against = f"{v['peer']:.0f} s" + (" of scikit-learn" if part == "search" else ", limit")
        took = f"{v['seconds']:.1f}", against, f"{v['peer'] / v['seconds']:.1f}"
        memory = f"{v['peak']:.1f}", f"{GIGABYTES / v['peak']:.1f}"
        lines.append([v["name"], *took, f"{v['cpu']:.0f}", *memory, v["told"]])
        print(lines[-1], file=sys.stderr, flush=True)
    header = ["", "s", "against", "ratio", "CPU s", "peak, GB", f"ratio to {GIGABYTES} GB", ""]
    print(f"{machine()}; {'features given' if folder else 'rows by chance'}\n")
    print(markdown_table(header, lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:  # as main calls it
        sys.exit(alone(*sys.argv[2:4]))
    parser = make_parser("few_shot", __doc__, "20")
    told = f"FOLDER of features, parts ({', '.join(LIMITS)}), or both"
    parser.add_argument("words", nargs="*", default=[], help=told)
    sys.exit(run_benchmark(main, parser))
