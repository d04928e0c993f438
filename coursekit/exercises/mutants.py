"""Right answers with one small thing changed: what a check lets pass, it does not check.

A mutant that no input could tell from the right answer stands in the exercise's file, under
"Harmless changes", with the reason.
"""

import ast
import contextlib
import copy
import signal
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

from coursekit.exercises import comparing
from coursekit.exercises.driving import Answer, Probe
from coursekit.exercises.exercise import Code, Exercise

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


def mutants(right: Code) -> dict[str, str]:
    """Return the mutants of a right answer: name, which tells the line that changed, to source."""
    tree = ast.parse(right.text)
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
                name = f"{right.title}: {line.splitlines()[0]}"
                seen[name] += 1
                sources[f"{name} ({seen[name]})" if seen[name] > 1 else name] = source
    return sources


def _changes(node: ast.AST, tree: ast.AST) -> Iterator[ast.AST]:
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


def _calls(node: ast.Call) -> Iterator[ast.AST]:
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


def _root(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", None)


def _bound(target: ast.AST, tree: ast.AST) -> bool:
    """Return whether what is assigned exists without this assignment."""
    if not isinstance(target, ast.Name):
        return not isinstance(target, ast.Tuple)
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == target.id]
    arguments = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    return target.id in arguments or sum(isinstance(n.ctx, ast.Store) for n in names) > 1


def survivors(exercise: Exercise, seeds: Sequence[int] = (0,)) -> tuple[list[str], list[str]]:
    """Return the names of an exercise's mutants, and of those that pass on one of the seeds."""
    names, alive = [], []
    asked = [[(probe, exercise.expected(probe)) for probe in exercise.ask(seed)] for seed in seeds]
    for right in exercise.rights:
        for mutant, source in mutants(right).items():
            names.append(mutant)
            space = dict(right.space)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(source, space)
                if any(_passes(exercise, space[exercise.name], probes) for probes in asked):
                    alive.append(mutant)
    return names, alive


def _passes(exercise: Exercise, answer: object, asked: list[tuple[Probe, Answer]]) -> bool:
    with contextlib.suppress(TimeoutError), _limited():
        return not any(
            comparing.differ(exercise, probe, exercise.drive(answer, probe), expected)
            for probe, expected in asked
        )
    return False


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):  # on Windows nothing ends an endless mutant
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError("the mutant does not end")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT, 0.1)  # again, should it be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
