import pytest
import torch

from minimind.model.generate import choose, stream

SAMPLING = {"temperature": 1.0, "top_p": 0.9, "seed": 1}
GREEDY = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "stop_tokens": ()}


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
    logits = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.06, 0.04]))
    generator = torch.Generator().manual_seed(0)
    drawn = [choose(logits, 1.0, 0.85, generator) for _ in range(3000)]
    assert set(drawn) == {0, 1, 2}  # 0.5 + 0.3 do not reach 0.85, 0.1 more does
    assert drawn.count(1) / 3000 == pytest.approx(0.5 / 0.9, abs=0.03)
    assert {choose(logits, 1.0, 0.01, generator) for _ in range(50)} == {1}
    assert {choose(logits, 0.05, 1.0, generator) for _ in range(50)} == {1}


def test_empty_prompt_is_refused(small_model):
    with pytest.raises(ValueError, match="prompt is empty"):
        next(stream(small_model, [], max_new_tokens=1, **SAMPLING))
