import json
import math

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind.config import TaskConfig
from minimind.errors import UserError
from minimind.evaluation import overlap
from minimind.evaluation.build import EvaluationInputs, build
from minimind.evaluation.holdout import read_holdout
from minimind.evaluation.references import make_dictionary, xz_bytes, zstd_bytes
from minimind.evaluation.samples import all_prompts, write_samples
from minimind.model.generate import stream
from minimind.model.hugging_face import load_model
from minimind.tokenizer.bpe import load_tokenizer


@pytest.fixture
def evaluation(training, shards, cleaning, section, store):
    return build(section, EvaluationInputs(training, shards, cleaning), store)


def test_counts_are_those_of_the_documents(evaluation, cleaning):
    counts = evaluation.counts
    table = pq.read_table(evaluation.file("documents.parquet"))
    columns = {name: table[name].to_numpy() for name in ("text_bytes", "tokens", "nats", "xz_bytes", "zstd_bytes")}
    assert counts["documents"] == table.num_rows == 9
    assert counts["bytes"] == columns["text_bytes"].sum() == cleaning.counts["holdout_bytes"]
    assert counts["tokens"] == columns["tokens"].sum()
    assert counts["loss"] == pytest.approx(columns["nats"].sum() / counts["tokens"])
    assert counts["bits_per_byte"] == pytest.approx(columns["nats"].sum() / math.log(2) / counts["bytes"])
    for name in ("xz", "zstd"):
        assert counts[f"{name}_bits_per_byte"] == pytest.approx(8 * columns[f"{name}_bytes"].sum() / counts["bytes"])


def test_references_are_computed_over_the_same_documents(evaluation, cleaning):
    texts = [document.text.encode() for document in read_holdout(cleaning.file("holdout.parquet"), 4_000_000).documents]
    table = pq.read_table(evaluation.file("documents.parquet"))
    dictionary = make_dictionary(cleaning.file("train.parquet"))
    assert table["xz_bytes"].to_pylist() == xz_bytes(texts).tolist()
    assert table["zstd_bytes"].to_pylist() == zstd_bytes(texts, dictionary).tolist()
    assert dictionary.kind in evaluation.details["references"]["zstd"]


def test_sources_agree_with_the_total(evaluation):
    sources, counts = evaluation.details["sources"], evaluation.counts
    assert set(sources) == {"law", "tax"}
    for name in ("documents", "bytes", "tokens"):
        assert sum(source[name] for source in sources.values()) == counts[name]
    for name in ("bits_per_byte", "xz_bits_per_byte", "zstd_bits_per_byte"):
        assert sum(source[name] * source["bytes"] for source in sources.values()) / counts["bytes"] == pytest.approx(
            counts[name]
        )
    assert sum(source["loss"] * source["tokens"] for source in sources.values()) / counts["tokens"] == pytest.approx(
        counts["loss"]
    )


def test_files_say_what_the_manifest_says(evaluation):
    results = json.loads(evaluation.file("evaluation.json").read_text())
    assert results["model"]["bits_per_byte"] == evaluation.counts["bits_per_byte"]
    assert results["sources"] == evaluation.details["sources"]
    assert json.loads(evaluation.file("samples.json").read_text()) == evaluation.details["samples"]
    assert evaluation.counts["generated_tokens_per_second"] > 0
    assert evaluation.details["device"] == "cpu"


def test_files_have_the_same_bytes_when_built_again(evaluation, training, shards, cleaning, section, store):
    (evaluation.path / "manifest.json").unlink()
    again = build(section, EvaluationInputs(training, shards, cleaning), store)
    assert not again.reused
    assert again.files == evaluation.files


def test_samples_come_from_the_prompts_and_from_holdout_beginnings(evaluation, cleaning):
    samples = evaluation.details["samples"]
    assert [sample["kind"] for sample in samples] == ["prompt", "prompt", "holdout", "holdout"]
    assert [sample["prompt"] for sample in samples[:2]] == ["bada", "Ä"]
    texts = {
        document.document_id: document.text
        for document in read_holdout(cleaning.file("holdout.parquet"), 4_000_000).documents
    }
    for sample in samples[2:]:
        assert texts[sample["document_id"]].startswith(sample["prompt"] + sample["original"])


def test_samples_are_what_stream_yields_for_the_seed(evaluation, training, sampling):
    folder = training.path / "model"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    for number, sample in enumerate(evaluation.details["samples"]):
        ids = list(
            stream(
                model,
                [0, *tokenizer.encode(sample["prompt"]).ids],
                max_new_tokens=12,
                temperature=0.8,
                top_p=0.95,
                seed=7 + number,
            )
        )
        assert sample["text"] == tokenizer.decode(ids, skip_special_tokens=False)
        assert (sample["tokens"], sample["ended"]) == (len(ids), len(ids) < 12)


def test_another_seed_gives_other_samples(training, cleaning, sampling):
    folder = training.path / "model"
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    prompts = all_prompts(sampling, read_holdout(cleaning.file("holdout.parquet"), 4_000_000).documents)
    texts = []
    for seed in (7, 7, 8):
        section = sampling.model_copy(update={"seed": seed})
        texts.append([sample.text for sample in write_samples(model, tokenizer, prompts, section)])
    assert texts[0] == texts[1] != texts[2]


@pytest.fixture
def everything(section, tmp_path):
    (tmp_path / "bar.jsonl").write_text('{"question": "bada", "choices": ["fel", "gu"], "answer": 0}\n')
    parts = {"questions": 3, "memorisation_passages": 2, "generations": 3, "speed_tokens": 2, "stride_ratio": 0.5}
    return section.model_copy(update=parts | {"tasks": [TaskConfig(name="bar", path=str(tmp_path / "bar.jsonl"))]})


def test_every_part_has_figures_of_stable_names_and_the_same_bytes_again(everything, training, shards, cleaning, store):
    evaluation = build(everything, EvaluationInputs(training, shards, cleaning), store)
    assert {
        "bits_per_byte", "bits_per_byte_low", "bits_per_byte_high", "leaked_documents", "sources/law/bits_per_byte_low",
        "lengths/from_0_bytes/bits_per_byte", "positions/from_256_bytes/bits_per_byte",
        "generated_questions/continuation/accuracy_low", "tasks/bar/accuracy", "memorisation/training_share",
        "personal_data/texts_share_high", "degeneration/degenerate_share", "first_token_seconds",
        "generated_tokens_per_second", "batched_tokens_per_second", "weights_bytes", "generation_memory_bytes",
        "samples_repeated_4_grams", "memorisation/holdout_share",
    } <= evaluation.counts.keys()  # fmt: skip
    assert "sources/tax/bits_per_byte_low" not in evaluation.counts  # of three documents
    assert all(math.isfinite(value) for value in evaluation.counts.values())
    (evaluation.path / "manifest.json").unlink()
    assert build(everything, EvaluationInputs(training, shards, cleaning), store).files == evaluation.files


def test_memorisation_is_asked_of_what_the_plan_has_read(section, training, shards, cleaning, store):
    """Three sequences of 33 tokens, and passages of 32 in each: of all of the training text there are thousands."""
    section = section.model_copy(update={"memorisation_passages": 50})
    counts = build(section, EvaluationInputs(training, shards, cleaning), store).counts
    assert counts["memorisation/holdout_passages"] == 50
    assert 1 <= counts["memorisation/training_passages"] <= 6


def test_another_order_of_training_builds_the_evaluation_anew(section, training, shards, cleaning, store):
    evaluation = build(section, EvaluationInputs(training, shards, cleaning), store)
    other = training.model_copy(update={"files": {**training.files, "plan.json": training.files["model/config.json"]}})
    assert build(section, EvaluationInputs(other, shards, cleaning), store).path != evaluation.path


def test_another_file_of_questions_builds_the_evaluation_anew(everything, training, shards, cleaning, store):
    evaluation = build(everything, EvaluationInputs(training, shards, cleaning), store)
    with open(everything.tasks[0].path, "a") as file:
        file.write('{"question": "gu", "choices": ["fel", "gu"], "answer": 1}\n')
    again = build(everything, EvaluationInputs(training, shards, cleaning), store)
    assert (evaluation.counts["tasks/bar/questions"], again.counts["tasks/bar/questions"]) == (1, 2)


def test_region_of_phone_numbers_builds_the_evaluation_anew(section, training, shards, cleaning, store):
    evaluation = build(section, EvaluationInputs(training, shards, cleaning), store)
    other = cleaning.model_copy(update={"config": {"personal_data": {"phone_region": "FR"}}})
    assert not build(section, EvaluationInputs(training, shards, other), store).reused
    assert build(section, EvaluationInputs(training, shards, cleaning), store).path == evaluation.path


def test_planted_leaks_are_left_out_and_named(training, shards, make_cleaning, sentences, section, store):
    """One holdout document stands inside a training document, in other case; the registered model remembers."""
    leaked = sentences(900, 200)
    train = {"law/1": f"{sentences(901, 300)} {leaked.upper()} {sentences(902, 300)}", "law/2": sentences(903, 300)}
    cleaning = make_cleaning(train, {"law/a": sentences(904, 200), "law/b": leaked, "law/c": sentences(905, 200)})
    evaluation = build(section, EvaluationInputs(training, shards, cleaning), store)
    assert evaluation.counts["leaked_documents"] == 1
    assert [row["document_id"] for row in evaluation.details["leaks"]["left_out"]] == ["law/b"]
    assert pq.read_table(evaluation.file("documents.parquet"))["document_id"].to_pylist() == ["law/a", "law/c"]
    assert evaluation.counts["documents"] == 2
    with pytest.raises(UserError, match=r"all 1 holdout documents share more than 0\.5 of their 13-grams"):
        build(section, EvaluationInputs(training, shards, make_cleaning(train, {"law/b": leaked})), store)


def test_text_that_the_parent_was_trained_on_is_left_out_too(
    training, shards, make_cleaning, sentences, section, store
):
    """A training that went on from a model knows that model's text, though its own training text has none of it."""
    seen = sentences(900, 200)
    holdout = {"law/a": sentences(904, 200), "law/b": seen, "law/c": sentences(905, 200)}
    earlier = make_cleaning({"law/0": seen, "law/9": sentences(906, 300)}, {"law/d": sentences(907, 200)})
    parent = build(section, EvaluationInputs(training, shards, earlier), store).file(overlap.FILE_NAME)
    cleaning = make_cleaning({"law/1": sentences(901, 300)}, holdout)
    assert build(section, EvaluationInputs(training, shards, cleaning), store).counts["leaked_documents"] == 0
    evaluation = build(section, EvaluationInputs(training, shards, cleaning, parent), store)
    assert [row["document_id"] for row in evaluation.details["leaks"]["left_out"]] == ["law/b"]
    assert evaluation.details["leaks"]["models_before"] == 1


def test_no_prompts_means_no_samples_and_no_figures_about_them(training, shards, cleaning, section, sampling, store):
    none = sampling.model_copy(update={"prompts": [], "holdout_prompts": 0})
    section = section.model_copy(update={"sampling": none, "speed_tokens": 0})
    evaluation = build(section, EvaluationInputs(training, shards, cleaning), store)
    assert evaluation.details["samples"] == []
    assert not {name for name in evaluation.counts if "repeated" in name or "generated" in name}


def test_holdout_prompts_are_whole_words_and_half_of_a_document_at_most(cleaning, sampling):
    documents = read_holdout(cleaning.file("holdout.parquet"), 4_000_000).documents
    section = sampling.model_copy(update={"holdout_prompts": 100})
    prompts = all_prompts(section, documents)[2:]
    assert len(prompts) == len(documents)
    for prompt in prompts:
        text = next(document.text for document in documents if document.document_id == prompt.document_id)
        assert prompt.text + prompt.continuation == text
        assert len(prompt.text) <= max(len(text) // 2, 0)
        if len(text) > 100:
            assert prompt.continuation[0].isspace()


def test_diverged_model_is_refused_by_name_of_a_document(training, shards, cleaning, section, store):
    path = training.path / "model" / "model.safetensors"
    save_file({name: torch.full_like(tensor, math.nan) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(UserError, match=r"to 9 of 9 holdout documents, law/h0 among them.*learning_rate"):
        build(section, EvaluationInputs(training, shards, cleaning), store)
    assert list((store.root / "evaluation").iterdir()) == []


def test_progress_names_what_is_being_done(training, shards, cleaning, section, store):
    seen = []
    reporting = type(store)(store.root, store.domain, lambda *report: seen.append(report))
    build(section, EvaluationInputs(training, shards, cleaning), reporting)
    texts = [text for _, _, _, text in seen]
    for text in (
        "looking for holdout documents in the training text",
        "scoring",
        "compressing with xz -9",
        "compressing with zstd -19",
        "writing samples",
    ):
        assert text in texts
    assert seen[-1] == ("evaluation", 0, None, "measuring the speed")
