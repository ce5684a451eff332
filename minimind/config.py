"""Every section of a domain's YAML. A config is complete: what defines an experiment has no default here.

Sections are frozen and refuse unknown keys. A stage is given its own section, never the whole config.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from minimind.errors import ConfigError
from minimind.masking import SECRET, masked
from minimind.quality_presets import QUALITY_PRESETS

logger = logging.getLogger(__name__)

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Share = Annotated[float, Field(ge=0, le=1)]
UNREADABLE_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)  # in PyYAML
MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# --- corpus -----------------------------------------------------------------------------------------------------------


class LocalFilesSource(Section):
    """Files on this machine, alone or inside .zip .tar .tar.gz .tgz .tar.zst.

    .txt .md .jsonl .csv .html .htm, each also as .gz or .zst; .parquet .pdf .docx. JSON lines, CSV and Parquet need
    id and text, and may have title, source, license, date.
    """

    kind: Literal["local_files"]
    name: Name
    paths: Annotated[list[str], Field(min_length=1)]  # globs, ** included; relative to the current folder
    license: str | None = None  # for documents that name none of their own


class HttpFile(Section):
    url: Annotated[str, Field(pattern=r"^https?://")]  # ${NAME} in it is taken from the environment, at the request
    sha256: Sha256 | None = None


class HttpSource(Section):
    """Files or archives by URL; read like local files once they are here."""

    kind: Literal["http"]
    name: Name
    files: Annotated[list[HttpFile], Field(min_length=1)]
    members: list[str] = ["**"]  # globs over the paths inside an archive
    license: str | None = None


class BucketSource(Section):
    """Objects of an S3-compatible bucket; also what fsspec reads at file:// and memory://."""

    kind: Literal["bucket"]
    name: Name
    paths: Annotated[  # globs, ** included: s3://bucket/folder/**/*.jsonl.gz
        list[Annotated[str, Field(pattern=r"^(s3://[^/@:*?\[\s]+/|(file|memory):///?)[^\s].*$")]], Field(min_length=1)
    ]
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None = None  # None: Amazon's
    anonymous: bool = False  # True: no credentials; else those of the environment
    members: list[str] = ["**"]  # globs over the paths inside an archive
    license: str | None = None

    @field_validator("paths")
    @classmethod
    def one_protocol(cls, paths: list[str]) -> list[str]:
        if len({path.partition("://")[0] for path in paths}) > 1:
            raise ValueError("paths name several protocols; make a source of each")
        return paths


class GitSource(Section):
    """The files of a git repository at the commit that a ref stands for."""

    kind: Literal["git"]
    name: Name
    url: Annotated[
        str, Field(pattern=r"^((https?|ssh)://[^-/\s][^\s]*|file:///[^\s]+|[\w.]+@[\w.][\w.-]*:[^-:\s][^\s]*)$")
    ]  # https://user:${NAME}@host/...: the password is taken from the environment
    ref: Annotated[str, Field(pattern=r"^\w[\w./+-]*$")]  # branch, tag, commit or HEAD
    members: list[str] = ["**"]  # globs over the paths in the repository
    license: str | None = None


class HuggingFaceSource(Section):
    """A dataset of the Hugging Face hub, streamed up to a limit."""

    kind: Literal["huggingface"]
    name: Name
    dataset: Annotated[str, Field(min_length=1)]
    revision: str  # branch, tag or commit
    subset: str | None = None
    split: str
    text_column: str
    id_column: str | None = None  # None: the row's position
    license_column: str | None = None
    license: str | None = None
    max_documents: Annotated[int, Field(ge=1)] | None = None
    max_bytes: Annotated[int, Field(ge=1)] | None = None  # of text, UTF-8
    sample_seed: Seed | None = None  # None: the first rows; else a sample of the whole split

    @model_validator(mode="after")
    def has_a_limit(self) -> "HuggingFaceSource":
        if self.max_documents is None and self.max_bytes is None:
            raise ValueError("neither max_documents nor max_bytes is set; set at least one")
        return self


class SoftwareLicencesSource(Section):
    """Licence texts that this machine already has; the file list is frozen in the store at first sight."""

    kind: Literal["software_licences"]
    name: Name


Source = Annotated[
    LocalFilesSource | HttpSource | BucketSource | GitSource | HuggingFaceSource | SoftwareLicencesSource,
    Field(discriminator="kind"),
]


class CorpusConfig(Section):
    max_unreadable_share: Share  # of lines and files that cannot be read; more stops the run
    max_download_bytes: Annotated[int, Field(ge=1)]  # of one file
    max_expanded_bytes: Annotated[int, Field(ge=1)]  # of one file, with all that is packed inside it
    parallel_downloads: Annotated[int, Field(ge=1, le=64)]  # files fetched at once
    requests_per_second: Annotated[float, Field(gt=0)]  # to one host
    exclude_ids: list[str]  # documents to keep out, by their whole id as `minimind documents` shows it: source/id
    sources: Annotated[list[Source], Field(min_length=1)]

    @field_validator("sources")
    @classmethod
    def names_are_unique(cls, sources: list[Source]) -> list[Source]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names stand twice: {', '.join(twice)}; give each source its own name")
        return sources


# --- cleaning ---------------------------------------------------------------------------------------------------------


class NormalizeConfig(Section):
    """What is done to a text besides Unicode's composed form and its blanks; the raw text stays in the corpus."""

    repair_encoding: bool  # mojibake ("fÃ¼r") and left-over HTML entities
    drop_front_matter: bool  # YAML front matter, bibliographic header fields, lines that are an identifier
    drop_page_furniture: bool  # page numbers, running headers and footers
    reflow: bool  # lines of a hard-wrapped document are joined into paragraphs


class RepeatedLinesConfig(Section):
    """Lines (paragraphs, once a text is reflowed) that stand in many documents: notices, headers, signatures."""

    action: Literal["remove", "keep", "ignore"]  # keep: the most repeated are shown; ignore: nothing is counted
    min_documents: Annotated[int, Field(ge=2)]  # that duplicates, quality and language have left; each counts once
    min_chars: Annotated[int, Field(ge=1)]  # shorter lines are structure, such as "Schlussformel" or "}"
    max_cut_share: Share  # of a document's bytes; one that would lose more keeps all


class NearDuplicatesConfig(Section):
    shingle_words: Annotated[int, Field(ge=1, le=5)]
    max_jaccard: Annotated[float, Field(ge=0.7, le=1)]  # at or above, one of the pair is removed; from 0.7 it is tagged


NEAR_DUPLICATES: Mapping[str, NearDuplicatesConfig] = {
    "default": NearDuplicatesConfig(shingle_words=5, max_jaccard=0.8),
    "aggressive": NearDuplicatesConfig(shingle_words=3, max_jaccard=0.7),
}


class QualityConfig(Section):
    """Thresholds, named by what they permit; the first that a document breaks is the reason why it goes.

    The YAML lists all of them, or names a preset and lists those that differ; the manifest has all.
    Gopher: Rae et al. 2021, A.1.1 and table A1; FineWeb: Penedo et al. 2024, section 3.5; C4: Raffel et al. 2020, 2.2.
    """

    min_words: Annotated[int, Field(ge=0)]
    max_words: Annotated[int, Field(ge=1)]
    min_mean_word_length: Annotated[float, Field(ge=0)]
    max_mean_word_length: Annotated[float, Field(gt=0)]
    max_symbol_word_ratio: Annotated[float, Field(ge=0)]  # '#' and ellipses by words and punctuation marks
    max_bullet_line_ratio: Share
    max_ellipsis_line_ratio: Share
    min_alpha_word_ratio: Share  # words with at least one letter, by words and punctuation marks
    stop_words: list[str]  # lower case; none: those of the document's language, where it is looked at
    min_stop_words: Annotated[int, Field(ge=0)]  # different ones that must occur
    max_duplicate_line_ratio: Share
    max_duplicate_paragraph_ratio: Share
    max_duplicate_line_char_ratio: Share
    max_duplicate_paragraph_char_ratio: Share
    max_top_2_gram_char_ratio: Share  # characters in the most frequent 2-gram
    max_top_3_gram_char_ratio: Share
    max_top_4_gram_char_ratio: Share
    max_duplicate_5_gram_char_ratio: Share  # characters in 5-grams that occurred before
    max_duplicate_6_gram_char_ratio: Share
    max_duplicate_7_gram_char_ratio: Share
    max_duplicate_8_gram_char_ratio: Share
    max_duplicate_9_gram_char_ratio: Share
    max_duplicate_10_gram_char_ratio: Share
    min_punctuated_line_ratio: Share  # FineWeb: lines that end in a terminal punctuation mark
    max_short_line_ratio: Share  # FineWeb: lines of at most 30 characters
    max_newline_word_ratio: Annotated[float, Field(ge=0)]  # FineWeb: line breaks by words and punctuation marks
    min_sentences: Annotated[int, Field(ge=0)]  # C4: in lines of three words or more that end in . ? ! or a quote
    min_c4_char_ratio: Share  # characters in those lines
    max_curly_brackets: Annotated[int, Field(ge=0)]
    max_lorem_ipsum_lines: Annotated[int, Field(ge=0)]
    max_javascript_line_ratio: Share  # lines that mention it
    max_policy_line_ratio: Share  # lines about terms of use, privacy and cookies
    bad_words: list[str]  # lower case
    max_bad_word_ratio: Share  # by words

    @model_validator(mode="before")
    @classmethod
    def preset_stands_for_the_keys_not_given(cls, value: Any) -> Any:
        keys = {"preset": value} if isinstance(value, str) else value
        if not isinstance(keys, dict) or "preset" not in keys:
            return keys
        if keys["preset"] not in QUALITY_PRESETS:
            raise ValueError(
                f"preset is {keys['preset']!r}; write one of {', '.join(QUALITY_PRESETS)}, or all the keys"
            )
        if QUALITY_PRESETS[keys["preset"]].keys() <= keys.keys():
            raise ValueError(
                f"preset is {keys['preset']!r} and changes nothing, as each of its keys is given beside it; "
                "remove the preset, or the keys that it shall stand for"
            )
        return {**QUALITY_PRESETS[keys["preset"]], **{key: keys[key] for key in keys if key != "preset"}}

    @model_validator(mode="after")
    def limits_leave_room(self) -> "QualityConfig":
        for least, most in (("min_words", "max_words"), ("min_mean_word_length", "max_mean_word_length")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(
                    f"{least} ({getattr(self, least)}) is above {most} ({getattr(self, most)}); nothing would be kept"
                )
        return self


class LanguageConfig(Section):
    """Which languages are expected; the language found goes into every document's metadata."""

    expected: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]]  # ISO 639 codes; none: languages are not looked at
    min_probability: Share  # below it a document counts as one of an expected language
    others: Literal["remove", "keep"]


class DecontaminationConfig(Section):
    max_overlap: Share  # of a training document's 13-grams that may stand in the holdout or an evaluation file
    evaluation_files: list[str]  # globs of .jsonl, .txt and .md; relative to the current folder


PersonalDataAction = Literal["replace", "flag", "keep"]


class PersonalDataConfig(Section):
    """For each kind: replaced by a placeholder, noted in the document's metadata, or not looked for."""

    email: PersonalDataAction
    phone: PersonalDataAction
    iban: PersonalDataAction
    card: PersonalDataAction
    ip: PersonalDataAction
    ssn: PersonalDataAction  # US social security numbers
    phone_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None  # of numbers without a country code; null: none


class SplitConfig(Section):
    holdout_share: Annotated[float, Field(gt=0, le=0.2)]  # of near-duplicate clusters; grows up to a fifth if too few
    min_documents: Annotated[int, Field(ge=1)]
    min_bytes: Annotated[int, Field(ge=1)]


class CleaningConfig(Section):
    normalize: NormalizeConfig
    repeated_lines: RepeatedLinesConfig
    quality: QualityConfig
    language: LanguageConfig
    near_duplicates: NearDuplicatesConfig  # or a word of NEAR_DUPLICATES
    decontamination: DecontaminationConfig
    personal_data: PersonalDataConfig
    max_removed_share: Share  # of a source's documents; more stops the run
    split: SplitConfig

    @field_validator("near_duplicates", mode="before")
    @classmethod
    def word_stands_for_numbers(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in NEAR_DUPLICATES:
                raise ValueError(f"write {' or '.join(NEAR_DUPLICATES)}, or shingle_words and max_jaccard")
            return NEAR_DUPLICATES[value]
        return value


# --- tokenizer and shards ---------------------------------------------------------------------------------------------


CHAMPION, SCRATCH = "champion", "scratch"


class TokenizerConfig(Section):
    # champion, or the folder of a model whose tokenizer.json is taken as it is; null: one is learned. Where there is no
    # champion yet, one is learned too
    keep: Annotated[str, Field(min_length=1)] | None
    vocabulary_size: Annotated[int, Field(ge=300, le=200_000)]  # special tokens and 256 bytes included
    sample_bytes: Annotated[int, Field(ge=1)]  # of training text, UTF-8, from which the tokens are learned


class ShardsConfig(Section):
    tokens_per_shard: Annotated[int, Field(ge=1_000)]
    # how often training sees each document of a source in an epoch: 1 where none is given, 0 leaves the source out
    source_weights: dict[Name, Annotated[float, Field(ge=0, le=100)]]
    # of the bytes of text in an epoch, those of documents that the model of training.start_from has seen: old ones are
    # left out or repeated, new ones stand as the weights say; null: nothing is changed. It waits for a champion
    old_documents_share: Annotated[float, Field(ge=0, lt=1)] | None


# --- training ---------------------------------------------------------------------------------------------------------


class ModelSizes(Section):
    """Sizes of a Qwen3-family decoder; embeddings are tied, the vocabulary comes from the tokenizer."""

    hidden_size: Annotated[int, Field(ge=8)]
    layers: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    kv_heads: Annotated[int, Field(ge=1)]
    head_size: Annotated[int, Field(ge=2, multiple_of=2)]
    intermediate_size: Annotated[int, Field(ge=8)]

    @model_validator(mode="after")
    def heads_divide(self) -> "ModelSizes":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) is not a multiple of kv_heads ({self.kv_heads})")
        return self


PRESETS: Mapping[str, ModelSizes] = {
    # 1.3M with 4,096 tokens; 26M and 64M with 6,400; 124M with 32,768
    "tiny": ModelSizes(hidden_size=128, layers=4, heads=4, kv_heads=2, head_size=32, intermediate_size=384),
    "26m": ModelSizes(hidden_size=512, layers=8, heads=8, kv_heads=2, head_size=64, intermediate_size=1408),
    "64m": ModelSizes(hidden_size=768, layers=8, heads=8, kv_heads=4, head_size=96, intermediate_size=2432),
    "124m": ModelSizes(hidden_size=768, layers=12, heads=12, kv_heads=12, head_size=64, intermediate_size=2560),
}


class Budget(NamedTuple):
    amount: float  # tokens, epochs or seconds
    unit: Literal["tokens", "epochs", "seconds"]


def parse_budget(text: str) -> Budget:
    """A budget such as `300k tokens`, `2 epochs`, `90s`, `10m` or `2h`; ValueError says what is allowed."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kKMB]?)\s*(tokens|epochs?)|(s|m|h))\s*", text)
    if match is None or not 0 < float(match[1]) < 1e15:
        raise ValueError(f"{text!r} is no budget; write '300k tokens', '2 epochs', '10m' or '2h'")
    amount, scale, unit, time_unit = float(match[1]), match[2] or "", match[3], match[4]
    if time_unit:
        return Budget(amount * {"s": 1, "m": 60, "h": 3600}[time_unit], "seconds")
    amount *= {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}[scale]
    return Budget(amount, "tokens" if unit == "tokens" else "epochs")


class Phases(Section):
    warmup_ratio: Share  # of all steps
    decay_ratio: Share  # of all steps, at the end

    @model_validator(mode="after")
    def phases_fit(self) -> "Phases":
        if self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError(
                f"warmup_ratio + decay_ratio is {self.warmup_ratio + self.decay_ratio:g}; at most 1 is possible"
            )
        return self


class OptimizerConfig(Phases):
    """Matrices inside the layers by Muon or AdamW; the embedding and the gains of norms by AdamW, gains undecayed."""

    learning_rate: Annotated[float, Field(gt=0)]  # the highest; of the embedding and the gains
    weight_decay: Annotated[float, Field(ge=0)]  # of the embedding
    matrix_optimizer: Literal["muon", "adamw"]
    matrix_learning_rate: Annotated[float, Field(gt=0)]
    matrix_weight_decay: Annotated[float, Field(ge=0)]
    muon_momentum: Annotated[float, Field(ge=0, lt=1)]
    # hidden_size for which both learning rates are meant; docs/recipe.md says how they are carried to another
    reference_width: Annotated[int, Field(ge=1)]
    schedule: Literal["linear", "cosine"]  # form of the decay
    min_learning_rate_ratio: Share  # of the peak, reached at the last step
    beta1: Annotated[float, Field(ge=0, lt=1)]  # of AdamW
    beta2: Annotated[float, Field(ge=0, lt=1)]
    max_gradient_norm: Annotated[float, Field(gt=0)]


class WarmStartConfig(Phases):
    """The phases where there is a model to start from, in place of `optimizer`'s; the decay's form and end stay."""

    peak_ratio: Annotated[float, Field(gt=0, le=1)]  # of both learning rates; up to it the rates are warmed up again


class TrainingConfig(Section):
    # scratch, champion, or a folder in Qwen3 format with config.json, safetensors and tokenizer.json; its sizes and its
    # tokenizer have to be those of this config. champion is the one that was made from another corpus than this run's;
    # without one, training starts from scratch
    start_from: Annotated[str, Field(min_length=1)]
    warm_start: WarmStartConfig
    # auto: the preset that the budget is best spent on, by the rule in docs/training.md, or the starting model's
    preset: Literal["auto", "tiny", "26m", "64m", "124m"] | None = None
    sizes: ModelSizes | None = None
    sequence_length: Annotated[int, Field(ge=16)]  # tokens
    batch_tokens: Annotated[int, Field(ge=16)]  # tokens that one optimizer step sees
    # sequences in memory at once, per device; auto: as many as fit, tried once and then kept with the plan
    micro_batch_sequences: Annotated[int, Field(ge=1)] | Literal["auto"]
    budget: str  # tokens, epochs or time
    price_per_hour: Annotated[float, Field(ge=0)] | None  # of the machine, in any currency; the plan then says the cost
    document_mask: bool  # a token sees its own document only; false: all before it in its sequence
    zero_output_projections: bool  # each block begins as the identity
    embedding_norm: bool  # the exported model gets an output matrix of its own, vocabulary x hidden_size
    residual_scalars: bool  # a learned factor for what each block adds
    z_loss: Annotated[float, Field(ge=0)]  # times the squared log normaliser of each prediction; PaLM's is 1e-4
    device: Literal["auto", "cpu", "cuda"]
    devices: Annotated[int, Field(ge=1)] | Literal["auto"]  # that share each batch; auto: every GPU, or one CPU
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: Literal["auto"] | bool  # torch.compile by block; auto: on a GPU
    threads: Annotated[int, Field(ge=1)] | Literal["auto"]  # of a process on a CPU; auto: every physical core
    optimizer: OptimizerConfig
    evaluations: Annotated[int, Field(ge=1)]  # of the holdout loss during training, the last step included
    checkpoint_seconds: Annotated[float, Field(gt=0)]  # between two checkpoints; the last two are kept until the end
    permanent_checkpoint_steps: Annotated[int, Field(ge=1)] | None  # each so many steps, one that stays with the model
    max_gradient_growth: Annotated[float, Field(gt=1)]  # over its usual norm; a step with more is skipped
    max_skipped_steps: Annotated[int, Field(ge=0)]  # in a row; one more ends the training
    seed: Seed

    @field_validator("budget")
    @classmethod
    def budget_is_readable(cls, text: str) -> str:
        parse_budget(text)
        return text

    @model_validator(mode="after")
    def sizes_are_given_once(self) -> "TrainingConfig":
        if (self.preset is None) == (self.sizes is None):
            raise ValueError("set either preset or sizes, not both and not neither")
        micro_batch = 1 if self.micro_batch_sequences == "auto" else self.micro_batch_sequences
        step = self.sequence_length * micro_batch
        if self.batch_tokens % step:
            raise ValueError(
                f"batch_tokens ({self.batch_tokens}) is not a multiple of sequence_length x micro_batch_sequences "
                f"({self.sequence_length} x {micro_batch} = {step})"
            )
        return self

    @property
    def candidates(self) -> Mapping[str, ModelSizes]:
        """The sizes of the model by the name of their preset; of all presets, ascending, where it is to be chosen."""
        if self.sizes is not None:
            return {"sizes": self.sizes}
        return PRESETS if self.preset == "auto" else {str(self.preset): PRESETS[str(self.preset)]}


# --- when -------------------------------------------------------------------------------------------------------------


def parse_age(text: str) -> timedelta:
    """An age such as `12h`, `30d` or `4w`; ValueError says what is allowed."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", text)
    if match is None or not float(match[1]) < 1e5:
        raise ValueError(f"{text!r} is no age; write '12h', '30d' or '4w'")
    return timedelta(hours=float(match[1]) * {"h": 1, "d": 24, "w": 168}[match[2]])


class RetrainWhenConfig(Section):
    """When a deployment's run trains, if nothing but the corpus has changed; docs/scheduling.md has the rule.

    A change of the config or of the code always trains, and so does `minimind run`.
    """

    # bytes of new, changed and removed documents, by those of the corpus that the newest version was made of
    min_changed_share: Share
    max_age: str  # of the newest version; an older one is replaced at any change of the corpus

    @field_validator("max_age")
    @classmethod
    def age_is_readable(cls, text: str) -> str:
        parse_age(text)
        return text


# --- evaluation and registry ------------------------------------------------------------------------------------------


class SamplingConfig(Section):
    prompts: list[str]  # besides these, the beginnings of holdout documents
    holdout_prompts: Annotated[int, Field(ge=0)]
    max_new_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0)]  # 0: greedy
    top_p: Annotated[float, Field(gt=0, le=1)]
    seed: Seed


class TaskConfig(Section):
    """Questions with known answers: JSON lines of question, choices, answer or of question, answer."""

    name: Name
    path: Annotated[str, Field(min_length=1)]  # relative to the current folder


class EvaluationConfig(Section):
    """docs/evaluation.md says what each figure means. A number of 0 leaves a part out."""

    max_bytes: Annotated[int, Field(ge=1)]  # of holdout text that is scored; of more, a sample by document ids alone
    stride_ratio: Annotated[float, Field(gt=0, le=1)]  # of the model's window, by which it moves in a long document
    max_overlap: Share  # of a holdout document's 13-grams in the training text; one with more is not scored
    questions: Annotated[int, Field(ge=0)]  # made of the holdout, of each kind: continuation, and missing term
    memorisation_passages: Annotated[int, Field(ge=0)]  # of training text, and as many of the holdout
    generations: Annotated[int, Field(ge=0)]  # texts that are searched for personal data and for repetition
    generation_tokens: Annotated[int, Field(ge=1)]  # of each, at most
    speed_tokens: Annotated[int, Field(ge=0)]  # written to measure the speed
    tasks: list[TaskConfig]
    harness_tasks: list[Annotated[str, Field(min_length=1)]]  # of lm-eval: names, or paths of YAML files
    seed: Seed  # of the bootstrap, and of which questions, passages and texts are drawn
    sampling: SamplingConfig

    @field_validator("tasks")
    @classmethod
    def task_names_are_unique(cls, tasks: list[TaskConfig]) -> list[TaskConfig]:
        names = [task.name for task in tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"task names stand twice: {', '.join(twice)}; give each task its own name")
        return tasks


class RegistryConfig(Section):
    """The gate: a version becomes champion if every rule holds. docs/comparison.md says how each is measured."""

    experiment: str  # MLflow experiment; runs of one domain sit in one
    promote_when: Literal["better", "not_worse"]  # than the champion; not_worse: fresh text at equal quality
    min_improvement: Annotated[float, Field(ge=0, lt=1)]  # share of the champion's bits per byte; for `better`
    # share of the champion's bits per byte by which any source may be worse, as measured; for `not_worse` the whole
    # holdout, too, with the interval's upper end
    max_regression: Annotated[float, Field(ge=0)]
    # relative standard deviation of bits per byte between seeds; measured: by `minimind seeds`
    seed_spread: Annotated[float, Field(gt=0, lt=1)] | Literal["measured"]
    max_figures: dict[str, float]  # a figure of the evaluation -> the most that it may be
    required_tasks: dict[str, Annotated[float, Field(ge=0)]]  # such a figure -> how much the champion's may exceed it


class Config(Section):
    name: Name  # the domain, and the registered model's name
    description: str
    retrain_when: RetrainWhenConfig
    corpus: CorpusConfig
    cleaning: CleaningConfig
    tokenizer: TokenizerConfig
    shards: ShardsConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    registry: RegistryConfig

    @model_validator(mode="after")
    def weights_name_sources(self) -> "Config":
        weights, names = self.shards.source_weights, [source.name for source in self.corpus.sources]
        if unknown := sorted(weights.keys() - set(names)):
            raise ValueError(
                f"shards.source_weights names {', '.join(unknown)}, and the sources are {', '.join(names)}; "
                "name one of these"
            )
        if all(weights.get(name) == 0 for name in names):
            raise ValueError("shards.source_weights leaves every source out of training; give one a weight above 0")
        return self

    @model_validator(mode="after")
    def start_has_its_tokenizer(self) -> "Config":
        start, share = self.training.start_from, self.shards.old_documents_share
        if start != SCRATCH and self.tokenizer.keep is None:
            raise ValueError(
                f"training.start_from is {start}, whose ids are those of its own tokenizer, and tokenizer.keep is "
                f"null; set tokenizer.keep to {start}"
            )
        if start == SCRATCH and share is not None:
            raise ValueError(
                f"shards.old_documents_share is {share:g}, and training.start_from is scratch, to which every document "
                "is new; set one of them to something else (null, or champion)"
            )
        return self


# --- reading ----------------------------------------------------------------------------------------------------------


SECRET_SAID = (
    "{!r} holds a secret, and Prefect keeps what a run is given; put it into an environment variable and write "
    "${{NAME}} in its place"
)


def load_config(path: Path, overrides: Sequence[str] = (), local_globs: Sequence[str] = ()) -> Config:
    """The config at `path`, with `section.key=value` overrides, and its sources replaced where `local_globs` are given.

    Raises ConfigError with every problem at once.
    """
    tree = read_yaml(path)
    apply_overrides(tree, overrides, local_globs)
    if local_globs and isinstance(tree.get("corpus"), dict):
        tree["corpus"]["sources"] = [{"kind": "local_files", "name": "local", "paths": list(local_globs)}]
        if isinstance(shards := tree.get("shards"), dict) and shards.get("source_weights"):
            logger.warning("the sources of %s are replaced, so its shards.source_weights are left aside", path)
            shards["source_weights"] = {}
    return validate_config(tree, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_bytes().decode("utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(str(path), ["there is no such file; see configs/ for those that exist"]) from None
    except IsADirectoryError:
        problem = f"it is a folder: `minimind new NAME --from {path}` writes a config for it, `explore` looks at it"
        raise ConfigError(str(path), [problem]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"it cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"it is not UTF-8 (byte {error.start}); save it as UTF-8"]) from None
    except UNREADABLE_YAML as error:
        raise ConfigError(str(path), ["it is no valid YAML: " + " ".join(str(error).split())]) from None
    if not isinstance(tree, dict):
        raise ConfigError(str(path), [f"a mapping of sections was expected, {type(tree).__name__} was found"])
    return tree


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str], local_globs: Sequence[str] = ()) -> None:
    """Sets each in place. Raises ConfigError for what is no override, and for a secret in one of them or in a glob."""
    problems = [problem for override in overrides if (problem := apply_override(tree, override))]
    problems += [SECRET_SAID.format(masked(given)) for given in (*overrides, *local_globs) if re.search(SECRET, given)]
    if problems:
        raise ConfigError("--set", problems)


def apply_override(tree: dict[str, Any], override: str) -> str | None:
    """Sets `a.b.c=value` in place; returns the problem in words, or None."""
    key, equals, value = override.partition("=")
    *sections, leaf = key.strip().split(".")
    if not equals or not leaf or not all(sections):
        return f"{override!r}: write section.key=value"
    try:
        parsed = yaml.load(value, Loader=_UniqueKeyLoader)
    except UNREADABLE_YAML as error:
        return f"{override!r}: the value is no valid YAML: {' '.join(str(error).split())}"
    node = tree
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            return f"{override!r}: {section} is a value, not a section"
        node = child
    if leaf in {"preset", "sizes"} and sections == ["training"]:
        node.pop("sizes" if leaf == "preset" else "preset", None)  # the later choice replaces the one in the file
    node[leaf] = parsed
    return None


def validate_config(tree: Mapping[str, Any], where: str) -> Config:
    try:
        if problems := list(unstorable_values(tree)):
            raise ConfigError(where, problems)
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(where, [describe_problem(problem) for problem in error.errors()]) from None


def unstorable_values(value: Any, key: str = "") -> Iterator[str]:
    """In words, what neither JSON in UTF-8 nor a column of 64 bits could keep."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from unstorable_values(one, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from unstorable_values(one, f"{key}.{number}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield f"{key} is an integer of {value.bit_length()} bits: the greatest is 2**63 - 1"
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            yield f"{key} is {value!r}: it holds half of a surrogate pair; write the character itself"


def describe_problem(problem: Any) -> str:
    """One validation problem as `section.key is VALUE: what is wrong; what to change`."""
    union_tags = {"local_files", "http", "huggingface", "software_licences"}
    parts = [part for part in problem["loc"] if part not in union_tags and not str(part).startswith("literal[")]
    key = ".".join(str(part) for part in parts) or "the file"
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "missing":
            return f"{key} is missing; add it"
        case "extra_forbidden":
            return f"{key} is unknown; remove it or correct the spelling"
        case "value_error" if isinstance(problem["input"], dict):
            return f"{key}: {message}"
        case _:
            found = repr(problem["input"])
            return f"{key} is {found if len(found) <= 80 else found[:77] + '...'}: {message}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice in one mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Looked at here, before `<<: *name` brings in what a mapping may override."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = "<<" if key_node.tag == MERGE else self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return node
