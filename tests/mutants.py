"""Right answers with one small thing changed: what a check lets pass, it does not check.

    python tests/mutants.py                # all exercises, a line each, and who survived
    python tests/mutants.py pick_epoch 8   # one exercise, on 8 seeds

A mutant that no input could tell from the right answer is in `mutants.toml`, with the reason.
"""

import ast
import contextlib
import copy
import signal
import sys
import time
import tomllib
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

from coursekit.exercises import bank, comparing, pages

EQUIVALENT = Path(__file__).with_suffix(".toml")
LIMIT = 2  # seconds of processor time for one mutant on one seed: some never end

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.RShift: ast.LShift,
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
UNORDERED = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)
MODULES = {"np", "torch", "F", "nn", "math", "re", "random", "stats", "statistics"}
# A check takes a number in any form, so these change nothing that it could see.
CONVERSIONS = {"float", "int", "bool", "str", "list", "tuple", "item", "tolist", "array", "double"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "mul"}  # in their arguments


def mutants(function):
    """Return the mutants of a right answer: name, which tells the line that changed, to source."""
    tree = ast.parse(pages.code(function, function.__name__))
    statement = {}  # of every node, the statement that it stands in
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            statement[child] = child if isinstance(child, ast.stmt) else statement.get(node)
    # Whether lengths agree does not matter where they do.
    strict = {k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "strict"}
    sources, seen = {}, Counter([ast.unparse(tree)])
    for node in ast.walk(tree):
        for other in () if node in strict else _changes(node, tree):
            # `deepcopy` takes what its memory holds for a copy that was made already.
            source = ast.unparse(copy.deepcopy(tree, {id(node): other}))
            seen[source] += 1
            if seen[source] == 1:
                line = ast.unparse(copy.deepcopy(statement[node], {id(node): other}))
                if isinstance(other, ast.Pass):
                    line = f"without {ast.unparse(node)}"
                name = f"{function.__name__}: {line.splitlines()[0]}"
                seen[name] += 1
                sources[f"{name} ({seen[name]})" if seen[name] > 1 else name] = source
    return sources


def _changes(node, tree):
    """Yield what may stand in the place of a node."""
    match node:
        case ast.BinOp(left, op, right):
            if type(op) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(op)](), right)
            if not isinstance(op, UNORDERED):
                yield ast.BinOp(right, op, left)
            yield from (left, right)
        case ast.AugAssign(target, op, value) if type(op) in OPERATORS:
            yield ast.AugAssign(target, OPERATORS[type(op)](), value)
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield operand
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:i], other(), *ops[i + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for i in range(len(values)):
                yield ast.BoolOp(op, values[:i] + values[i + 1 :])
        case ast.IfExp(test, body, orelse):
            yield from (ast.IfExp(test, orelse, body), body, orelse)
        case ast.If(test, body, orelse):
            negated = ast.UnaryOp(ast.Not(), test)
            yield from (ast.If(other, body, orelse) for other in (negated, ast.Constant(True)))
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(float(value)):
            yield ast.Constant(1.1 * value + 0.1)
        case ast.Subscript(value, ctx=ast.Load()):
            yield value
        case ast.Slice(lower, upper, step):
            if lower:
                yield ast.Slice(None, upper, step)
            if upper:
                yield ast.Slice(lower, None, step)
        case ast.comprehension(target, each, ifs) if ifs:
            yield ast.comprehension(target, each, [], 0)
        case ast.Return(ast.Tuple([first, second, *rest])):
            yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        case ast.Call():
            yield from _calls(node)
    if isinstance(node, ast.Expr | ast.AugAssign | ast.If | ast.For | ast.Break):
        yield ast.Pass()
    # Without its first assignment a name is missing, which tells nothing about a check.
    if isinstance(node, ast.Assign) and all(_bound(target, tree) for target in node.targets):
        yield ast.Pass()


def _calls(node):
    """Yield a call that is left out, or made with other arguments."""
    func, args, keywords = node.func, node.args, node.keywords
    method = isinstance(func, ast.Attribute) and _root(func) not in MODULES
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    if name in CONVERSIONS:
        return
    if method:
        yield func.value
    elif args and not isinstance(args[0], ast.Starred):
        yield args[0]
    for i in range(0 if name in SYMMETRIC else len(args) - 1):
        yield ast.Call(func, [*args[:i], args[i + 1], args[i], *args[i + 2 :]], keywords)
    if len(args) > (0 if method else 1):
        yield ast.Call(func, args[:-1], keywords)
    for i, keyword in enumerate(keywords):
        if keyword.arg != "strict":
            yield ast.Call(func, args, keywords[:i] + keywords[i + 1 :])


def _root(node):
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", None)


def _bound(target, tree):
    """Return whether what is assigned exists without this assignment."""
    if not isinstance(target, ast.Name):
        return not isinstance(target, ast.Tuple)
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == target.id]
    arguments = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    return target.id in arguments or sum(isinstance(n.ctx, ast.Store) for n in names) > 1


def survivors(name, seeds=(0,)):
    """Return the names of an exercise's mutants, and of those that pass on one of the seeds."""
    exercise, names, alive = bank.exercises()[name], [], []
    for right in exercise.rights:
        for mutant, source in mutants(right).items():
            names.append(mutant)
            space = dict(vars(sys.modules[right.__module__]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(source, space)
                if any(_passes(name, space[right.__name__], seed) for seed in seeds):
                    alive.append(mutant)
    return names, alive


def _passes(name, answer, seed):
    exercise = bank.exercises()[name]
    with contextlib.suppress(TimeoutError), _limited():
        return not any(
            comparing.differ(exercise, probe, exercise.drive(answer, probe), expected)
            for probe, expected in _asked(name, seed)
        )
    return False


@cache
def _asked(name, seed):
    exercise = bank.exercises()[name]
    return [(probe, exercise.expected(probe)) for probe in exercise.ask(seed)]


@contextlib.contextmanager
def _limited():
    def late(*_):
        raise TimeoutError("the mutant does not end")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT, 0.1)  # again, should it be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def equivalents(name):
    """Return the mutants of an exercise that no input could tell from a right answer."""
    table = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {mutant for group in table.get(name, ()) for mutant in group["mutants"]}


def main(names, n_seeds):
    total = Counter()
    for name in names:
        start = time.process_time()
        every, alive = survivors(name, range(n_seeds))
        known = equivalents(name)
        explained, share = len(known & set(alive)), 100 * (1 - len(alive) / len(every))
        total.update(every=len(every), alive=len(alive), explained=explained)
        print(
            f"{name:20} {len(every):4} mutants, {share:5.1f} % caught, {len(alive):2} not, "
            f"{explained:2} of them equivalent ({time.process_time() - start:.1f} s)",
            flush=True,
        )
        for mutant in alive:
            if mutant not in known:
                print(f"    passes: {mutant}")
        for mutant in sorted(known - set(alive)):
            print(f"    is caught, or not made any more: {mutant}")
    print(f"{total['every']} mutants, {total['alive']} not caught, {total['explained']} equivalent")


if __name__ == "__main__":
    words = sys.argv[1:]
    number = int(words.pop()) if words and words[-1].isdigit() else 3
    main(words or bank.exercises(), number)
