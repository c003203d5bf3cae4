"""The path that trainers take, written straight: load_dataset, map(convert), map(encode one call a segment), save.

Run by run.py in a process of its own: trainer_path.py DATA_DIR TOKENIZER_DIR OUT WORKERS. What it does is what
LLaMA-Factory's data side does for `template: qwen3`, `cutoff_len: 4096`, `packing: true`: role and content, one
`tokenizer.encode` call a segment, Python lists of ids and labels, a greedy knapsack in each batch of 1,000, padding.
"""

from __future__ import annotations

import bisect
import json
import sys
from pathlib import Path
from typing import Any

CUTOFF = 4096
ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool", "system": "system"}
_tokenizer: Any = None


def convert(record: dict[str, Any], kind: str) -> dict[str, Any]:
    tools = record.get("tools") or ""
    if kind == "alpaca":
        prompt = "\n".join(text for text in (record["instruction"], record["input"]) if text)
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": record["output"]}]
    elif kind == "sharegpt":
        messages = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in record["conversations"]]
    else:
        messages = [
            {"role": turn["role"], "content": turn["content"] or json.dumps(turn.get("tool_calls"), ensure_ascii=False)}
            for turn in record["messages"]
        ]
        tools = json.dumps(tools, ensure_ascii=False) if tools else ""
    return {"turns": messages, "tool_text": tools}


def encode(batch: dict[str, Any], folder: str) -> dict[str, Any]:
    global _tokenizer
    if _tokenizer is None:
        from transformers import AutoTokenizer

        _tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids_of(text: str) -> list[int]:
        found: list[int] = _tokenizer.encode(text, add_special_tokens=False)
        return found

    examples = []
    for turns, tools in zip(batch["turns"], batch["tool_text"], strict=True):
        ids: list[int] = []
        labels: list[int] = []
        system = ""
        if turns and turns[0]["role"] == "system":
            system, turns = turns[0]["content"], turns[1:]
        prompts = [f"<|im_start|>system\n{system}{tools}<|im_end|>\n"] if system or tools else []
        for turn in turns:
            if turn["role"] != "assistant":
                prompts.append(f"<|im_start|>user\n{turn['content']}<|im_end|>\n<|im_start|>assistant\n")
            for prompt in prompts:
                part = ids_of(prompt)
                ids += part
                labels += [-100] * len(part)
            prompts = []
            if turn["role"] == "assistant":
                part = [] if "<think>" in turn["content"] else ids_of("<think>\n\n</think>\n\n")
                part = part + ids_of(turn["content"] + "<|im_end|>\n")
                ids += part
                labels += part
        examples.append((ids[: CUTOFF - 1], labels[: CUTOFF - 1]))
    return pack(examples)


def pack(examples: list[tuple[list[int], list[int]]]) -> dict[str, Any]:
    order = sorted((len(ids), index) for index, (ids, _) in enumerate(examples))
    lengths, indices = [length for length, _ in order], [index for _, index in order]
    rows: dict[str, Any] = {"input_ids": [], "labels": [], "attention_mask": [], "position_ids": []}
    while lengths:
        room = CUTOFF
        row: dict[str, list[int]] = {name: [] for name in rows}
        while (at := bisect.bisect_right(lengths, room) - 1) >= 0:
            room -= lengths.pop(at)
            ids, labels = examples[indices.pop(at)]
            row["input_ids"] += ids
            row["labels"] += labels
            row["position_ids"] += range(len(ids))
        pad = CUTOFF - len(row["input_ids"])
        row["input_ids"] += [151643] * pad
        row["labels"] += [-100] * pad
        row["position_ids"] += [0] * pad
        row["attention_mask"] = [1] * CUTOFF
        for name, values in row.items():
            rows[name].append(values)
    return rows


def main() -> None:
    import datasets

    data, tokenizer, out, workers = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    parts = []
    for kind in ("alpaca", "sharegpt", "messages"):
        loaded = datasets.load_dataset(
            "json", data_files=str(data / f"{kind}.jsonl"), split="train", cache_dir=f"{out}.hf"
        )
        columns = loaded.column_names
        parts.append(loaded.map(convert, fn_kwargs={"kind": kind}, remove_columns=columns, num_proc=workers))
    joined = datasets.concatenate_datasets(parts)
    packed = joined.map(
        encode, batched=True, batch_size=1000, num_proc=workers, fn_kwargs={"folder": tokenizer},
        remove_columns=joined.column_names,
    )  # fmt: skip
    packed.save_to_disk(out)


if __name__ == "__main__":
    main()
