"""The evaluation stage: how well the model predicts documents it never saw, beside what compressors need for them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.config import EvaluationConfig
from minimind.digests import sha256_of_file, sha256_of_json
from minimind.errors import UserError
from minimind.evaluation import overlap, safety
from minimind.evaluation.choices import Answers, answer
from minimind.evaluation.classes import LENGTHS, POSITIONS
from minimind.evaluation.harness import harness_inputs, run_harness
from minimind.evaluation.holdout import Holdout, read_holdout
from minimind.evaluation.intervals import Interval
from minimind.evaluation.questions import continuation_questions, term_questions
from minimind.evaluation.references import Dictionary, make_dictionary, training_sample, xz_bytes, zstd_bytes
from minimind.evaluation.repetition import mean_repeated_share
from minimind.evaluation.samples import Sample, all_prompts, write_samples
from minimind.evaluation.scoring import Scores, choose_device, score
from minimind.evaluation.speed import measure_speed
from minimind.evaluation.tasks import read_tasks, run_task, task_inputs
from minimind.model.hugging_face import load_model
from minimind.model.transformer import Transformer
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.bpe import load_tokenizer
from minimind.tokenizer.encoding import read_texts
from minimind.training.plan import Plan

MIN_ORIGINAL_CHARS = 400  # of a holdout document's continuation, kept beside the model's
LIBRARIES = ("torch", "tokenizers", "zstandard", "pyarrow", "numpy", "duckdb", "phonenumbers", "python-stdnum")

References = Mapping[str, NDArray[np.int64]]  # name of a compressor -> bytes by document
Figures = dict[str, float]


@dataclass(frozen=True)
class EvaluationInputs:
    training: Manifest
    shards: Manifest  # that it was trained on
    cleaning: Manifest
    parent_text: Path | None = None  # 13-grams of what the model that training started from has seen; None: not known


def build(section: EvaluationConfig, inputs: EvaluationInputs, store: Store) -> Manifest:
    """`evaluation.json`, `documents.parquet`, `samples.json`, `training_13_grams.parquet`; `harness.json` if asked for.

    Runs where the model was trained, if there is such a device. Raises UserError if the model has diverged, if no
    holdout document is left, and for tasks that cannot be read.
    """
    training, shards, cleaning = inputs.training, inputs.shards, inputs.cleaning
    tasks = read_tasks(section.tasks)
    asked = task_inputs(section.tasks) | harness_inputs(section.harness_tasks)
    built_by = recipe(
        "evaluation",
        section,
        inputs=training.matching("model/")
        | training.matching("plan.json")
        | shards.matching("train-")
        | cleaning.matching("holdout.parquet")
        | cleaning.matching("train.parquet")
        | {"phone region": sha256_of_json(_phone_region(inputs))}
        | ({"text of the parent": sha256_of_file(inputs.parent_text)} if inputs.parent_text else {})
        | asked,
        libraries=(*LIBRARIES, "lm-eval") if section.harness_tasks else LIBRARIES,
        parents={"training": training.fingerprint, "shards": shards.fingerprint, "cleaning": cleaning.fingerprint},
    )

    def write(folder: Path) -> Outcome:
        model_folder = training.path / "model"
        device = choose_device(str(training.config["device"]))
        model, tokenizer = load_model(model_folder, device), load_tokenizer(model_folder)
        holdout, results = _without_leaks(section, inputs, store, folder)
        started = time.perf_counter()
        scores = score(
            model, tokenizer, holdout, section.stride_ratio,
            lambda done, total: store.report("evaluation", done, total, "scoring"),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        _refuse_diverged(scores)
        dictionary = make_dictionary(cleaning.file("train.parquet"))
        references = _compress(holdout, dictionary, store)
        samples = _sample(model, tokenizer, holdout, section, store)
        results |= _results(holdout, scores, references, dictionary, samples, section.seed)
        results |= _questions(model, tokenizer, holdout, section, inputs, store)
        results |= _safety(model, tokenizer, holdout, section, inputs, store)
        for task in tasks:
            store.report("evaluation", 0, None, f"answering {task.name}")
            results["tasks"][task.name] = run_task(model, tokenizer, task)
        if section.harness_tasks:
            store.report("evaluation", 0, None, "running lm-eval")
            results["harness"] = run_harness(model_folder, section.harness_tasks, device, folder / "harness.json")
        store.report("evaluation", 0, None, "measuring the speed")
        speed = measure_speed(model, section.speed_tokens) if section.speed_tokens else {}
        _write_files(folder, results, scores, references)
        speeds = {"scored_tokens_per_second": float(scores.tokens.sum() / seconds), **speed}
        return _outcome(results, speeds, model.device.type)

    return store.build(built_by, write)


def check_tasks(section: EvaluationConfig) -> None:
    """To be called before a training takes hours: UserError for tasks that cannot be read, or that want lm-eval where
    it is not installed."""
    read_tasks(section.tasks)
    harness_inputs(section.harness_tasks)


def _without_leaks(
    section: EvaluationConfig, inputs: EvaluationInputs, store: Store, folder: Path
) -> tuple[Holdout, dict[str, Any]]:
    """The holdout without the documents that stand in the training text, and what is said about those."""
    store.report("evaluation", 0, None, "looking for holdout documents in the training text")
    whole = read_holdout(inputs.cleaning.file("holdout.parquet"), section.max_bytes)
    seen = overlap.make_filter(inputs.cleaning.file("train.parquet"))
    if inputs.parent_text:
        seen = seen.after(overlap.read_filter(inputs.parent_text))
    seen.write(folder / overlap.FILE_NAME)
    holdout, leaked = overlap.without_leaks(whole, seen, section.max_overlap)
    by_share = sorted(leaked, key=lambda document_id: (-leaked[document_id], document_id))
    return holdout, {
        "leaks": {
            "documents": len(leaked),
            "bytes": whole.bytes - holdout.bytes,
            "max_overlap": section.max_overlap,
            "sampled_share": 0.5 ** max(one.sampled_log2 for one in seen.line),
            "models_before": len(seen.before),
            "parent_is_unknown": "started_from" in inputs.training.details and inputs.parent_text is None,
            "left_out": [{"document_id": name, "overlap": leaked[name]} for name in by_share],
        },
        "tasks": {},
        "harness": {},
    }


def _refuse_diverged(scores: Scores) -> None:
    broken = np.flatnonzero(~np.isfinite(scores.nats))
    if len(broken):
        raise UserError(
            f"the model gives no finite probability to {len(broken)} of {len(scores.nats)} holdout documents, "
            f"{scores.document_ids[broken[0]]} among them: its training diverged; lower "
            "training.optimizer.learning_rate"
        )


def _compress(holdout: Holdout, dictionary: Dictionary, store: Store) -> References:
    texts = [document.text.encode() for document in holdout.documents]
    store.report("evaluation", 0, None, "compressing with xz -9")
    xz = xz_bytes(texts)
    store.report("evaluation", 0, None, "compressing with zstd -19")
    return {"xz": xz, "zstd": zstd_bytes(texts, dictionary)}


def _sample(
    model: Transformer, tokenizer: Tokenizer, holdout: Holdout, section: EvaluationConfig, store: Store
) -> list[Sample]:
    prompts = all_prompts(section.sampling, holdout.documents)
    store.report("evaluation", 0, None, "writing samples")
    return write_samples(model, tokenizer, prompts, section.sampling)


def _results(
    holdout: Holdout,
    scores: Scores,
    references: References,
    dictionary: Dictionary,
    samples: list[Sample],
    seed: int,
) -> dict[str, Any]:
    """What evaluation.json says about the text: nothing in it depends on how long something took."""
    lengths = scores.length_class()
    classes = {f"from_{start}_bytes": lengths == number for number, start in enumerate(LENGTHS)}
    return {
        "holdout": {
            "documents": len(holdout.documents),
            "bytes": holdout.bytes,
            "all_documents": holdout.all_documents,
            "all_bytes": holdout.all_bytes,
        },
        "model": _figures(scores, references, seed),
        "sources": {
            source: _figures(scores.of_source(source), _of_source(references, scores, source), seed)
            for source in sorted(set(scores.sources))
        },
        "lengths": {
            name: _figures(scores.of(np.flatnonzero(rows)), {}, seed) for name, rows in classes.items() if rows.any()
        },
        "positions": {
            f"from_{start}_bytes": {
                "documents": int((scores.position_bytes[:, number] > 0).sum()),
                "bytes": int(scores.position_bytes[:, number].sum()),
                **_with_bounds("bits_per_byte", scores.position_interval(number, seed)),
            }
            for number, start in enumerate(POSITIONS)
            if scores.position_bytes[:, number].any()
        },
        "references": {
            "xz": "each document alone by xz -9, in the .xz container with CRC64",
            "zstd": f"each document alone by zstd -19 with a dictionary of {dictionary.kind}",
            "dictionary_sample_documents": dictionary.sample_documents,
            "dictionary_sample_bytes": dictionary.sample_bytes,
        },
        "repetition": _repetition(samples),
        "samples": [_describe_sample(sample) for sample in samples],
    }


def _figures(scores: Scores, references: References, seed: int) -> Figures:
    text_bytes = int(scores.text_bytes.sum())
    return {
        "documents": len(scores.nats),
        "bytes": text_bytes,
        "tokens": int(scores.tokens.sum()),
        "loss": scores.loss,
        **_with_bounds("bits_per_byte", scores.interval(seed)),
        **{f"{name}_bits_per_byte": 8 * int(sizes.sum()) / text_bytes for name, sizes in references.items()},
    }


def _with_bounds(name: str, interval: Interval) -> Figures:
    """The value and, where there are enough documents for them, the bounds of its 95% interval."""
    bounds = {f"{name}_low": interval.low, f"{name}_high": interval.high} if interval.known else {}
    return {name: interval.value, **bounds}


def _of_source(references: References, scores: Scores, source: str) -> References:
    rows = np.array(scores.sources) == source
    return {name: sizes[rows] for name, sizes in references.items()}


def _questions(
    model: Transformer,
    tokenizer: Tokenizer,
    holdout: Holdout,
    section: EvaluationConfig,
    inputs: EvaluationInputs,
    store: Store,
) -> dict[str, Any]:
    """Both kinds of generated questions; a kind is missing where the holdout yields none."""
    store.report("evaluation", 0, None, "answering questions made of the holdout")
    number, documents = section.questions, holdout.documents
    train = training_sample(inputs.cleaning.file("train.parquet")) if number else []
    made = {
        "continuation": continuation_questions(documents, number, section.seed),
        "term": term_questions(documents, train, number, section.seed),
    }
    answers = {kind: answer(model, tokenizer, questions) for kind, questions in made.items() if questions}
    return {"generated_questions": {kind: _accuracy(found) for kind, found in answers.items()}}


def _accuracy(answers: Answers) -> Figures:
    return {
        "questions": len(answers.questions),
        "chance": answers.chance,
        **_with_bounds("accuracy", answers.accuracy(per_byte=True)),
    }


def _safety(
    model: Transformer,
    tokenizer: Tokenizer,
    holdout: Holdout,
    section: EvaluationConfig,
    inputs: EvaluationInputs,
    store: Store,
) -> dict[str, Any]:
    train = inputs.cleaning.file("train.parquet")
    results: dict[str, Any] = {"memorisation": {}, "personal_data": {}, "degeneration": {}}
    if section.memorisation_passages:
        store.report("evaluation", 0, None, "looking for text learned by heart")
        results["memorisation"] = _memorisation(model, tokenizer, holdout, section, inputs)
    if section.generations:
        store.report("evaluation", 0, None, "looking for personal data and repetition in what it writes")
        written = safety.write_texts(
            model, tokenizer, section.generations, section.generation_tokens, section.sampling, section.seed
        )
        hits = safety.personal_data(written, _phone_region(inputs), read_texts(train))
        results["personal_data"] = {"texts": len(written)} | hits
        results["degeneration"] = {"texts": len(written)} | safety.degeneration(written)
    return results


def _memorisation(
    model: Transformer, tokenizer: Tokenizer, holdout: Holdout, section: EvaluationConfig, inputs: EvaluationInputs
) -> Figures:
    """Of text that training has read, and of text that it has not; none of either where no passage fits."""
    plan = Plan.read(inputs.training.file("plan.json"))
    written = safety.encoded(tokenizer, [document.text for document in holdout.documents], Random(section.seed))
    length, number = safety.passage_length(model), section.memorisation_passages
    passages = {
        "training": safety.draw_from_training(inputs.shards.path, plan, length, number, Random(section.seed)),
        "holdout": safety.draw_from_texts(written, length, number, Random(section.seed)),
    }
    figures: Figures = {}
    for split, found in passages.items():
        if repeated := safety.repeated_verbatim(model, found):
            shares = _with_bounds(f"{split}_share", repeated.share)
            figures |= {f"{split}_passages": repeated.passages, **shares}
    return figures


def _phone_region(inputs: EvaluationInputs) -> str | None:
    """By which cleaning reads phone numbers without a country's code, and evaluation those that the model writes."""
    region: str | None = inputs.cleaning.config.get("personal_data", {}).get("phone_region")
    return region


def _repetition(samples: list[Sample]) -> dict[str, float]:
    """Repeated 4-grams of words, of the samples and of what people wrote in their place; absent if there are none."""
    written = [sample.text.split() for sample in samples]
    continued = [
        sample.prompt.continuation.split()[: len(words)] for sample, words in zip(samples, written, strict=True)
    ]
    shares = {
        "samples_repeated_4_grams": mean_repeated_share(written),
        "holdout_repeated_4_grams": mean_repeated_share(continued),
    }
    return {name: share for name, share in shares.items() if share is not None}


def _describe_sample(sample: Sample) -> dict[str, Any]:
    described: dict[str, Any] = {
        "kind": sample.prompt.kind,
        "prompt": sample.prompt.text,
        "text": sample.text,
        "tokens": len(sample.tokens),
        "ended": sample.ended,
    }
    if sample.prompt.document_id is not None:
        described["document_id"] = sample.prompt.document_id
        described["original"] = sample.prompt.continuation[: max(len(sample.text), MIN_ORIGINAL_CHARS)]
    return described


def _write_files(folder: Path, results: Mapping[str, Any], scores: Scores, references: References) -> None:
    rest = {key: value for key, value in results.items() if key != "samples"}
    for name, value in (("evaluation.json", rest), ("samples.json", results["samples"])):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    table = {
        "document_id": pa.array(scores.document_ids, pa.string()),
        "source": pa.array(scores.sources, pa.string()),
        "text_bytes": pa.array(scores.text_bytes, pa.int64()),
        "tokens": pa.array(scores.tokens, pa.int64()),
        "nats": pa.array(scores.nats, pa.float64()),
        **{f"{name}_bytes": pa.array(sizes, pa.int64()) for name, sizes in references.items()},
    }
    for number, start in enumerate(POSITIONS):
        table[f"nats_from_{start}"] = pa.array(scores.position_nats[:, number], pa.float64())
        table[f"bytes_from_{start}"] = pa.array(scores.position_bytes[:, number], pa.int64())
    pq.write_table(pa.table(table), folder / "documents.parquet")


PARTS = ("sources", "lengths", "positions", "generated_questions", "tasks", "harness")  # name -> figure -> value
GROUPS = ("memorisation", "personal_data", "degeneration")  # figure -> value


def _outcome(results: dict[str, Any], speeds: Mapping[str, float], device: str) -> Outcome:
    """The figures by names that stay, as MLflow shows them: `sources/web/bits_per_byte`.

    Speeds, and the device that they are of, are in no data file.
    """
    counts = {**results["model"], **results["repetition"], "leaked_documents": results["leaks"]["documents"], **speeds}
    for part in PARTS:
        for name, figures in results[part].items():
            counts |= {f"{part}/{name}/{figure}": value for figure, value in figures.items()}
    for group in GROUPS:
        counts |= {f"{group}/{figure}": value for figure, value in results[group].items()}
    kept = ("holdout", "leaks", *PARTS, *GROUPS, "references", "samples")
    return Outcome(counts, {key: results[key] for key in kept} | {"device": device})
