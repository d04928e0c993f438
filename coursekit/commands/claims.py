"""`coursekit claims`: list, show, register and run claims; write their pages and tables."""

import argparse
from collections.abc import Iterable
from pathlib import Path


def select(ids: Iterable[str], lesson: str | None, headline: bool) -> list[str]:
    """Choose claims by id, by lesson, or headline claims; nothing means all.

    Raises
    ------
    ValueError
        If a claim or a lesson is unknown.
    """
    from coursekit.ledger import record

    known = record.records()
    chosen = [record.find(id).id for id in ids] or list(known)
    if lesson:
        of_lesson = record.of_lesson(lesson)
        chosen = [id for id in chosen if id in of_lesson]
    return [id for id in chosen if known[id].headline or not headline]


def act(args: argparse.Namespace) -> int:
    """Do what `coursekit claims ACTION` says; return the exit status."""
    from coursekit.ledger import agreement, cards, export, rates, results, worlds

    worlds.find(args.world)
    if args.action == "rates":
        print(rates.table())
        return 0
    ids = select(args.ids, args.lesson, args.headline)
    if args.action == "list" or (args.action == "show" and not args.ids and not args.lesson):
        print(cards.board(ids, args.world))
    elif args.action == "show":
        print("\n\n".join(cards.shown(id, args.world) for id in ids))
    elif args.action == "register":
        new = results.register(ids)
        print(f"registered: {', '.join(new) or 'nothing new'}")
    elif args.action == "agree":
        own = Path(args.mine) if args.mine else None
        print(agreement.agreement(args.world, ids, own=own))
    elif args.action == "pages":
        out = Path(args.out or "build/ledger/pages")
        print(f"{len(cards.write_pages(ids, out, args.world))} pages in {out}")
    elif args.action == "export":
        for path in export.write(Path(args.out or "build/ledger"), args.ids):
            print(path)
    else:
        return _run(args, ids)
    return 0


def _run(args: argparse.Namespace, ids: list[str]) -> int:
    from coursekit.commands.workers import workers
    from coursekit.ledger import cards, results, runner, worlds

    if not (args.ids or args.lesson or args.headline or args.all):
        raise ValueError("expected claims to run, got none; try `claims run C44` or --all")
    world, failed = worlds.find(args.world), False
    out = results.folder(args.world) if args.out is None else Path(args.out)
    total = len(runner.selected(ids, world))
    with workers(args.jobs, args.scheduler):
        done = runner.run(ids, world, Path(args.kept).resolve())
        for number, one in enumerate(done, 1):
            failed |= one.error is not None
            print(f"[{number}/{total}] {one.name} ... {one.seconds:.1f} s", flush=True)
            if one.error:
                print(f"  FAILED: {one.error}", flush=True)
            for found in one.results:
                results.write(found, out / f"{found.id}.json")
                print(f"  {cards.line(found)}", flush=True)
    return int(failed)
