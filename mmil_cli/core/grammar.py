"""The grammar of --score: `term + term`, a term being an aggregator with arguments, and perhaps an objective.

lse+nl
lse(gamma=10) + nl(gamma=auto)
lse(gamma=learned(start=5, high=20)):infonce(image_to_text=0.75)
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from mmil_cli.errors import UsageError

TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][\w-]*)|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<sign>[+(),=:]))"
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A name with arguments, as it was written.

    Attributes:
        name: of an aggregator, an objective, a critic, or a way to set a scale.
        arguments: what stood in the parentheses; a bare name is a word.
        position: where the name starts in the expression, in characters.
    """

    name: str
    arguments: "dict[str, Value]" = field(default_factory=dict)
    position: int = 0


Value = float | str | Call


@dataclass(frozen=True, kw_only=True)
class TermSpec:
    """One term of a score expression: what pools the instances, and what its scores are trained by."""

    aggregator: Call
    objective: Call | None = None


@dataclass(frozen=True)
class Token:
    """One word, number or sign of an expression, and where it stands."""

    kind: str
    text: str
    position: int


def parse(expression: str) -> tuple[TermSpec, ...]:
    """The terms of a score expression, in order.

    Raises:
        UsageError: pointing at the character where the expression stops making sense.
    """
    return _Parser(expression).expression()


def parse_call(expression: str) -> Call:
    """A single name with arguments, such as `infonce(image_to_text=0.75)`.

    Raises:
        UsageError: pointing at the character where the expression stops making sense.
    """
    return _Parser(expression).single()


def point_at(expression: str, position: int, problem: str) -> UsageError:
    """An error that shows the expression with a caret under the place."""
    return UsageError(f"{problem}\n  {expression}\n  {' ' * position}^")


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = self._tokenise()
        self.cursor = 0

    def expression(self) -> tuple[TermSpec, ...]:
        terms = [self._term()]
        while self._accept("+"):
            terms.append(self._term())
        self._end("expected '+' or the end of the score")
        return tuple(terms)

    def single(self) -> Call:
        call = self._call("expected a name")
        self._end("expected the end")
        return call

    def _term(self) -> TermSpec:
        aggregator = self._call("expected the name of an aggregator, such as lse")
        objective = (
            self._call("expected the name of an objective, such as infonce") if self._accept(":") else None
        )
        return TermSpec(aggregator=aggregator, objective=objective)

    def _call(self, problem: str) -> Call:
        name = self._expect("name", problem)
        arguments: dict[str, Value] = {}
        if self._accept("("):
            self._argument(arguments)
            while self._accept(","):
                self._argument(arguments)
            self._expect(")", "expected ',' or ')'")
        return Call(name=name.text, arguments=arguments, position=name.position)

    def _argument(self, arguments: dict[str, Value]) -> None:
        name = self._expect("name", "expected an argument, such as gamma=10")
        if name.text in arguments:
            raise point_at(self.source, name.position, f"argument {name.text!r} is given twice")
        self._expect("=", f"expected '=' after {name.text!r}")
        number = self._accept("number")
        if number:
            arguments[name.text] = float(number.text)
            return
        value = self._call(f"expected a value for {name.text!r}")
        arguments[name.text] = value if value.arguments else value.name

    def _tokenise(self) -> list[Token]:
        tokens, position, end = [], 0, len(self.source.rstrip())
        while position < end:
            match = TOKEN.match(self.source, position)
            if match is None:
                position = end - len(self.source[position:end].lstrip())
                raise point_at(self.source, position, f"unexpected {self.source[position]!r} in the score")
            kind = match.lastgroup or ""
            text = match.group(kind)
            tokens.append(Token(text if kind == "sign" else kind, text, match.start(kind)))
            position = match.end()
        return [*tokens, Token("end", "", end)]

    def _peek(self) -> Token:
        return self.tokens[self.cursor]

    def _accept(self, kind: str) -> Token | None:
        token = self._peek()
        if token.kind != kind:
            return None
        self.cursor += 1
        return token

    def _expect(self, kind: str, problem: str) -> Token:
        return self._accept(kind) or self._fail(problem)

    def _end(self, problem: str) -> None:
        if self._peek().kind != "end":
            self._fail(problem)

    def _fail(self, problem: str) -> NoReturn:
        raise point_at(self.source, self._peek().position, problem)
