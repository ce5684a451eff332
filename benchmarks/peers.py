"""Makes an environment with the packages that benchmarks compare this project with, and with nothing of this project.

    python -m benchmarks.peers FOLDER

They are those of the extra `benchmarks` in pyproject.toml; some want older versions of what the project needs.
"""

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("one argument was expected, the folder of the environment: python -m benchmarks.peers FOLDER")
    python = make_environment(Path(sys.argv[1]))
    print(f"--peers-python {python}")


def make_environment(folder: Path) -> Path:
    """The python of the environment, made or brought up to date."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", *requirements()], check=True)
    return python


def requirements() -> list[str]:
    named: list[str] = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["benchmarks"]
    return named


if __name__ == "__main__":
    main()
