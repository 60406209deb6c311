"""What a file is, by its name."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final, Literal

Format = Literal["text", "markdown", "code", "html", "pdf", "jsonl", "json", "notebook"]

_FORMATS: Final[dict[str, Format]] = {
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".mkd": "markdown",
    ".mdx": "markdown", ".qmd": "markdown", ".rmd": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".pdf": "pdf",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl",
    ".json": "json",
    ".ipynb": "notebook",
}  # fmt: skip
_LANGUAGES: Final = {
    ".py": "python", ".pyi": "python", ".pyw": "python",
    ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript",
    ".ts": "typescript", ".mts": "typescript", ".cts": "typescript", ".tsx": "typescript",
    ".go": "go", ".rs": "rust", ".java": "java", ".c": "c", ".h": "c",
    # Those below are cut at lines, without a grammar.
    ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".cu": "cpp",
    ".cs": "csharp", ".rb": "ruby", ".php": "php", ".swift": "swift", ".kt": "kotlin",
    ".kts": "kotlin", ".scala": "scala", ".m": "objective-c", ".mm": "objective-c", ".r": "r",
    ".jl": "julia", ".lua": "lua", ".pl": "perl", ".pm": "perl", ".hs": "haskell",
    ".ml": "ocaml", ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".clj": "clojure",
    ".dart": "dart", ".zig": "zig", ".nim": "nim", ".f90": "fortran", ".asm": "assembly",
    ".s": "assembly", ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".fish": "shell",
    ".ps1": "powershell", ".bat": "batch", ".sql": "sql", ".cypher": "cypher",
    ".graphql": "graphql", ".proto": "protobuf", ".cmake": "cmake", ".mk": "make",
    ".tf": "terraform", ".nix": "nix", ".vim": "vim", ".el": "lisp", ".lisp": "lisp",
    ".css": "css", ".scss": "css", ".less": "css", ".vue": "vue", ".svelte": "svelte",
    ".xml": "xml", ".xsl": "xml", ".svg": "xml", ".yaml": "yaml", ".yml": "yaml",
    ".toml": "toml", ".ini": "ini", ".cfg": "ini", ".conf": "ini", ".properties": "ini",
    ".csv": "csv", ".tsv": "csv", ".diff": "diff", ".patch": "diff",
}  # fmt: skip
_BINARY: Final = frozenset({
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".ico", ".webp", ".tif", ".tiff", ".psd", ".heic",
    ".avif", ".mp3", ".mp4", ".wav", ".flac", ".ogg", ".avi", ".mov", ".mkv", ".webm", ".m4a",
    ".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z", ".rar", ".jar", ".war", ".whl",
    ".egg", ".deb", ".rpm", ".dmg", ".iso", ".exe", ".dll", ".so", ".dylib", ".a", ".o", ".obj",
    ".lib", ".class", ".pyc", ".pyo", ".pyd", ".wasm", ".bin", ".dat", ".ttf", ".otf", ".woff",
    ".woff2", ".eot", ".sqlite", ".sqlite3", ".db", ".mo", ".npy", ".npz", ".pt", ".pth", ".ckpt",
    ".safetensors", ".gguf", ".onnx", ".pkl", ".parquet", ".arrow", ".feather", ".h5", ".docx",
    ".xlsx", ".pptx", ".doc", ".xls", ".ppt", ".odt", ".ods", ".odp", ".epub",
})  # fmt: skip
_NAMES: Final = {"makefile": "make", "dockerfile": "docker", "cmakelists.txt": "cmake"}
_PROGRAMS: Final = (
    ("python", "python"), ("node", "javascript"), ("deno", "typescript"), ("bash", "shell"),
    ("zsh", "shell"), ("sh", "shell"), ("ruby", "ruby"), ("perl", "perl"), ("php", "php"),
)  # fmt: skip


def format_of(path: PurePath) -> tuple[Format, str]:
    """The format of the file called ``path``, and of code its language."""
    suffix = path.suffix.lower()
    language = _LANGUAGES.get(suffix) or _NAMES.get(path.name.lower(), "")
    if language:
        return "code", language
    return _FORMATS.get(suffix, "text"), ""


def language_of_program(text: str) -> str:
    """The language that the first line of a script names (``#!/usr/bin/env python3``), or ""."""
    if not text.startswith("#!"):
        return ""
    words = re.split(r"[\s/]+", text.partition("\n")[0])
    for program, language in _PROGRAMS:
        if any(re.fullmatch(rf"{program}[\d.]*", word) for word in words):
            return language
    return ""


def is_binary(path: PurePath) -> bool:
    """Whether its suffix says that it holds no text that could be read."""
    return path.suffix.lower() in _BINARY
