"""The Penn Treebank tokenizer of the COCO caption evaluation: its own Stanford program, run by Java.

The program and the list of dropped punctuation are pycocoevalcap's. We start it ourselves because of what its
wrapper does.

Deviations from pycocoevalcap:
1. A caption's tokens do not depend on the caption in the next line: whether the period of "letter A." is a
   token of its own is decided by the next word, across lines. Each caption is followed by a blank line and a
   line with a period, which gives what the program gives for the caption alone.
2. Any line separator within a caption counts as a blank; the wrapper knows ``\\n`` alone, and shifts all later
   captions by one for the others.
3. A program that fails or returns fewer lines is an error; the wrapper drops captions.
4. Nothing is written to the package's folder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from icd_assets.errors import UserError

_PROGRAM = "edu.stanford.nlp.process.PTBTokenizer"
_APART = "\n\n.\n"  # three lines per caption


def require_caption_tools() -> None:
    """Raises :class:`UserError` if captions cannot be scored on this machine."""
    if find_spec("pycocoevalcap") is None:
        raise UserError(
            "captions are scored with pycocoevalcap, which is not installed; pip install 'icd-assets[captions]'."
        )
    if shutil.which("java") is None:
        raise UserError(
            "captions are scored on the tokens of Stanford's PTB tokenizer, which needs Java, but there is no "
            "java on PATH; install a Java runtime (Debian: apt install default-jre-headless)."
        )


def tokenize(captions: Sequence[str]) -> list[list[str]]:
    """The lower-cased words of each caption, without punctuation; one Java process for all."""
    from pycocoevalcap.tokenizer import ptbtokenizer

    if not captions:
        return []
    require_caption_tools()
    program = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    command = ["java", "-cp", str(program), _PROGRAM, "-preserveLines", "-lowerCase"]
    text = "".join(" ".join(caption.split()) + _APART for caption in captions)
    # A lone half of a surrogate pair, which a model may write, has no UTF-8 form.
    ended = subprocess.run(command, input=text.encode("utf-8", "replace"), capture_output=True)
    lines = ended.stdout.decode("utf-8").split("\n")
    if ended.returncode != 0 or len(lines) != 3 * len(captions) + 1:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UserError(
            f"the PTB tokenizer gave {len(lines) // 3} of {len(captions)} captions back "
            f"({said[0] if said else 'no message'}); fix the Java installation."
        )
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    return [[word for word in line.split(" ") if word and word not in dropped] for line in lines[:-1:3]]
