"""One damaged file beside good ones, and the commands that read it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .mutations import mutated_json, mutated_yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "tiny"
DATA = ROOT / "fixtures" / "goldens" / "data"
Words = list[str]

_BASIC = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None}
_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _small_tokenizers() -> list[dict[str, Any]]:
    """One of each kind of model, with parts that the tiny tokenizer has not."""
    added = [{"id": at, "content": text, **_SPECIAL} for at, text in enumerate(("<unk>", "<s>", "</s>"))]
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {letter: 3 + at for at, letter in enumerate(_LETTERS)}
    pieces = [[text, -float(at)] for text, at in words.items()]
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prefix = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace, {"type": "NFKC"}]}
    bert = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    split = {"type": "Split", "pattern": {"Regex": "\\s+|\\w"}, "behavior": "Isolated", "invert": False}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    join = {"type": "Sequence", "decoders": [replace | {"content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    return [
        {
            **_BASIC,
            "added_tokens": added,
            "normalizer": prefix,
            "pre_tokenizer": metaspace,
            "post_processor": template,
            "decoder": join,
            "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
        },
        {
            **_BASIC,
            "added_tokens": added,
            "normalizer": bert,
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": "<unk>",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": words,
            },
        },
        {
            **_BASIC,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "decoder": {"type": "ByteLevel"},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "vocab": {**words, "ab": 29, "abc": 30},
                "merges": [["a", "b"], ["ab", "c"]],
            },
        },
        {
            **_BASIC,
            "added_tokens": added,
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Whitespace"},
            "decoder": None,
            "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": words},
        },
    ]


_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", **_SPECIAL},
    "pad_token": None,
    "add_bos_token": True,
    "model_max_length": 4096,
    "additional_special_tokens": ["<x>"],
    "extra_special_tokens": {"image_token": "<i>"},
    "added_tokens_decoder": {"2": {"content": "</s>", **_SPECIAL}, "40": {"content": "<y>", **_SPECIAL}},
    "chat_template": "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}",
}
_BESIDE: dict[str, Any] = {
    "tokenizer_config.json": _CONFIG,
    "special_tokens_map.json": {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", **_SPECIAL},
        "additional_special_tokens": ["<x>"],
    },
    "added_tokens.json": {"<y>": 40, "<z>": 41},
    "config.json": json.loads((TINY / "config.json").read_text("utf-8")),
    "generation_config.json": {"eos_token_id": [2, 3], "temperature": 0.7},
    "chat_template.json": {"chat_template": _CONFIG["chat_template"]},
}


def tokenizer_trials(folder: Path, number: int) -> list[Words]:
    """A model folder with one damaged file."""
    rng = random.Random(number)
    model = folder / "model"
    model.mkdir(parents=True)
    bases = [json.loads((TINY / "tokenizer.json").read_text("utf-8")), *_small_tokenizers()]
    files: dict[str, Any] = {"tokenizer.json": rng.choice(bases), "config.json": _BESIDE["config.json"]}
    others = [name for name in _BESIDE if name != "config.json"]
    for name in rng.sample(others, rng.randrange(len(others))):
        files[name] = _BESIDE[name]
    target = "tokenizer.json" if rng.random() < 0.6 else rng.choice(sorted(files))
    for name, value in files.items():
        data = mutated_json(value, rng) if name == target else json.dumps(value).encode()
        (model / name).write_bytes(data)
    stage = rng.choice(("sft", "sft", "pt"))
    settings = [
        f"dataset={DATA / ('alpaca_sft.json' if stage == 'sft' else 'pretrain.json')}",
        f"model_name_or_path={model}",
        "cutoff_len=128",
        "workers=1",
        f"stage={stage}",
        f"template={rng.choice(('auto', 'qwen3', 'llama3', 'default'))}",
        "max_samples=3",
    ]
    out = f"{folder}/out"
    return [
        [
            ["pack", *settings, "-o", out],
            ["validate", *_config(folder, settings)],
            ["inspect", *_config(folder, settings)],
        ][number % 3],
        [
            "train",
            "--dry-run",
            *settings,
            "train_from_scratch=true",
            f"tokenized_path={out}",
            f"output_dir={folder}/run",
        ],
    ]


def _config(folder: Path, settings: Words) -> Words:
    path = folder / "run.yaml"
    path.write_text("".join(f"{line.replace('=', ': ', 1)}\n" for line in settings), "utf-8")
    return [str(path)]


def dataset_info_trials(folder: Path, number: int) -> list[Words]:
    """A data folder whose dataset_info.json is damaged."""
    rng = random.Random(number)
    folder.mkdir(parents=True)
    for path in DATA.iterdir():
        if path.name != "dataset_info.json":
            shutil.copy(path, folder / path.name)
    info = json.loads((DATA / "dataset_info.json").read_text("utf-8"))
    name = rng.choice(sorted(info))
    entry = info[name]
    extra = {
        "split": "train[:50%]",
        "num_samples": 2,
        "subset": "default",
        "folder": "x",
        "license": "mit",
        "ranking": False,
    }
    entry |= {key: extra[key] for key in rng.sample(sorted(extra), rng.randrange(4)) if key not in entry}
    base = {name: entry} if rng.random() < 0.8 else info
    (folder / "dataset_info.json").write_bytes(mutated_json(base, rng))
    stage = rng.choice(("sft", "dpo", "kto", "pt"))
    settings = [
        f"dataset={name}",
        f"dataset_dir={folder}",
        f"model_name_or_path={TINY}",
        "template=qwen3",
        "cutoff_len=128",
        "workers=1",
        f"stage={stage}",
    ]
    out = f"{folder}/out"
    more = [
        ["pack", *settings, "-o", out],
        ["validate", *_config(folder, settings)],
        ["convert", "--to", "openai", str(folder / "dataset_info.json"), "-o", f"{folder}/x.jsonl"],
        ["inspect", *_config(folder, settings)],
        ["stats", *_config(folder, settings)],
        [
            "train",
            "--dry-run",
            *settings,
            "train_from_scratch=true",
            f"tokenized_path={out}",
            f"output_dir={folder}/run",
        ],
        ["predict", "--dry-run", *settings, f"tokenized_path={out}", f"output_dir={folder}/run"],
    ]
    return [["list", "datasets", str(folder)], ["pack", *settings, "-o", out], more[number % len(more)]]


def yaml_trials(folder: Path, number: int) -> list[Words]:
    """A damaged configuration."""
    from pipeline.config.keys import keys

    rng = random.Random(number)
    folder.mkdir(parents=True)
    stage = rng.choice(("sft", "dpo", "kto", "pt"))
    data = {"sft": "alpaca_sft", "dpo": "dpo_alpaca", "kto": "kto_alpaca", "pt": "pretrain"}[stage]
    lines = [
        f"model_name_or_path: {TINY}\n",
        "train_from_scratch: true\n",
        f"stage: {stage}\n",
        f"dataset: {DATA / data}.json\n",
        "template: qwen3\n",
        "cutoff_len: 128\n",
        "rules: {text.special-token: warning}\n",
        "val_size: 0.1\n",
        f"tokenized_path: {folder}/out\n",
        f"output_dir: {folder}/run\n",
        "lr_scheduler_kwargs: {power: 2}\n",
        "workers: 1\n",
    ]
    path = folder / "run.yaml"
    path.write_bytes(mutated_yaml(lines, sorted(keys()), rng))
    more = [
        ["pack", str(path)],
        ["inspect", str(path)],
        ["stats", str(path)],
        ["predict", "--dry-run", str(path)],
        ["validate", str(path)],
    ]
    return [["train", "--dry-run", str(path)], more[number % len(more)]]


def json_config(number: int, words: Words, key: str, value: Any) -> str:
    """A configuration in JSON, in the working directory, with one value set.

    Args:
        number: Sets its name apart.
        words: Other settings, as words of the command line.
        key: The key to set.
        value: Its value; a number may have more digits than Python writes.
    """
    try:
        text = json.dumps(dict(word.split("=", 1) for word in words) | {key: value})
    except ValueError:  # too many digits
        text = f'{{"{key}": {"9" * 4400}}}'
    path = Path(f"odd{number}.json")
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return str(path)


TRIALS: dict[str, Callable[[Path, int], list[Words]]] = {
    "tokenizer": tokenizer_trials,
    "dataset_info": dataset_info_trials,
    "yaml": yaml_trials,
}
