import logging

import pytest
import torch

from minimind.errors import DeviceError
from minimind.training import precision
from minimind.training.compilation import choose_compilation
from minimind.training.precision import choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """Decides as if there were a GPU."""

    def make(has_bf16):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Made-up 1000")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)

    return make


@pytest.mark.parametrize(
    ("demanded", "has_bf16", "chosen", "said"),
    [
        ("auto", True, "bf16", "precision bf16: Made-up 1000 has it"),
        ("auto", False, "fp16", "precision fp16: Made-up 1000 has no bf16; losses are scaled"),
        ("fp16", True, "fp16", "precision fp16: training.precision says so"),
        ("fp32", True, "fp32", "precision fp32: training.precision says so"),
    ],
)
def test_gpu_gets_the_fastest_precision_it_has_and_the_log_says_why(gpu, caplog, demanded, has_bf16, chosen, said):
    gpu(has_bf16)
    with caplog.at_level(logging.INFO):
        assert choose_precision(demanded, GPU) == chosen
    assert said in caplog.text


def test_bf16_on_a_gpu_without_it_is_refused(gpu):
    gpu(False)
    with pytest.raises(DeviceError, match="bf16, which Made-up 1000 lacks; set it to auto or fp16"):
        choose_precision("bf16", GPU)


@pytest.mark.parametrize(("amx", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_cpu_gets_bf16_only_with_amx(monkeypatch, caplog, amx, chosen):
    monkeypatch.setattr(precision, "cpu_has_amx", lambda: amx)
    with caplog.at_level(logging.INFO):
        assert choose_precision("auto", CPU) == chosen
    assert "AMX" in caplog.text


def test_blocks_are_compiled_on_a_gpu_unless_the_yaml_says_otherwise():
    assert [choose_compilation(demanded, GPU) for demanded in ("auto", True, False)] == [True, True, False]
    assert [choose_compilation(demanded, CPU) for demanded in ("auto", True, False)] == [False, True, False]
