"""The evaluation stage: how well the model predicts documents it never saw, beside what compressors need for them."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.config import EvaluationConfig
from minimind.errors import UserError
from minimind.evaluation.holdout import Holdout, read_holdout
from minimind.evaluation.references import Dictionary, make_dictionary, xz_bytes, zstd_bytes
from minimind.evaluation.repetition import mean_repeated_share
from minimind.evaluation.samples import Sample, all_prompts, write_samples
from minimind.evaluation.scoring import Scores, choose_device, score
from minimind.model.hugging_face import load_model
from minimind.model.transformer import Transformer
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.bpe import load_tokenizer

MIN_ORIGINAL_CHARS = 400  # of a holdout document's continuation, kept beside the model's

References = Mapping[str, NDArray[np.int64]]  # name of a compressor -> bytes by document


@dataclass(frozen=True)
class EvaluationInputs:
    training: Manifest
    cleaning: Manifest


def build(section: EvaluationConfig, inputs: EvaluationInputs, store: Store) -> Manifest:
    """`evaluation.json`, `documents.parquet` and `samples.json`.

    Runs where the model was trained, if there is such a device. Raises UserError if the model has diverged.
    """
    training, cleaning = inputs.training, inputs.cleaning
    holdout_path, train_path = cleaning.file("holdout.parquet"), cleaning.file("train.parquet")
    built_by = recipe(
        "evaluation",
        section,
        inputs=training.matching("model/") | cleaning.matching("holdout.parquet") | cleaning.matching("train.parquet"),
        libraries=("torch", "tokenizers", "zstandard", "pyarrow"),
        parents={"training": training.fingerprint, "cleaning": cleaning.fingerprint},
    )

    def write(folder: Path) -> Outcome:
        model_folder = training.path / "model"
        model = load_model(model_folder, choose_device(str(training.config["device"])))
        holdout = read_holdout(holdout_path)
        started = time.perf_counter()
        scores = score(
            model, model_folder, holdout, lambda done, total: store.report("evaluation", done, total, "scoring")
        )
        seconds = time.perf_counter() - started
        _refuse_diverged(scores)
        dictionary = make_dictionary(train_path)
        references = _compress(holdout, dictionary, store)
        samples = _sample(model, load_tokenizer(model_folder), holdout, section, store)
        results = _results(holdout, scores, references, dictionary, samples)
        _write_files(folder, results, scores, references)
        return _outcome(results, scored_tokens_per_second=scores.tokens.sum() / seconds, samples=samples)

    return store.build(built_by, write)


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
    samples: list[Sample] = []
    store.report("evaluation", 0, len(prompts), "writing samples")
    for sample in write_samples(model, tokenizer, prompts, section.sampling):
        samples.append(sample)
        store.report("evaluation", len(samples), len(prompts), "writing samples")
    return samples


def _results(
    holdout: Holdout, scores: Scores, references: References, dictionary: Dictionary, samples: list[Sample]
) -> dict[str, Any]:
    """What evaluation.json holds: nothing in it depends on how long something took."""
    return {
        "holdout": {
            "documents": len(holdout.documents),
            "bytes": holdout.bytes,
            "all_documents": holdout.all_documents,
            "all_bytes": holdout.all_bytes,
        },
        "model": _figures(scores, references),
        "sources": {
            source: _figures(scores.of_source(source), _of_source(references, scores, source))
            for source in sorted(set(scores.sources))
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


def _figures(scores: Scores, references: References) -> dict[str, float]:
    text_bytes = int(scores.text_bytes.sum())
    return {
        "documents": len(scores.nats),
        "bytes": text_bytes,
        "tokens": int(scores.tokens.sum()),
        "loss": scores.loss,
        "bits_per_byte": scores.bits_per_byte,
        **{f"{name}_bits_per_byte": 8 * int(sizes.sum()) / text_bytes for name, sizes in references.items()},
    }


def _of_source(references: References, scores: Scores, source: str) -> References:
    rows = np.array(scores.sources) == source
    return {name: sizes[rows] for name, sizes in references.items()}


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
    pq.write_table(pa.table(table), folder / "documents.parquet")


def _outcome(results: dict[str, Any], scored_tokens_per_second: float, samples: Sequence[Sample]) -> Outcome:
    """The results, with the speeds, which no data file holds."""
    speeds = {"scored_tokens_per_second": float(scored_tokens_per_second)}
    if generated := sum(len(sample.tokens) for sample in samples):
        speeds["generated_tokens_per_second"] = generated / sum(sample.seconds for sample in samples)
    details = {key: results[key] for key in ("holdout", "sources", "references", "samples")}
    return Outcome({**results["model"], **results["repetition"], **speeds}, details)
