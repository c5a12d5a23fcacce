"""What experiments on few-shot files check of their flags and of their files before they begin."""

from collections.abc import Sequence
from typing import Any

from mmjax.data import FewShotSet
from mmjax.errors import require, say
from mmjax.few_shot import draw_sizes


def check_counts(config: Any, *names: str) -> None:
    """Shots and numbers of components are different, whatever else is named is 1 or more.

    Raises InvalidInput that names the flag.
    """
    for name in ("shots", "num_components"):
        given = getattr(config, name)
        good = given and min(given) >= 1 and len(set(given)) == len(given)
        require(bool(good), name, given, "different whole numbers >= 1, comma-separated")
    for name in names:
        require(getattr(config, name) >= 1, name, getattr(config, name), "a whole number >= 1")


def check_sets(config: Any, sets: Sequence[FewShotSet], every: str) -> list[FewShotSet]:
    """The sets, of which there are some, each of a name of its own, and none of that of all."""
    names = [few.name for few in sets]
    require(bool(sets), "data", config.data, "one or more files, comma-separated")
    require(len(set(names)) == len(names), "data", ", ".join(names), "files of different names")
    message = "a file of another name: all sets together are called so"
    require(len(names) < 2 or every not in names, "data", every, message)
    return list(sets)


def say_remarks(config: Any, sets: Sequence[FewShotSet]) -> None:
    """Notes of what is odd about each set, or about the flags for it."""
    for few in sets:
        for line in [*few.remarks, *all_columns(config.num_components, few.pool.x.shape[1])]:
            say(f"note: {few.name}: {line}")


def say_left_out(shots: Sequence[int], *kept: tuple[FewShotSet, Sequence[int]]) -> None:
    """Notes of the numbers of shots that a set has too few rows for, beside those it has."""
    for few, own in kept:
        if left := sorted(set(shots) - set(own)):
            message = ", ".join(map(str, left))
            why = f"a class has too few rows for {message} shots, which are left out"
            say(f"note: {few.name}: {why}")


def fewer_chosen_on(few: FewShotSet, shots: Sequence[int], validation: int) -> list[str]:
    """A line where a class of few rows leaves all of them fewer validation rows than asked for.

    Args:
      few: the set.
      shots: those that it has rows for.
      validation: see draw_sizes.
    """
    if few.val is not None and not validation:
        return []
    own = {n: draw_sizes(few, n, validation)[0] for n in shots}
    fewer = [f"{val} at {n} shots" for n, val in own.items() if val < min(n, validation or n)]
    told = "validation rows a class, fewer than asked for: "
    return [told + ", ".join(fewer).replace(" 1 shots", " 1 shot")] if fewer else []


def all_columns(num_components: Sequence[int], width: int) -> list[str]:
    """A line where more components are asked for than there are columns, or as many."""
    whole = [str(k) for k in num_components if k >= width]
    return [f"num_components {', '.join(whole)}: all of the {width} columns"] if whole else []
