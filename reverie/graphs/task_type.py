"""What kind of question it is, by rules that anyone can read.

The kind is one feature of the learned selection beside the question's embedding, and says which
reasoning templates have been tried on questions like it. Rules know English, and the commonest
words of German, French and Spanish; a question that no rule knows is ``other``.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

TaskType = Literal[
    "arithmetic", "counting", "ordering", "logic", "code", "causal", "factual", "other"
]

TASK_TYPES: Final[tuple[TaskType, ...]] = get_args(TaskType)


def task_type(question: str) -> TaskType:
    """The first kind whose rule matches; rules go from the most telling to the least."""
    text = question[:_READ].casefold()
    # With two numbers to work with, "how many" asks for a sum, otherwise for a count.
    how_many: TaskType = "arithmetic" if len(_NUMBER.findall(text)) >= 2 else "counting"
    rules: tuple[tuple[re.Pattern[str], TaskType], ...] = (
        (_CODE, "code"),
        (_LOGIC, "logic"),
        (_ORDERING, "ordering"),
        (_COUNTING, "counting"),
        (_EXPRESSION, "arithmetic"),
        (_CALCULATION, "arithmetic"),
        (_HOW_MANY, how_many),
        (_CAUSAL, "causal"),
        (_FACTUAL, "factual"),
    )
    return next((kind for pattern, kind in rules if pattern.search(text)), "other")


_READ = 4000
"""Characters: a question says early what it is."""


def _words(*patterns: str) -> re.Pattern[str]:
    """Any of the patterns, as whole words."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)")


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

# Multiplication, division and minus signs as mathematicians write them, beside those of keyboards.
_SIGNS = "-+*/^=\u00d7\u00f7\u00b7\u2212"
_EXPRESSION = re.compile(rf"\d\s*[{_SIGNS}]+\s*[-(]?\s*(?:\d|[a-z]\b)|\d\s*%|\u221a\s*\d")

_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[:({]|#include\b|\bselect\b.+\bfrom\b.+|\bconsole\.log\b|=>\s*\{"
    r"|(?<!\w)(?:python|javascript|typescript|java|rust|golang|sql|bash|regex|c\+\+)(?!\w)"
    r"|(?<!\w)(?:source code|programs?|programm|programme|programa|stack trace|compil\w*)(?!\w)"
    r"|(?<!\w)(?:write|implement|debug|schreibe|écris|escribe)\b.{0,30}"
    r"(?:function|script|method|funktion|fonction|función)(?!\w)"
)

_LOGIC = _words(
    r"true or false",
    r"premises?",
    r"syllogism\w*",
    r"logical\w*",
    r"implies",
    r"entails?",
    r"contradict\w*",
    r"knights? and knaves?",
    r"liars?",
    r"always lies?",
    r"if and only if",
    r"does it follow",
    r"what can (?:we|you|be) conclude\w*",
    r"all \w+ are \w+",
    r"no \w+ are \w+",
    r"some \w+ are \w+",
    r"alle \w+ sind \w+",
    r"folgt daraus",
    r"wahr oder falsch",
    r"vrai ou faux",
    r"tous les \w+ sont",
    r"verdadero o falso",
    r"todos los \w+ son",
)

_ORDERING = _words(
    r"sort\w*",
    r"ascending",
    r"descending",
    r"alphabetical\w*",
    r"in (?:the right |the correct |chronological |increasing |decreasing )?order",
    r"rank(?:ed|ing)?",
    r"(?:smallest|lowest|shortest|oldest|youngest) to \w+",
    r"(?:largest|highest|longest|biggest) to \w+",
    r"ordne\w*",
    r"sortier\w*",
    r"reihenfolge",
    r"tri(?:e|er|ez)",
    r"par ordre",
    r"orden(?:a|ar|e)",
)

_COUNTING = _words(
    r"count (?:the|how|all|up)\b",
    r"count\w* (?:of|from)",
    r"number of (?:times|occurrences|letters|words|vowels|characters)",
    r"how many (?:times|letters|words|vowels|consonants|characters|digits|legs)",
    r"how many \w's",
    r"wie oft",
    r"wie viele (?:buchstaben|wörter|male|beine)",
    r"zähle\w*",
    r"combien de (?:fois|lettres|mots)",
    r"cu[aá]ntas (?:veces|letras|palabras)",
)

_CALCULATION = _words(
    r"calculate",
    r"compute",
    r"evaluate",
    r"simplify",
    r"solve (?:for|the equation)",
    r"sum of",
    r"product of",
    r"\w+ (?:plus|minus) (?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)",
    r"times \d+",
    r"divided by",
    r"multiplied by",
    r"square root",
    r"prime factor\w*",
    r"greatest common divisor",
    r"least common multiple",
    r"gcd",
    r"lcm",
    r"percent(?:age)? of",
    r"how much .*\d.*",
    r"what is the (?:total|remainder|average)",
    r"berechne\w*",
    r"rechne\w*",
    r"geteilt durch",
    r"summe",
    r"calcule[rz]?",
    r"calcula\w*",
    r"divisé par",
    r"dividido (?:por|entre)",
)

_HOW_MANY = _words(r"how many", r"how much", r"wie ?viele?", r"combien", r"cu[aá]nt[oa]s?")

_CAUSAL = _words(
    r"what (?:will |would |might |could )?happens?",
    r"what if",
    r"why",
    r"what (?:causes?|caused)",
    r"because of what",
    r"consequences? of",
    r"effects? of",
    r"lead to",
    r"how come",
    r"was passiert",
    r"was geschieht",
    r"warum",
    r"wieso",
    r"weshalb",
    r"pourquoi",
    r"que se passe",
    r"qu'arrive",
    r"por qu[eé]",
    r"qu[eé] (?:pasa|sucede|ocurre)",
)

_FACTUAL = _words(
    r"who(?:se|m)?",
    r"when",
    r"where",
    r"which",
    r"what(?: is|'s| are| was| were)?",
    r"capital of",
    r"how (?:old|tall|long|far|big|high|deep|heavy)",
    r"name (?:the|a|one|two|three)",
    r"define",
    r"wer",
    r"wann",
    r"wo",
    r"welche\w*",
    r"was (?:ist|sind|war)",
    r"qui",
    r"quand",
    r"où",
    r"quel(?:le)?s?",
    r"qu[eé] es",
    r"qui[eé]n",
    r"cu[aá]ndo",
    r"d[oó]nde",
    r"cu[aá]l(?:es)?",
)
