import pytest
import yaml

from minimind.errors import ConfigError
from minimind.explore.yaml_text import with_overrides, with_values

TEXT = """\
# a domain
name: laws      # its name
corpus:
  sources:
    - kind: local_files
      name: local
training:
  preset: tiny                       # a size
  budget: 10m   # or tokens
cleaning:
  language:
    expected: []                     # such as [en]
"""


def test_values_change_and_comments_stay_where_they_are() -> None:
    changed = with_values(
        TEXT,
        {
            "name": "acts",
            "training.preset": "26m",
            "training.budget": "40 epochs",
            "cleaning.language.expected": ["en"],
        },
    )
    assert "  preset: 26m                        # a size\n" in changed
    assert "  budget: 40 epochs # or tokens\n" in changed
    assert '    expected: ["en"]                 # such as [en]\n' in changed
    assert "name: acts      # its name\n" in changed
    assert "      name: local\n" in changed
    tree = yaml.safe_load(changed)
    assert (tree["training"], tree["name"]) == ({"preset": "26m", "budget": "40 epochs"}, "acts")
    assert changed.count("\n") == TEXT.count("\n")


def test_yaml_that_is_written_otherwise_is_written_anew_with_the_same_values() -> None:
    text = "training: {sizes: {layers: 2}, budget: 10m}\nname: a\n"
    changed = with_values(text, {"training.preset": "tiny", "training.budget": "2h"})
    assert yaml.safe_load(changed) == {"training": {"budget": "2h", "preset": "tiny"}, "name": "a"}


def test_overrides_stand_in_the_text() -> None:
    changed = with_overrides(TEXT, ["training.budget=2h", "cleaning.language.expected=[de, en]"])
    assert "  budget: 2h    # or tokens\n" in changed
    assert '    expected: ["de", "en"]           # such as [en]\n' in changed
    sized = with_overrides(TEXT, ["training.preset=26m", "training.sizes={layers: 2}"])
    assert yaml.safe_load(sized)["training"] == {"sizes": {"layers": 2}, "budget": "10m"}


@pytest.mark.parametrize(
    ("override", "said"), [("training", "write section.key=value"), ("a.b=https://x:y@z", "in its place")]
)
def test_what_is_no_override_is_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_overrides(TEXT, [override])


def test_nothing_to_change_changes_nothing() -> None:
    assert with_values(TEXT, {}) == TEXT
