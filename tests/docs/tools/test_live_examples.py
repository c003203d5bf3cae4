"""Outputs shown in the guides come from running what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.tools.live_examples import refreshed, run_shown, settled

PAGE = """# Title

<!-- file: data/one.jsonl -->
```json
{"instruction": "Hi", "output": "Hello."}
```

```bash
prep pack never.yaml
```

<!-- show: 1 -->
```console
$ prep validate data/one.jsonl
an old output
$ cat data/one.jsonl
```
"""


def test_outputs_are_written_anew_and_files_are_there(tmp_path: Path) -> None:
    text = refreshed(PAGE, tmp_path)
    assert "an old output" not in text
    assert "$ prep validate data/one.jsonl\n1 record read, 1 kept, 0 rejected\n...\n" in text
    assert text.endswith('$ cat data/one.jsonl\n{"instruction": "Hi", "output": "Hello."}\n```\n')
    assert refreshed(text, tmp_path) == text, "a second time changes nothing"


@pytest.mark.parametrize("command", ["rm -r data", "", "A=1", "python -c 1"])
def test_only_prep_and_looking_at_files_may_be_run(command: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="may run"):
        run_shown(command, tmp_path)


def test_variables_before_a_command_count(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("stage: ${STAGE}\n")
    code, output = run_shown("STAGE=sftt prep pack run.yaml", tmp_path)
    assert code == 2
    assert '"sftt" is not one of' in output


def test_what_differs_from_run_to_run_is_settled(tmp_path: Path) -> None:
    text = f"written {tmp_path}/out in 12.7 s at 2031-05-06T07:08:09Z --master_port 41234"
    assert settled(text, tmp_path) == "written out in 0.3 s at 2026-11-21T09:00:00Z --master_port 29500"
