"""Completions as a registered model answers them: what may be asked for, and what comes back.

Travels with every packed model, hence knows neither MLflow nor the rest of the registry.
"""

import math
import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tokenizers import Tokenizer

from minimind.errors import RequestError
from minimind.model.generate import ROWS, Generation, generate
from minimind.model.transformer import Transformer
from minimind.tokenizer.bpe import END_OF_TEXT_ID

DEFAULTS: dict[str, Any] = {
    "max_new_tokens": 128,
    "temperature": 0.8,
    "top_p": 0.95,
    "seed": 0,
    "stop": [],
    "log_probabilities": False,
}


@dataclass(frozen=True)
class Limits:
    """Of one request, lest it occupy a server for long; `rows` prompts are continued at once."""

    max_prompts: int = 256
    max_new_tokens: int = 4096
    rows: int = ROWS

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (_is_whole(value) and value >= 1):
                raise RequestError(f"{name} is {value!r} in the model's configuration; expected 1 or more")


@dataclass(frozen=True)
class Completion:
    text: str  # without the prompt, and without what stopped it
    finish_reason: Literal["stop", "length"]  # the model or a stop text ended it; max_new_tokens did
    tokens: list[str]  # that `text` comes from; half a character is U+FFFD
    token_ids: list[int]
    log_probabilities: list[float]  # ln p of each token, as the model has it, whatever the temperature; or empty


def complete(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Any], params: Mapping[str, Any], limits: Limits
) -> list[Completion]:
    """One completion a prompt, all drawn from the same seed, so that none depends on where it stands in the request.

    Raises RequestError, which names every problem, before anything is computed.
    """
    options = DEFAULTS | dict(params)
    texts, problems = _checked_prompts(prompts, limits)
    ids = [[END_OF_TEXT_ID, *tokenizer.encode(text).ids] for text in texts]
    problems += _context_problems(ids, model.config.max_positions)
    problems += _parameter_problems(options, limits)
    if problems:
        raise RequestError("; ".join(problems))
    stops = list(options["stop"])
    made = generate(
        model,
        ids,
        max_new_tokens=int(options["max_new_tokens"]),
        temperature=float(options["temperature"]),
        top_p=float(options["top_p"]),
        seeds=[int(options["seed"])] * len(ids),
        ends=_stop_detector(tokenizer, stops),
        log_probabilities=options["log_probabilities"],
        rows=limits.rows,
    )
    return [_completion(tokenizer, generation, stops) for generation in made]


# --- what is wrong with a request -------------------------------------------------------------------------------------


def _checked_prompts(prompts: Sequence[Any], limits: Limits) -> tuple[list[str], list[str]]:
    """The prompts, if all are texts, and the problems."""
    if len(prompts) > limits.max_prompts:
        return [], [
            f"{len(prompts)} prompts are more than the {limits.max_prompts} of one request; send them in several"
        ]
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str):
            missing = prompt is None or prompt != prompt  # pandas makes NaN of null
            return [], [f"prompt {number} is {'missing' if missing else reprlib.repr(prompt)}; expected a text"]
        if not _is_unicode(prompt):
            return [], [f"prompt {number} holds half a character, which is no Unicode; expected a text"]
    return list(prompts), []


def _context_problems(prompts: Sequence[Sequence[int]], max_positions: int) -> list[str]:
    for number, ids in enumerate(prompts, 1):
        if len(ids) > max_positions:
            return [
                f"prompt {number} has {len(ids)} tokens with the one that begins a document, the model's context "
                f"holds {max_positions}; shorten it"
            ]
    return []


def _parameter_problems(options: Mapping[str, Any], limits: Limits) -> list[str]:
    expected: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "max_new_tokens": (
            f"a whole number from 1 to {limits.max_new_tokens}",
            lambda value: _is_whole(value) and 1 <= value <= limits.max_new_tokens,
        ),
        "temperature": (
            "0 (the likeliest token) or more",
            lambda value: _is_number(value) and 0 <= value < math.inf,
        ),
        "top_p": ("more than 0, at most 1", lambda value: _is_number(value) and 0 < value <= 1),
        "seed": ("a whole number from 0 to 2^63 - 1", lambda value: _is_whole(value) and 0 <= value < 2**63),
        "stop": ("a list of texts, none of them empty", _are_stops),
        "log_probabilities": ("true or false", lambda value: isinstance(value, bool)),
    }
    wrong = [
        f"{name} is {reprlib.repr(options[name])}; expected {said}"
        for name, (said, holds) in expected.items()
        if not holds(options[name])
    ]
    unknown = sorted(map(str, options.keys() - expected.keys()))
    return wrong + [f"{name} is no parameter; there are {', '.join(expected)}" for name in unknown]


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _are_stops(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(stop, str) and stop and _is_unicode(stop) for stop in value)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


# --- stop texts -------------------------------------------------------------------------------------------------------


def _stop_detector(tokenizer: Tokenizer, stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Whether the newest token completes a stop text: a token is a byte or more, so that few need to be read again."""
    reach = max((len(stop.encode()) for stop in stops), default=0)

    def ends(tokens: Sequence[int]) -> bool:
        if not stops:
            return False
        end = tokenizer.decode(list(tokens[-reach:]))
        return any(stop in end for stop in stops)

    return ends


def _completion(tokenizer: Tokenizer, generation: Generation, stops: Sequence[str]) -> Completion:
    ids = list(generation.tokens)
    whole: str = tokenizer.decode(ids)
    text = whole[: min((place for stop in stops if (place := whole.find(stop)) >= 0), default=len(whole))]
    while ids and text != whole and tokenizer.decode(ids[:-1]).startswith(text):
        ids.pop()
    return Completion(
        text=text,
        finish_reason="stop" if generation.ended or text != whole else "length",
        tokens=[tokenizer.decode([token]) for token in ids],
        token_ids=ids,
        log_probabilities=generation.log_probabilities[: len(ids)],
    )
