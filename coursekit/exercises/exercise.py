"""What an exercise is, and how its two halves, asking and judging, go together."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np

from coursekit.exercises import comparing
from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Answer, Driver, Probe, call

RIGHT, WRONG, OPEN = "right", "wrong", "not attempted yet"
CONFIRM = 2  # further series of questions on which a slip must agree before it is named
Replies = Sequence[tuple[Probe, Answer]]
OTHER_CLASS = "This follows another convention than the one asked for."


@dataclass(frozen=True)
class Code:
    """An answer as a text, which becomes a function or class when it is asked.

    Attributes
    ----------
    name : str
        Of the function or class that it defines.
    title : str
        Which of several answers this is: "by_recursion".
    text : str
    space : dict
        Names that it may use.
    """

    name: str
    title: str
    text: str
    space: Mapping[str, object] = field(default_factory=dict, repr=False)

    @cached_property
    def function(self) -> Callable:
        """What the text defines."""
        space = dict(self.space)
        exec(compile(self.text, f"<{self.title} of {self.name}>", "exec"), space)
        return space[self.name]


@dataclass(frozen=True)
class Slip:
    """A wrong answer that somebody plausibly gives, and what to tell them."""

    code: Code
    sentence: str


@dataclass(frozen=True)
class Variant:
    """Another convention for the same exercise, so that last year's answers do not fit.

    Attributes
    ----------
    sentence : str
        Added to the task: "Here, `rate` is the probability to keep a unit."
    body : str
        The new answer as an expression in the arguments and `plain`, the old one:
        "plain(x, 1 - rate, training)". For a random answer with `facts` it may translate
        inputs only, not the result.
    """

    sentence: str
    body: str


@dataclass(frozen=True)
class Result:
    """The outcome of a check; printed, it is one sentence."""

    name: str
    status: str
    sentence: str
    points: float
    out_of: float

    def __str__(self) -> str:
        told = f"{self.name}: {self.status}" + (f". {self.sentence}" if self.sentence else "")
        return f"{told} ({self.points:g} of {self.out_of:g} points)"


@dataclass
class Exercise:
    """A function or class that a learner writes.

    Attributes
    ----------
    name : str
        Of the function or class.
    lesson : str
        Two digits.
    points : int
        All of them, or none: a function is right or it is not.
    task : str
        Markdown: what it takes with shapes, what it returns, which convention holds.
    signature : str
        As in "(x, rate, training=True)".
    probes : callable
        A NumPy generator to a list of probes, fresh random inputs each time, in the order in which
        they are to be judged: edge cases, values, gradients, statistics.
    reference : callable
        Tested code; gets floating inputs in float64.
    hints : tuple of str
        A ladder, from a question to almost the answer.
    why : str
        Explanation that is shown with the solution.
    kind : {"write", "repair", "read", "derive", "measure", "worked"}
        For "repair", the learner is given the first slip's code. For "read", each slip has one
        reading wrong. "worked" is told and not asked.
    level : int
        1 to 3, shown as stars.
    minutes : int
        That most learners need.
    skill : str
        What one can do afterwards, a few words.
    section : str
        The heading in the lesson that it belongs to.
    example : str
        Markdown with a session (`>>>`) that is true of a right answer.
    given : str
        Code that the learner starts from, where an empty function would not do.
    offers : sequence of str
        Modules of the course that an answer may call, as in "plots".
    picture : callable or None
        No argument; returns a figure, and the words for those who do not see it.
    arrays : {"torch", "numpy"}
        As what array inputs are passed.
    driver : callable or None
        `driver(answer, **inputs)` to named values, for classes and networks.
    facts : callable or None
        For random answers: (inputs, draws (n, ...)) to a list of Fact.
    tolerance : float or None
        Relative to the largest expected number; by default 1e-4 in float32 and 1e-8 in float64.
    variants : tuple of Variant
    rights : list of Code
        The first one is shown as the solution.
    slips : list of Slip
    harmless : frozenset of str
        Small changes of right answers that are right as well, as `mutants` names them.
    variant : Variant or None
        The convention that holds, if not the usual one.
    """

    name: str
    lesson: str
    points: int
    task: str
    signature: str
    probes: Callable[[np.random.Generator], list[Probe]]
    reference: Callable
    hints: tuple[str, ...]
    why: str
    kind: str = "write"
    level: int = 1
    minutes: int = 10
    skill: str = ""
    section: str = ""
    example: str = ""
    given: str = ""
    offers: Sequence[str] = ()
    picture: Callable[[], tuple] | None = None
    arrays: str = "torch"
    driver: Driver | None = None
    facts: Callable[[dict, np.ndarray], list[Fact]] | None = None
    tolerance: float | None = None
    variants: tuple[Variant, ...] = ()
    rights: list[Code] = field(default_factory=list)
    slips: list[Slip] = field(default_factory=list)
    harmless: frozenset[str] = frozenset()
    variant: Variant | None = None

    def adapted(self, answer: Callable) -> Callable:
        """Return an answer of the usual convention in that of this exercise's variant."""
        if self.variant is None:
            return answer
        made = eval(f"lambda plain: lambda {self.signature[1:-1]}: {self.variant.body}", {})
        return made(answer)

    def usual(self, probe: Probe) -> dict[str, object]:
        """Return a probe's inputs in the usual convention, for which `facts` is written."""
        translated = self.adapted(lambda *inputs: inputs)(*probe.inputs.values())
        return dict(zip(probe.inputs, translated, strict=True))

    def ask(self, seed: int) -> list[Probe]:
        """Return fresh probes; equal seeds give equal probes."""
        return self.probes(np.random.default_rng([seed, _number(self.name)]))

    def further(self, seed: int) -> list[Probe]:
        """Return more probes without chance, to tell slips apart that agree on those of `ask`."""
        return [p for n in range(1, CONFIRM + 1) for p in self.ask(seed + n) if not p.draws]

    def drive(self, answer: Callable, probe: Probe) -> Answer:
        """Put a probe to an answer, where the answer runs. Never raises what the answer raises."""
        return call(answer, arrays=self.arrays, driver=self.driver, probe=probe)

    def judge(self, probes: Sequence[Probe], answers: Sequence[Answer]) -> Result:
        """Judge the replies to probes; sees arrays only, never the answer itself.

        Parameters
        ----------
        probes : sequence of Probe
        answers : sequence of Answer
            Of equal length; may be shorter when an answer was cut off, and is then wrong.

        Returns
        -------
        Result
        """
        replies = list(zip(probes, answers, strict=False))
        for probe, answer in replies:
            result = self.judge_one(probe, answer, lambda: replies)
            if result.status != RIGHT:
                return result
        if len(answers) < len(probes):
            return self._result(WRONG, "It stopped before all questions were answered.")
        return self._result(RIGHT, "")

    def judge_one(
        self, probe: Probe, answer: Answer, others: Callable[[], Replies] = tuple
    ) -> Result:
        """Judge the reply to one probe.

        Parameters
        ----------
        probe : Probe
        answer : Answer
        others : callable
            Returns the replies to other probes, as of `further`, which tell slips apart; called
            only if this reply is wrong, and as a known slip would have it.

        Returns
        -------
        Result
        """
        bare = not (answer.error and answer.error["message"])  # a library says what it lacks
        if answer.error and answer.error["type"] == "NotImplementedError" and bare:
            return self._result(OPEN, "")
        if any(value.kind == "ellipsis" for value in answer.values.values()):
            return self._result(OPEN, "")
        expected = self.expected(probe)
        finding = comparing.differ(self, probe, answer, expected)
        if not finding:
            return self._result(RIGHT, "")
        if self.kind == "read" and (said := self.misread(answer, expected)):
            return self._result(WRONG, said)
        slip = self.recognize(probe, answer, expected, others)
        return self._result(WRONG, f"{finding} {slip}".strip())

    def check(self, answer: Callable, seed: int = 0) -> Result:
        """Ask, drive and judge in one go; stops at the first reply that is wrong."""
        if isinstance(answer, str) or not callable(answer):
            kind = "class" if self.is_class else "function"
            got = type(answer).__name__
            return self._result(WRONG, f"Expected a {kind}, got {got}: pass it without brackets.")
        probes = self.ask(seed)

        def others() -> Replies:
            return [(other, self.drive(answer, other)) for other in [*probes, *self.further(seed)]]

        for probe in probes:
            result = self.judge_one(probe, self.drive(answer, probe), others)
            if result.status != RIGHT:
                return result
        return self._result(RIGHT, "")

    def expected(self, probe: Probe) -> Answer:
        """Return what the reference replies, computed in float64."""
        raised = {k: _float64(v) for k, v in probe.inputs.items()}
        asked = Probe(probe.name, raised, probe.gradient, probe.draws, probe.seed)
        answer = self.drive(self.adapted(self.reference), asked)
        if answer.error:
            raise RuntimeError(f"the reference of {self.name} failed on {probe.name}: {answer}")
        return answer

    def recognize(
        self,
        probe: Probe,
        answer: Answer,
        expected: Answer,
        others: Callable[[], Replies] = tuple,
    ) -> str:
        """Return the sentence of the wrong answer that replies like this one, or "".

        It must be wrong on the probe itself, and reply alike on all `others`.
        """
        if comparing.FINDING in answer.values:  # no slip of the bank says it better
            return ""
        replies = None
        for slip, sentence in self.known_slips():
            reply = self.drive(slip, probe)
            alike = comparing.alike(self, probe, answer, reply)
            if not (alike and comparing.differ(self, probe, reply, expected)):
                continue
            replies = others() if replies is None else replies
            if all(
                other is probe or comparing.alike(self, other, told, self.drive(slip, other))
                for other, told in replies
            ):
                return sentence
        return ""

    def misread(self, answer: Answer, expected: Answer) -> str:
        """Return what speaks against the first wrong reading; it does not tell the right one."""
        for slip in self.slips:
            reply = self.drive(slip.code.function, Probe("the picture", {}))
            for name, value in reply.values.items():
                off = not comparing.equal(value, expected.values[name])
                if off and comparing.equal(value, answer.values.get(name)):
                    return slip.sentence
        for name, value in expected.values.items():
            got = answer.values.get(name)
            if got and got.kind == "text" and not comparing.equal(got, value):
                return f"On the picture, {name}: expected one of the options."
        return ""

    def known_slips(self) -> list[tuple[Callable, str]]:
        """Return the wrong answers in the convention of this variant, each with its sentence."""
        slips = [(self.adapted(slip.code.function), slip.sentence) for slip in self.slips]
        if self.variant is not None:
            # First, as a slip in the usual convention may be right in this one.
            usual = f"{OTHER_CLASS} {self.variant.sentence}"
            slips.insert(0, (self.rights[0].function, usual))
        return slips

    @property
    def is_class(self) -> bool:
        if self.rights:
            return inspect.isclass(self.rights[0].function)
        return self.name[0].isupper()

    def _result(self, status: str, sentence: str) -> Result:
        points = self.points if status == RIGHT else 0
        return Result(self.name, status, sentence, points, self.points)


def choose(exercise: Exercise, key: str | None) -> Variant | None:
    """Return the variant that a class key picks; no key, the usual convention."""
    if not key or not exercise.variants:
        return None
    choices = (None, *exercise.variants)
    return choices[_number(f"{key}/{exercise.name}") % len(choices)]


def _float64(value: object) -> object:
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if floating else value


def _number(text: str) -> int:
    return int(sha256(text.encode()).hexdigest()[:8], 16)
