"""The printed C file: what it includes and defines, the memory of a step, and its own run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chainrule.engines.c.comments import comment, comment_lines
from chainrule.engines.c.epochs import epochs_of
from chainrule.engines.c.functions import function_names, function_text
from chainrule.engines.c.many import steps_of
from chainrule.engines.c.multiplication import is_multiplication, multiplication_text
from chainrule.engines.c.parts import Field, File
from chainrule.engines.c.sharing import PARTS, team_function
from chainrule.engines.c.types import c_type

__all__ = ["print_files"]

_HEADERS = ["math.h", "stdbool.h", "stdint.h", "string.h"]

_ALONE = {"threads": 2, "parts": 2 * PARTS}  # of a file that runs by itself

_EXPORT = """
#ifdef __GNUC__
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif
"""

_GENERATOR = """
/* a random generator, as NumPy's bit generators show theirs to C */
struct generator {
    void *state;
    uint64_t (*next_uint64)(void *);
    uint32_t (*next_uint32)(void *);
    double (*next_double)(void *);
    uint64_t (*next_raw)(void *);
};
"""


def print_files(files: Sequence[File]) -> str:
    """The text of one program, or of several that share a library and what they all need.

    The first one's title is at the top, and its call is what the file does when it runs.
    """
    first = files[0]
    programs: list[str] = []
    for file in files:
        kernels = [_kernel(text, name) for text, name in file.kernels.items()]
        programs += [_structure(file), *kernels, _step(file)]
        if (many := steps_of(file)) is not None:
            programs += [many, *filter(None, [epochs_of(file)])]
    words = set(re.findall(r"\b\w+(?=\()", "\n".join(programs)))
    multiplications = sorted(filter(is_multiplication, words))
    draws = "struct generator" in "\n".join(programs)
    parts = [
        "\n".join(_title(first.labels.title)),
        "\n".join(f"#include <{header}>" for header in _HEADERS),
        _EXPORT.strip(),
        function_text(sorted(words & function_names())).strip(),
        _GENERATOR.strip() if draws else "",
        *_products(files),
        multiplication_text(multiplications),
        *programs,
        _main(first),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _products(files: Sequence[File]) -> list[str]:
    """The types of the matrix products of BLAS that the programs are handed."""
    kinds = {own.c_type: own for file in files for own in file.fields if own.kind == "product"}
    if not kinds:
        return []
    lines = [
        "/* the matrix product of BLAS by its C interface; NULL: loops do it */",
        "#ifndef BLAS_INTEGER",
        "#define BLAS_INTEGER int64_t",
        "#endif",
        "/* With vectors of 64 bytes our loops are as fast as BLAS on one thread. It has one in",
        "   each part of what is divided among threads, and elsewhere perhaps more of its own. */",
        "#ifdef __AVX512F__",
        "#define WORTH_BLAS 20000000",
        "#define BLAS_IN_PARTS 0",
        "#else",
        "#define WORTH_BLAS 16384",
        "#define BLAS_IN_PARTS 1",
        "#endif",
    ]
    for kind, own in sorted(kinds.items()):
        number = c_type(own.dtype)
        lines += [
            f"typedef void (*{kind})(int order, int x_lies, int y_lies, BLAS_INTEGER rows,",
            f"    BLAS_INTEGER columns, BLAS_INTEGER inner, {number} factor, const {number} *x,",
            f"    BLAS_INTEGER x_step, const {number} *y, BLAS_INTEGER y_step, {number} kept,",
            f"    {number} *out, BLAS_INTEGER out_step);",
        ]
    return ["\n".join(lines)]


def _title(title: str) -> list[str]:
    lines = [line for text in title.strip().splitlines() for line in (comment_lines(text) or [""])]
    return ["/*", *(f" * {line}".rstrip() for line in lines), " */"]


def _structure(file: File) -> str:
    """The memory of a step, which belongs to whoever calls it."""
    lines = [
        f"/* what {file.function} works on; the caller owns it */",
        f"struct {file.function} {{",
    ]
    for own in file.fields:
        lines.append(f"    {_member(own)};{_said(own)}")
    if not file.fields:
        lines.append("    char unused;")
    return "\n".join([*lines, "};"])


def _member(own: Field) -> str:
    if own.kind == "generator":
        return f"struct generator *{own.name}"
    if not own.is_array:
        return f"{own.c_type} {own.name}"
    constant = "const " if own.kind in {"input", "constant"} else ""
    return f"{constant}{own.c_type} *{own.name}"


def _said(own: Field) -> str:
    if own.kind in {"number", "generator", "product"}:
        return ""
    if own.kind == "result":
        return "  /* a number, result */"
    if own.kind == "threads":
        return "  /* where the compiler has OpenMP */"
    if own.kind == "parts":
        return "  /* of a long loop, which threads share */"
    if own.for_each_part:
        return f"  /* {own.shape[0]} + {own.for_each_part} for each part */"
    shape = str(own.shape) if own.shape else "one number"
    return f"  /* {shape}{'' if own.kind == 'work' else f', {own.kind}'} */"


def _kernel(text: tuple[str, ...], name: str) -> str:
    kind, parameters, primitive, *body = text
    lines = [f"/* {primitive} */", *_wrapped(f"static {kind} {name}", parameters), "{"]
    lines += [f"    {line}" for line in body]
    if kind == "int" and body[-1] != "return 0;":
        lines.append("    return 0;")
    return "\n".join([*lines, "}"])


def _wrapped(head: str, parameters: str) -> list[str]:
    if len(head) + len(parameters) <= 100:
        return [head + parameters]
    parts = parameters[1:-1].split(", ")
    return [head + "(", *(f"    {part}," for part in parts[:-1]), f"    {parts[-1]})"]


def _step(file: File) -> str:
    """The function that takes one step."""
    text = "\n".join(file.body)
    used = set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))
    name, alone = file.function, "_alone" if file.has_threads else ""
    codes = ["1 where NumPy would raise"]
    codes += ["2 where a number is one that only Python has"] * ("return 2;" in text)
    lines = [
        *comment(f"{file.labels.returns or 'one call'}; 0, or {', '.join(codes)}"),
        f"{'static' if alone else 'EXPORT'} int {name}{alone}(struct {name} *own)",
        "{",
    ]
    for own in file.fields:
        if own.name not in used or own.kind == "result":
            continue
        member = _member(own)
        if own.is_array:
            member = member.replace("*", "*restrict ")
        elif own.kind != "generator":
            member = f"const {member}"
        lines.append(f"    {member} = own->{own.name};")
    if "parts" in used:
        lines.append("    (void)parts;")
    if not any(own.name in used for own in file.fields):
        lines.append("    (void)own;")
    lines += [f"    {line}" if line else "" for line in file.body]
    lines += ["    return 0;", "}"]
    if alone:
        threads = "/* the same, with threads that take parts of long loops */"
        lines += ["", threads, team_function("int", name, f"struct {name} *own", "own")]
    return "\n".join(lines)


def _main(file: File) -> str:
    """What the file does when it is a program: one call on random data."""
    lines = ["#ifndef LIBRARY", "#include <stdio.h>", "#include <stdlib.h>", ""]
    if any(own.kind == "generator" for own in file.fields):
        lines += [
            "static uint64_t next_bits(void *state)",
            "{",
            "    uint64_t *bits = state; /* xorshift64 */",
            "    *bits ^= *bits << 13, *bits ^= *bits >> 7, *bits ^= *bits << 17;",
            "    return *bits;",
            "}",
            "static uint32_t next_half(void *state) { return (uint32_t)(next_bits(state) >> 32); }",
            "static double next_double(void *state)",
            "{",
            "    return (double)(next_bits(state) >> 11) / 9007199254740992.0;",
            "}",
            "",
        ]
    lines += ["int main(void)", "{", f"    static struct {file.function} own;"]
    for own in file.fields:
        if own.kind in {"number", "result"}:
            lines.append(f"    own.{own.name} = 1;")
        elif own.kind in _ALONE:
            lines.append(f"    own.{own.name} = {_ALONE[own.kind]};")
        elif own.kind == "product":
            lines.append(f"    own.{own.name} = NULL;")
        elif own.kind == "generator":
            lines += [
                "    static uint64_t seed = 88172645463325252u;",
                "    static struct generator random = {&seed, next_bits, next_half, next_double, "
                "next_bits};",
                f"    own.{own.name} = &random;",
            ]
        else:
            lines += _filled(own)
    lines += [f"    const int status = {file.function}(&own);"]
    shown = next((r for r in file.results if r.access is not None and r.access.size), None)
    if shown is not None and shown.access is not None:
        access = shown.access
        lines.append(
            f'    printf("{file.function} on random data returned %g\\n", '
            f"(double)own.{access.pointer}[{access.start}]);"
        )
    return "\n".join([*lines, "    return status;", "}", "#endif"])


def _filled(own: Field) -> list[str]:
    size = max(1, own.access.size + _ALONE["parts"] * own.for_each_part)
    memory = f"calloc({size}, sizeof({own.c_type}))"
    if own.kind == "work" or own.dtype.kind != "f":
        return [f"    own.{own.name} = {memory};"]
    return [
        "    {",
        f"        {own.c_type} *filled = {memory};",
        f"        for (long i = 0; i < {size}; i++)",
        f"            filled[i] = ({own.c_type})(0.1 * rand() / RAND_MAX);",
        f"        own.{own.name} = filled;",
        "    }",
    ]
