"""Values that no key of a type can have, and values that may be wrong for what a key is about."""

from __future__ import annotations

from pipeline.config.keys import Key

NO_SUCH: dict[str, tuple[str, ...]] = {
    "bool": ("maybe", "2", "1.5", "[]", "{}"),
    "int": ("x", "1.5", "nan", "inf", "9" * 30, "-" + "9" * 30, "9" * 4400, "1e400", "true", "[1]", "{}", "0x10"),
    "float": ("x", "nan", "inf", "-inf", "9" * 4400, "1e400", "[1]", "{}", "true", "1,5"),
    "enum": ("nonsense", "1", "[]", "{}"),
    "floats": ("x", "1,x", "nan", "{}", "[[1]]", "[1"),
    "dict": (
        "x",
        "1",
        "[1]",
        "{",
        "{a: b",
        "{a: a: a}",
        "{? [x] : y}",
        "{a: " + "9" * 4400 + "}",
        "{a: &b {c: *b}}",
        "{a: !!python/name:os.system x}",
    ),
    "bytes": ("x", "-1", "1XB", "nan", "9" * 400 + "GB", "[]", "{}"),
    "share": ("x", "-1", "1.5", "101.%", "nan%", "inf", "9" * 400, "[]", "{}", "-5%"),
    "str": ("\ud800", "a\ud83d"),
    "list": ("\ud800", "[a, \ud800]"),
    "path": ("\ud800",),
    "paths": ("\ud800",),
}
ODD = (
    "",
    " ",
    "null",
    "0",
    "-1",
    "1",
    "true",
    "false",
    "1e308",
    "1e-320",
    str((1 << 63) - 1),
    str(-(1 << 63)),
    "x",
    "a,b",
    ",",
    "a=b",
    "a=b,c=1",
    "\0",
    "a\0b",
    "\udcff",
    "\u202e\x1b[2J",
    "é日本🤖",
    "x" * 5000,
    "..",
    ".",
    "/dev/null",
    "/dev/full",
    "nowhere/x.yaml",
    "~nobody/x",
    "http://[",
    "http://127.0.0.1:1/x",
    "s3://b/x",
    "hf://x",
    "*",
    "[",
    "${NOT_SET}",
    "${",
    "[]",
    "[[]]",
    "[null]",
    "{}",
    "{a: [1]}",
    "{a: {b: c}}",
    "2024-02-30",
    "auto",
    "none",
    "%s%n{0}",
)
ODD_JSON = (
    None,
    True,
    False,
    0,
    -1,
    0.5,
    1e308,
    (1 << 63) - 1,
    1 << 64,
    10**400,
    "",
    "x",
    "\0",
    "\ud800",
    [],
    [None],
    [[1]],
    ["", 1],
    [{"a": 1}],
    {},
    {"": None},
    {"a": [{}]},
    {"a": 1 << 70},
)


def no_such(key: Key) -> list[str]:
    """Values, as words of the command line, that cannot be one of the key's."""
    values = [value for value in NO_SUCH[key.types[0]] if all(value in NO_SUCH[kind] for kind in key.types[1:])]
    if key.low is not None and key.types[0] in ("int", "float"):
        values.append(str(int(key.low) - 1))
    if key.high is not None and key.types[0] in ("int", "float"):
        values.append(str(int(key.high) + 1))
    return values
