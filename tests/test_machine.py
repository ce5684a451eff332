"""What a container may hold, as cgroups say it."""

from pathlib import Path

import pytest

from minimind.machine import container_memory

V2 = {"memory.max": "8000\n", "memory.current": "7000\n", "memory.stat": "anon 1000\ninactive_file 5500\n"}
V1 = {
    "memory/memory.limit_in_bytes": "8000\n", "memory/memory.usage_in_bytes": "7000\n",
    "memory/memory.stat": "cache 6000\ninactive_file 1\ntotal_inactive_file 5500\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "expected"),
    [(V2, (8000, 1500)), (V1, (8000, 1500)), (V2 | {"memory.max": "max\n"}, None), ({}, None)],
)
def test_files_that_were_read_do_not_fill_a_container(
    tmp_path: Path, files: dict[str, str], expected: tuple[int, int] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_memory(tmp_path) == expected
