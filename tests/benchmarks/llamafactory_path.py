"""LLaMA-Factory's own data side on the same files, with its own code: run by run.py --llamafactory PYTHON.

llamafactory_path.py DATA_DIR TOKENIZER_DIR OUT WORKERS, with what `prepared` made of the data, in an environment with
`llamafactory` (0.9.5 was tried; without torchaudio an empty stand-in is put in its place, since the data holds no
sound). It reads, converts, encodes, packs and saves as `llamafactory-cli train` does before the first step.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path


def as_text_tools(source: Path, target: Path) -> None:
    """Its loader cannot put tool definitions of different shapes into one Arrow column: their JSON text it can."""
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as out:
        for line in lines:
            record = json.loads(line)
            if not isinstance(record.get("tools", ""), str):
                record["tools"] = json.dumps(record["tools"], ensure_ascii=False)
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def prepared(data: Path, folder: Path) -> Path:
    """A folder with a dataset_info.json that spells out the tags of the openai file; not counted in its time."""
    folder.mkdir(exist_ok=True)
    info = json.loads((data / "dataset_info.json").read_text(encoding="utf-8"))
    for entry in info.values():
        entry["file_name"] = str(data / entry["file_name"])
    as_text_tools(data / "messages.jsonl", folder / "messages.jsonl")
    info["messages"] |= {
        "file_name": str(folder / "messages.jsonl"),
        "tags": {
            "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "observation_tag": "tool", "function_tag": "function", "system_tag": "system",
        },
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def main() -> None:
    data, tokenizer, out, workers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    os.environ |= {"DISABLE_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": f"{out}.hf"}
    if importlib.util.find_spec("torchaudio") is None:
        absent = sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        absent.__spec__ = ModuleSpec("torchaudio", None)
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from llamafactory.model.loader import load_tokenizer
    from transformers import Seq2SeqTrainingArguments

    model = ModelArguments(model_name_or_path=tokenizer, cache_dir=f"{out}.cache")
    settings = DataArguments(
        dataset_dir=data, dataset="alpaca,sharegpt,messages", template="qwen3", cutoff_len=4096, packing=True,
        preprocessing_num_workers=workers, tokenized_path=out,
    )  # fmt: skip
    training = Seq2SeqTrainingArguments(output_dir=f"{out}.train", report_to=[])
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], settings)
    get_dataset(template, model, settings, training, stage="sft", tokenizer=loaded["tokenizer"], processor=None)


if __name__ == "__main__":
    main()
