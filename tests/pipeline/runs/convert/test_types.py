"""The account of a conversion: records by file, losses by severity."""

from __future__ import annotations

import pytest

from pipeline.runs.convert.types import Converted, FileCounts
from stages.formats.losses import LOSSES


def test_records_add_up_over_the_files() -> None:
    done = Converted(files=[FileCounts("a", read=5, written=3, rejected=2), FileCounts("b", read=1, written=1)])
    assert (done.read, done.written, done.rejected) == (6, 4, 2)


def test_only_errors_count_as_errors() -> None:
    """Findings of whole files are among them, warnings are not."""
    done = Converted()
    done.found.counts.update({("json.syntax", "error"): 2, ("file.empty", "error"): 1, ("set.duplicate", "warning"): 4})
    assert done.errors == 3


def test_each_loss_is_of_content_or_of_form() -> None:
    done = Converted()
    done.losses.update({(f"field{number}", what): number + 1 for number, what in enumerate(LOSSES)})
    assert done.lost("content") > 0 and done.lost("form") > 0
    assert done.lost("content") + done.lost("form") == sum(done.losses.values())


def test_values_that_became_json_text_are_reshaped() -> None:
    """Whatever else a container changes is not."""
    done = Converted(changed={"a": {"to JSON text": 2, "to float": 9}, "b": {"to JSON text": 1}, "c": {}})
    assert done.reshaped == 3


def test_a_loss_that_is_not_in_the_table_is_a_mistake() -> None:
    done = Converted()
    done.losses["field", "no-such-loss"] = 1
    with pytest.raises(KeyError, match="no-such-loss"):
        done.lost("content")
