"""The grammar of --score: `term + term`, a term being `name` or `name(argument=value, ...)`.

lse+nl
lse(gamma=10) + nl(gamma=5)
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from mmil_cli.errors import UsageError

TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][\w-]*)|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)|(?P<sign>[+(),=]))"
)


@dataclass(frozen=True, kw_only=True)
class TermSpec:
    """One term of a score expression as it was written.

    Attributes:
        name: registered name of the aggregator.
        arguments: what stood in the parentheses.
        position: where the term starts in the expression, in characters.
    """

    name: str
    arguments: dict[str, float | str] = field(default_factory=dict)
    position: int = 0


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
        if self._peek().kind != "end":
            self._fail("expected '+' or the end of the score")
        return tuple(terms)

    def _term(self) -> TermSpec:
        name = self._expect("name", "expected the name of an aggregator, such as lse")
        arguments: dict[str, float | str] = {}
        if self._accept("("):
            self._argument(arguments)
            while self._accept(","):
                self._argument(arguments)
            self._expect(")", "expected ',' or ')'")
        return TermSpec(name=name.text, arguments=arguments, position=name.position)

    def _argument(self, arguments: dict[str, float | str]) -> None:
        name = self._expect("name", "expected an argument, such as gamma=10")
        if name.text in arguments:
            raise point_at(self.source, name.position, f"argument {name.text!r} is given twice")
        self._expect("=", f"expected '=' after {name.text!r}")
        value = self._peek()
        if value.kind not in ("number", "name"):
            self._fail(f"expected a value for {name.text!r}")
        self.cursor += 1
        arguments[name.text] = float(value.text) if value.kind == "number" else value.text

    def _tokenise(self) -> list[Token]:
        tokens, position, end = [], 0, len(self.source.rstrip())
        while position < end:
            match = TOKEN.match(self.source, position)
            if match is None:
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

    def _fail(self, problem: str) -> NoReturn:
        raise point_at(self.source, self._peek().position, problem)
