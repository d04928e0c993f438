"""Do other data say what the first did? Counted over what could have moved."""

from collections.abc import Iterable
from pathlib import Path

from coursekit.ledger import record, results, worlds
from coursekit.ledger.results import Result
from coursekit.ledger.rule import Comparison

OPPOSITE = ({"helps", "hurts"}, {"not worse", "worse"})


def pairs(ids: Iterable[str], world: str, against: str = "digits") -> list[tuple[Result, Result]]:
    """Results of claims that are stored in both worlds."""
    both = ((results.known(id, against), results.known(id, world)) for id in ids)
    return [pair for pair in both if None not in pair]


def own_pairs(ids: Iterable[str], world: str, own: Path) -> list[tuple[Result, Result]]:
    """Results of a world as they are stored, and as a folder has them from another machine.

    Raises
    ------
    ValueError
        If the folder has no result of these claims, or one that cannot be read, is of another world
        or was made by other code than the stored one.
    """
    files = {id: own / f"{id}.json" for id in ids}
    there = {id: results.read(file) for id, file in files.items() if file.exists()}
    if not there:
        raise ValueError(
            f"expected results in {own}, as in C01.json, got none; "
            f"try `coursekit claims run C01 --out {own}`"
        )
    found = []
    for id, result in there.items():
        where = result.origin["world"]
        if where != world:
            raise ValueError(
                f"expected results of the world {world!r} in {own}, got {id} of {where!r}; "
                f'try --world "{where}"'
            )
        if (stored := results.known(id, world)) is None:
            continue
        if result.origin["code"] != stored.origin["code"]:
            raise ValueError(
                f"expected {id} by the stored result's code, {stored.origin['code']}, got one by "
                f"{result.origin['code']}; try `coursekit claims run {id} --out {own}` again"
            )
        found.append((stored, result))
    return found


def movable(before: Result, now: Result) -> list[tuple[Comparison, Comparison]]:
    """Comparisons that both worlds measured, and whose words could have come out differently."""
    return [
        (a, b)
        for a, b in zip(before.comparisons, now.comparisons, strict=True)
        if a.condition.wants != "exact" and "untested" not in (a.standing, b.standing)
    ]


def elsewhere(result: Result) -> str:
    """What other data say of a claim, in a sentence; "" if it was run on none."""
    told = []
    for world in worlds.WORLDS.values():
        here = world.name == result.origin["world"]
        now = None if here else results.known(result.id, world.name)
        if now is not None and (both := movable(result, now)):
            same = sum(a.word == b.word for a, b in both)
            told.append(f"{world.note}: {now.said}; {same} of {len(both)} words as here")
    return "; ".join(told)


def agreement(
    world: str, ids: Iterable[str] = (), against: str = "digits", own: Path | None = None
) -> str:
    """Tell how far the words of two worlds agree: what differs, and the counts.

    With a folder of one's `own` results, those are compared with the stored ones of the world: what
    changes, then, is the machine and its libraries.

    Exact facts are not counted, nor are conditions that only one of the worlds has: they could not
    have moved. An answer counts where all of it was measured again.
    """
    lines, words, answers, turned = [], [], [], 0
    chosen = list(ids) or list(record.records())
    for before, now in own_pairs(chosen, world, own) if own else pairs(chosen, world, against):
        told = []
        for a, b in movable(before, now):
            words.append(a.word == b.word)
            # An effect whose size is open has a sign all the same.
            turned += {one.word.removesuffix(", size open") for one in (a, b)} in OPPOSITE
            if a.word != b.word:
                told.append(f"       {a.condition.name}: {a.found} -> {b.found}")
        moved = any(c.condition.wants != "exact" and c.n_seeds for c in now.comparisons)
        whole = [c.standing == "untested" for c in before.comparisons] == [
            c.standing == "untested" for c in now.comparisons
        ]
        if moved and whole:
            answers.append(before.answer == now.answer)
        if before.answer != now.answer:
            part = "" if whole else " (of those conditions that both have)"
            told.insert(0, f"{now.id:<6} {before.answer} -> {now.answer}{part}")
        elif told:
            told.insert(0, f"{now.id:<6} {now.answer}, as before")
        lines += told
    sides = f"{own} against {world} as stored" if own else f"{world} against {against}"
    lines.append(
        f"{sides}: {sum(answers)} of {len(answers)} answers and {sum(words)} of "
        f"{len(words)} words that could move agree; turned into their opposite: {turned}."
    )
    return "\n".join(lines)
