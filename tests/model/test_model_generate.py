import pytest
import torch

from minimind.model import generate as generation
from minimind.model.generate import choose, generate, stream

SAMPLING = {"temperature": 1.0, "top_p": 0.9, "seed": 1}
GREEDY = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "stop_tokens": ()}
BATCH_GREEDY = {"temperature": 0.0, "top_p": 1.0, "stop_tokens": ()}


def test_greedy_stream_takes_the_likeliest_token_of_a_full_recomputation(small_model):
    tokens = [0, 5, 9]
    for token in stream(small_model, tokens, max_new_tokens=20, **GREEDY):
        with torch.inference_mode():
            assert token == int(small_model(torch.tensor([tokens]))[0, -1].argmax())
        tokens = [*tokens, token]
    assert len(tokens) == 23


def test_stream_beyond_the_positions_goes_on_with_the_newest_half_of_the_window(small_model):
    prompt = [0, 5, 9]
    tokens = prompt + list(stream(small_model, prompt, max_new_tokens=60, **GREEDY))
    assert len(tokens) == 63
    begin = 0
    for end in range(3, 63):
        if end - begin > 24:
            begin = end - 12
        with torch.inference_mode():
            assert tokens[end] == int(small_model(torch.tensor([tokens[begin:end]]))[0, -1].argmax())


def test_prompt_longer_than_the_window_is_read_from_its_end(small_model):
    prompt = [0, *range(1, 40)]
    assert list(stream(small_model, prompt, max_new_tokens=3, **GREEDY)) == list(
        stream(small_model, prompt[-24:], max_new_tokens=3, **GREEDY)
    )


def test_stream_ends_before_a_stop_token(small_model):
    tokens = list(stream(small_model, [0], max_new_tokens=20, **GREEDY))
    stop = tokens[7]
    expected = tokens[: tokens.index(stop)]
    assert list(stream(small_model, [0], max_new_tokens=20, **GREEDY | {"stop_tokens": (stop,)})) == expected


def test_same_seed_gives_the_same_text(small_model):
    first, again, other = (
        list(stream(small_model, [0], max_new_tokens=15, **SAMPLING | {"seed": seed, "stop_tokens": ()}))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_draws_follow_the_probabilities_within_top_p():
    logits = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.06, 0.04])).expand(3000, -1)
    chances = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    drawn = choose(logits, 1.0, 0.85, chances).tolist()
    assert set(drawn) == {0, 1, 2}  # 0.5 + 0.3 do not reach 0.85, 0.1 more does
    assert drawn.count(1) / 3000 == pytest.approx(0.5 / 0.9, abs=0.03)
    assert set(choose(logits[:50], 1.0, 0.01, chances[:50]).tolist()) == {1}
    assert set(choose(logits[:50], 0.05, 1.0, chances[:50]).tolist()) == {1}
    assert choose(logits[:1], 1.0, 1.0, torch.ones(1)).item() in range(5)
    for next_to_nothing in (0.0, 1e-310, 1e-39, 1e-37):
        assert set(choose(logits[:50], next_to_nothing, 1.0, chances[:50]).tolist()) == {1}


def test_draw_is_the_same_whether_all_tokens_are_sorted_or_the_likeliest(monkeypatch):
    """Some rows have their nucleus among the 8 likeliest tokens, some do not."""
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(64, 97, generator=random) * torch.linspace(0.1, 6, 64)[:, None]
    chances = torch.rand(64, generator=random)
    whole = choose(logits, 1.0, 0.9, chances)
    monkeypatch.setattr(generation, "LIKELIEST", 8)
    assert torch.equal(choose(logits, 1.0, 0.9, chances), whole)


def test_empty_prompt_is_refused(small_model):
    with pytest.raises(ValueError, match="prompt is empty"):
        next(stream(small_model, [], max_new_tokens=1, **SAMPLING))


PROMPTS = [[0], [0, 5, 9], [0, *range(1, 20)], [0, *range(1, 40)], [0, 7]]


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("drawing", [{"temperature": 0.0, "top_p": 1.0}, {"temperature": 1.0, "top_p": 0.9}])
def test_batch_gives_the_tokens_of_one_by_one_decoding(small_model, rows, drawing):
    """Prompts of different lengths, one longer than the window; all go on beyond it, and stop at different places."""
    seeds, stop = [3, 4, 5, 6, 7], (11, 12, 13)
    alone = [
        list(stream(small_model, prompt, max_new_tokens=40, seed=seed, stop_tokens=stop, **drawing))
        for prompt, seed in zip(PROMPTS, seeds, strict=True)
    ]
    together = generate(small_model, PROMPTS, max_new_tokens=40, seeds=seeds, stop_tokens=stop, rows=rows, **drawing)
    assert [made.tokens for made in together] == alone
    assert [made.ended for made in together] == [len(tokens) < 40 for tokens in alone]
    if drawing["temperature"]:
        assert len({len(tokens) for tokens in alone}) > 2


def test_log_probabilities_are_those_of_a_full_recomputation(small_model):
    """Of the model itself, not of what temperature and top_p make of it."""
    made = generate(
        small_model, PROMPTS[:2], max_new_tokens=10, seeds=[1, 2], temperature=2.0, top_p=0.5, stop_tokens=(),
        log_probabilities=True,
    )  # fmt: skip
    for prompt, generated in zip(PROMPTS, made, strict=False):
        tokens = [*prompt, *generated.tokens]
        with torch.inference_mode():
            scores = torch.log_softmax(small_model(torch.tensor([tokens])).double(), dim=-1)[0]
        expected = [scores[place - 1, tokens[place]].item() for place in range(len(prompt), len(tokens))]
        assert generated.log_probabilities == pytest.approx(expected, abs=1e-4)


def test_a_text_ends_where_its_caller_says(small_model):
    whole = generate(small_model, PROMPTS, max_new_tokens=9, seeds=[0] * 5, **BATCH_GREEDY)
    cut = generate(
        small_model, PROMPTS, max_new_tokens=9, seeds=[0] * 5, **BATCH_GREEDY, ends=lambda tokens: len(tokens) == 4
    )
    assert [made.tokens for made in cut] == [made.tokens[:4] for made in whole]
    assert all(made.ended for made in cut)
    assert not any(made.ended for made in whole)


def test_nothing_to_continue_gives_nothing(small_model):
    assert generate(small_model, [], max_new_tokens=5, seeds=[], **BATCH_GREEDY) == []
    with pytest.raises(ValueError, match="as many seeds"):
        generate(small_model, [[0]], max_new_tokens=5, seeds=[], **BATCH_GREEDY)
