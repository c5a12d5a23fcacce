"""Runs side by side: configs, curves, and differences of figures with confidence intervals.

  python -m experiments.compare runs/a runs/b                 # b minus a
  python -m experiments.compare runs/a runs/b runs/c --out=side_by_side

Each is compared with the first: paired over the seeds that both have, else by Welch's interval.
Rows of one name belong together; where a changed assumption renamed them, those that are left do,
in order. Prints what is set otherwise and the figures that are not the same, writes report.html and
compare.csv into --out (default: beside the first run), and prints the page's path last.
"""

import os
import sys
from collections.abc import Sequence

from mmjax.errors import InvalidInput, act_first, did_you_mean, say
from mmjax.report import markdown_table
from mmjax.run.compare import compare


def parse(argv: Sequence[str]) -> tuple[list[str], str]:
    """Folders and --out. Raises InvalidInput for another flag."""
    runs, out = [word for word in argv if not word.startswith("--")], ""
    for word in argv:
        name, _, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name != "out":
            meant = did_you_mean(name, ["out", "help"])
            raise InvalidInput(f"--{name}: there is no such flag{meant or '; use --out=FOLDER'}")
        if word.startswith("--") and not value:
            raise InvalidInput("--out: '' is not allowed; use --out=FOLDER, or leave it out")
        out = value if word.startswith("--") else out
    first = os.path.abspath(runs[0]) if runs else "."
    return runs, out or os.path.join(os.path.dirname(first), "compared")


def main(argv: Sequence[str]) -> int:
    """Compares; 0, or 2 for input that can't be compared."""
    if not argv or {"-h", "--help"} & set(argv):
        print((__doc__ or "").strip())
        return 0
    try:
        path, configs, figures = compare(*parse(argv))
    except InvalidInput as error:
        say(f"error: {act_first(str(error))}")
        return 2
    for table in (configs, figures):
        if table.rows:
            print(markdown_table(table.header, table.rows) + "\n")
    if not figures.rows:
        print("All figures are the same.\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
