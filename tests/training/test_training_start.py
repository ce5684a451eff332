"""Starting from a model that is there: in the test's own process, but for one build through the door."""

import shutil
from dataclasses import replace

import pytest
import torch
from small import make_documents, small_inputs, training_config, weights
from test_training_loop import NeverStop, StopAt, results, run_folder, small_plan, torch_settings  # noqa: F401

from minimind.digests import sha256_of_file
from minimind.errors import ConfigError, ModelNotFoundError, UserError
from minimind.model.hugging_face import export_model, load_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.shards.reader import ShardReader
from minimind.store import Store
from minimind.training.budget import make_plan
from minimind.training.build import build
from minimind.training.holdout import Holdout, holdout_windows
from minimind.training.loop import Trainer, train
from minimind.training.plan import Options
from minimind.training.process import StopRequestedError
from minimind.training.start import Start, check_fits, check_tokenizer, optimizer_settings

SIZES = ModelConfig(300, 16, 2, 2, 1, 8, 24, 32)  # those of `small_plan`
CONFIG = training_config(budget="10k tokens")  # one layer


def exported(folder, config=SIZES, seed=5):
    """A model that knows something: every weight is drawn."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.1, generator=generator)
    export_model(model, folder)
    (folder / "tokenizer.json").write_text("{}\n")
    return folder


@pytest.fixture
def model(tmp_path):
    return exported(tmp_path / "model")


@pytest.fixture
def shards(shards_folder):
    return shards_folder(make_documents(1, 40, 100), holdout=make_documents(2, 10, 90))


def score(trainer, shards):
    windows = len(holdout_windows(ShardReader(shards, "holdout"), 32))
    return trainer.evaluate(Holdout(shards, 32, windows, 2), NeverStop())["holdout_loss"]


@pytest.mark.parametrize(
    "additions",
    [{}, {"residual_scalars": True}, {"embedding_norm": True, "residual_scalars": True}],
    ids=lambda additions: "+".join(additions) or "plain",
)
def test_training_begins_where_the_model_is(shards, tmp_path, additions):
    config = replace(SIZES, **additions)
    folder = exported(tmp_path / "model", config)
    trainer = Trainer(small_plan(model=config, start=Start(folder).files()), shards)
    drawn = score(trainer, shards)
    trainer.start_from(folder)
    trainer.model, before = load_model(folder), trainer.model
    theirs = score(trainer, shards)
    trainer.model = before
    assert score(trainer, shards) == pytest.approx(theirs, rel=1e-5)
    assert abs(drawn - theirs) > 0.01


def start_folder(path, plan, shards, model):
    folder = run_folder(path, plan, shards)
    options = Options.read(folder.options).model_copy(update={"start": model})
    options.write(folder.options)
    return folder


def plan_from(model, **changes):
    hardware = torch.backends.cpu.get_cpu_capability()
    return small_plan(hardware=hardware, start=Start(model).files(), **{"steps": 4, "evaluations": 1} | changes)


def test_same_start_gives_the_same_bytes_and_a_resumption_needs_it_no_more(
    shards,
    model,
    tmp_path,
    torch_settings,  # noqa: F811
):
    first, again, scratch = (tmp_path / name for name in ("first", "again", "scratch"))
    runs = [start_folder(path, plan_from(model), shards, model) for path in (first, again)]
    train(runs[0], NeverStop())
    with pytest.raises(StopRequestedError):
        train(runs[1], StopAt(5))
    shutil.rmtree(model)
    train(runs[1], NeverStop())
    assert results(runs[0]) == results(runs[1])
    plain = run_folder(scratch, small_plan(steps=4, evaluations=1, hardware=runs_hardware()), shards)
    train(plain, NeverStop())
    assert results(plain) != results(runs[0])


def runs_hardware():
    return torch.backends.cpu.get_cpu_capability()


def test_start_that_has_changed_since_it_was_planned_is_refused(
    shards,
    model,
    tmp_path,
    torch_settings,  # noqa: F811
):
    folder = start_folder(tmp_path / "run", plan_from(model), shards, model)
    exported(model, seed=6)
    with pytest.raises(UserError, match=r"model\.safetensors is not the file that the plan was made for"):
        train(folder, NeverStop())


def test_plan_has_the_start_in_it_and_its_schedule(store_of_shards, tmp_path):
    store, shards = store_of_shards
    one_layer = replace(SIZES, layers=1, rope_theta=5e5, norm_epsilon=1e-5)
    model = exported(tmp_path / "model", one_layer)
    plain, warm = (make_plan(CONFIG, shards, store, start) for start in (None, Start(model)))
    assert (plain.start, warm.start) == ({}, Start(model).files())
    assert set(warm.start) == {"config.json", "model.safetensors"}
    assert (warm.model.rope_theta, warm.model.norm_epsilon) == (5e5, 1e-5)
    assert warm.optimizer.matrix_learning_rate == 0.5 * plain.optimizer.matrix_learning_rate
    moved = make_plan(CONFIG, shards, store, Start(shutil.copytree(model, tmp_path / "moved")))
    assert moved.sha256 == warm.sha256 != plain.sha256


def test_warm_schedule_replaces_phases_and_peak_and_nothing_else():
    cold, warm = (optimizer_settings(CONFIG, warm=choice).model_dump() for choice in (False, True))
    assert {name for name in cold if cold[name] != warm[name]} == {
        "learning_rate", "matrix_learning_rate", "decay_ratio",
    }  # fmt: skip
    assert (warm["learning_rate"], warm["matrix_learning_rate"]) == (5e-3, 1e-2)
    assert (warm["warmup_ratio"], warm["decay_ratio"]) == (0.1, 0.6)


@pytest.fixture
def store_of_shards(tmp_path):
    store = Store(tmp_path / "store", "made")
    return store, small_inputs(store).shards


@pytest.mark.parametrize(
    ("there", "section", "expected"),
    [
        ({"layers": 2}, {}, "its sizes are not those of training.sizes: layers is 2, not 1"),
        ({"max_positions": 16}, {}, r"it knows 16 positions, and training\.sequence_length is 32; lower that to 16"),
        ({}, {"embedding_norm": True}, "it has no norm behind its embedding"),
        ({"tied_embeddings": False}, {}, "it has an output matrix of its own"),
        ({"layers": 2, "max_positions": 16}, {"embedding_norm": True}, "3 problems in training.start_from"),
    ],
)
def test_model_that_the_config_does_not_fit_is_refused_with_all_that_is_wrong(tmp_path, there, section, expected):
    folder = exported(tmp_path / "model", replace(replace(SIZES, layers=1), **there))
    with pytest.raises(ConfigError, match=expected):
        check_fits(training_config(**section), folder)


def test_preset_is_named_where_its_sizes_differ(model):
    with pytest.raises(ConfigError, match=r"of training\.preset tiny: hidden_size is 16, not 128, layers is 2, not 4"):
        check_fits(training_config(preset="tiny", sizes=None), model)


def test_longer_context_than_is_trained_on_is_no_problem(tmp_path):
    check_fits(training_config(), exported(tmp_path / "model", replace(SIZES, layers=1, max_positions=64)))


def test_folder_that_lacks_a_tensor_or_is_no_model_is_refused(tmp_path):
    folder = exported(tmp_path / "model", replace(SIZES, layers=1))
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('layers": 1', 'layers": 2'))
    with pytest.raises(ModelNotFoundError, match=r"layers\.1\.input_layernorm\.weight is missing"):
        check_fits(training_config(), folder)
    with pytest.raises(ModelNotFoundError, match=r"config\.json is missing"):
        check_fits(training_config(), tmp_path)


def test_model_with_another_tokenizer_or_vocabulary_is_refused(model):
    own = sha256_of_file(model / "tokenizer.json")
    check_tokenizer(Start(model), own, 300)
    with pytest.raises(ConfigError, match=r"its tokenizer is not the one of this run; set tokenizer\.keep"):
        check_tokenizer(Start(model), "0" * 64, 300)
    with pytest.raises(ConfigError, match="its vocabulary has 300 tokens, the tokenizer 400"):
        check_tokenizer(Start(model), own, 400)
    (model / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"it has no tokenizer\.json beside it"):
        check_tokenizer(Start(model), own, 300)


def test_second_training_starts_from_the_first_and_says_so(tmp_path):
    store = Store(tmp_path / "store", "made")
    inputs = small_inputs(store)
    first = build(CONFIG, inputs, store)
    start = Start(first.path / "model", {"name": "made", "version": "1"}, first.fingerprint)
    warm = build(CONFIG, replace(inputs, start=start), store)
    assert warm.details["started_from"] == {"name": "made", "version": "1"}
    assert warm.parents["training"] == first.fingerprint
    assert warm.inputs["start/model.safetensors"] == first.files["model/model.safetensors"].sha256
    assert warm.counts["holdout_loss"] < first.counts["holdout_loss"]
    moved = Start(shutil.copytree(start.folder, tmp_path / "moved"))
    again = build(CONFIG, replace(inputs, start=moved), store)
    assert again.reused
    assert weights(again) == weights(warm) != weights(first)
