import math

import pytest
import torch
import torch.nn.functional as F
from small import make_documents
from test_training_loop import NeverStop, small_plan, step_metrics
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minimind.model.transformer import ModelConfig, Transformer
from minimind.training import dynamics, flops
from minimind.training.dynamics import Meter, Observer, matrices_of, sampling_stride
from minimind.training.flops import flops_per_token
from minimind.training.loop import Trainer, observed_step
from minimind.training.proposal import most_tokens_per_second

TOKENS = torch.randint(3, 300, (1, 32), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def trainer(shards_folder):
    return Trainer(small_plan(), shards_folder(make_documents(1, 40, 100)))


def observed(trainer):
    observer = Observer(trainer.model, trainer.plan)
    before = {name: matrix.detach().clone() for name, matrix in matrices_of(trainer.model)}
    sampled = observer.sampled_weights()
    trainer.train_step(NeverStop())
    return before, {name: value.item() for name, value in observer.observe(sampled, TOKENS).items()}


def test_looking_changes_no_bit_of_the_training(shards_folder):
    shards = shards_folder(make_documents(1, 40, 100))
    watched, plain = (Trainer(small_plan(steps=3), shards) for _ in range(2))
    observer = Observer(watched.model, watched.plan)
    looks = [observed_step(watched, observer, NeverStop()).observed is not None for _ in range(3)]
    for _ in range(3):
        plain.train_step(NeverStop())
    assert looks == [True, False, True]  # the first and the last
    assert all(torch.equal(watched.tensors()[name], tensor) for name, tensor in plain.tensors().items())
    assert not any(module._forward_hooks for module in watched.model.modules())


class Pinnable(torch.Tensor):
    """Tells how it was sent to a device that is not there."""

    def pin_memory(self):
        self.pinned = self.is_contiguous()
        return self

    def to(self, device, non_blocking=False):
        self.sent = device.type, non_blocking
        return self


def test_tokens_to_look_at_are_sent_to_a_gpu_without_waiting(trainer, monkeypatch):
    looked_at = []
    observer = Observer(trainer.model, trainer.plan)
    monkeypatch.setattr(observer, "observe", lambda before, tokens: looked_at.append(tokens))
    monkeypatch.setattr(trainer, "train_step", lambda stop: step_metrics(1))
    monkeypatch.setattr(trainer.sequences, "batch", lambda first, count: (TOKENS.as_subclass(Pinnable), None))
    trainer.device = torch.device("cuda")
    observed_step(trainer, observer, NeverStop())
    assert (looked_at[0].pinned, looked_at[0].sent) == (True, ("cuda", True))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_steps_that_are_looked_at_wait_for_no_device(shards_folder, monkeypatch, device):
    monkeypatch.setattr(dynamics, "OBSERVED_EVERY", 1)
    trainer = Trainer(small_plan(device=device), shards_folder(make_documents(1, 40, 100)))
    observer = Observer(trainer.model, trainer.plan)
    observed_step(trainer, observer, NeverStop())  # loads kernels
    waiting = torch.cuda.set_sync_debug_mode if device == "cuda" else lambda mode: None
    waiting("error")
    try:
        steps = [observed_step(trainer, observer, NeverStop()) for _ in range(3)]
    finally:
        waiting("default")
    assert all(math.isfinite(value) for step in steps for value in step.observed.values())


def test_update_ratio_is_that_of_the_whole_layer(trainer):
    before, found = observed(trainer)
    after = {name: matrix.detach() for name, matrix in matrices_of(trainer.model)}
    for part, prefix in (("layer_00", "layers.0."), ("layer_01", "layers.1."), ("embedding", "embed_tokens.")):
        names = [name for name in before if name.startswith(prefix)]
        moved = sum((after[name] - before[name]).square().sum() for name in names)
        expected = math.sqrt(moved / sum(before[name].square().sum() for name in names))
        assert found[f"update_ratio/{part}"] == pytest.approx(expected, rel=1e-4)


def test_sampled_update_ratio_is_close_to_that_of_all_weights(trainer, monkeypatch):
    monkeypatch.setattr(dynamics, "SAMPLED_WEIGHTS", 200)
    before, found = observed(trainer)
    after = dict(matrices_of(trainer.model))
    name = "embed_tokens.weight"
    expected = ((after[name] - before[name]).norm() / before[name].norm()).item()
    assert found["update_ratio/embedding"] == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("shape", [(6400, 512), (512, 1408), (300, 16), (1, 200_000)])
def test_sample_of_a_matrix_meets_every_column_and_stays_small(shape):
    stride = sampling_stride(torch.empty(shape, device="meta"))
    places = range(0, math.prod(shape), stride)
    assert len(places) <= 65_536
    assert shape[0] == 1 or {place % shape[1] for place in places} == set(range(shape[1]))


def test_attention_logit_maxima_are_those_that_attention_computes(trainer, monkeypatch):
    calls = []
    attend = F.scaled_dot_product_attention

    def spy(q, k, v, **options):
        calls.append((q, k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)))
        return attend(q, k, v, **options)

    observer = Observer(trainer.model, trainer.plan)
    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    found = observer.observe(observer.sampled_weights(), TOKENS)
    for layer, (q, k) in enumerate(calls):
        allowed = torch.ones(32, 32).tril().bool()
        expected = max((q[0, head] @ k[0, head].T / 8**0.5)[allowed].max().item() for head in range(2))
        assert found[f"attention_logit_max/layer_{layer:02}"].item() == pytest.approx(expected, rel=1e-5)
    assert len(calls) == 2


def test_contribution_and_activation_are_those_of_the_residual_stream(trainer):
    layer = trainer.model.layers[1]
    with torch.no_grad():
        trainer.model.layers[0].mlp.down_proj.weight.fill_(0.1)
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    observer = Observer(trainer.model, trainer.plan)
    found = observer.observe(observer.sampled_weights(), TOKENS)
    assert found["contribution/layer_01"] == 0 < found["contribution/layer_00"]
    assert found["activation_max/layer_01"] == found["activation_max/layer_00"]
    assert found["output_logit_max"] == trainer.model(TOKENS).abs().max()


def test_flops_are_those_that_torch_counts_with_half_the_attention():
    config = ModelConfig(300, 16, 2, 4, 2, 8, 24, 64)
    model, tokens = Transformer(config), torch.zeros(1, 64, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(tokens)
    counted = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    weights, attention = counted["aten.mm"], counted["aten.bmm"]
    assert flops_per_token(config) == pytest.approx(3 * (weights + attention / 2) / 64)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12), ("Tesla T4", 65e12), ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 3090", 71e12), ("NVIDIA GeForce RTX 4090 Laptop GPU", None), ("NVIDIA L40", None),
    ],
)  # fmt: skip
def test_known_devices_have_their_makers_peak_and_others_are_measured(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(flops, "measured_flops", lambda device, precision, threads: -1.0)
    assert flops.peak_flops(torch.device("cuda"), "bf16") == (peak or -1.0)
    assert flops.peak_flops(torch.device("cuda"), "fp32") == -1.0


@pytest.mark.parametrize(("name", "is_limited"), [("NVIDIA H200", True), ("NVIDIA GeForce RTX 5090", False)])
def test_nothing_is_computed_on_a_gpu_to_plan_for_it(monkeypatch, name, is_limited):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(flops, "measured_flops", lambda *_: pytest.fail("memory would stay with the planning process"))
    assert (most_tokens_per_second(small_plan(device="cuda", precision="bf16")) < math.inf) == is_limited


def test_meter_tells_shares_of_the_time_since_it_was_started(monkeypatch):
    now, waited = [100.0], [7.0]
    meter = Meter(small_plan(), torch.device("cpu"), lambda: waited[0])
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(dynamics.time, clock, lambda: now[0])
    meter.restart()
    waited[0] += 1
    now[0] += 4
    found = meter.read(tokens=1000)
    assert found["data_stall"] == 0.25
    assert found["mfu"] == round(1000 / 4 * meter.flops_per_token / meter.peak, 5)
    assert found["peak_memory_bytes"] > 10_000_000
    meter.restart()
    now[0] += 1
    assert meter.read(tokens=0)["data_stall"] == 0
