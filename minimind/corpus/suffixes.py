"""Which file names can be read. Imports nothing, so that the command line may ask without waiting."""

LINES_AND_TEXT = (".txt", ".md", ".jsonl", ".csv", ".html", ".htm")
COMPRESSIONS = (".gz", ".zst")
WHOLE = (".parquet", ".pdf", ".docx")  # formats that bring a compression of their own
FORMATS = (*LINES_AND_TEXT, *WHOLE, *(text + packed for text in LINES_AND_TEXT for packed in COMPRESSIONS))
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
SUFFIXES = (*FORMATS, *ARCHIVES)

FORMATS_IN_WORDS = f"{' '.join(LINES_AND_TEXT)} (each alone or as .gz or .zst) {' '.join(WHOLE)}"
SUFFIXES_IN_WORDS = f"{FORMATS_IN_WORDS} {' '.join(ARCHIVES)}"


def suffix_of(name: str) -> str:
    """The format that a file's name stands for, one of SUFFIXES; else its last suffix, or nothing."""
    last = name.replace("\\", "/").rpartition("/")[2].lower()
    stem, dot, extension = last.rpartition(".")
    return next((suffix for suffix in SUFFIXES if last.endswith(suffix)), dot + extension if stem and extension else "")


def compression_of(suffix: str) -> str:
    """`.gz`, `.zst` or nothing."""
    return next((packed for packed in COMPRESSIONS if suffix.endswith(packed)), "")
