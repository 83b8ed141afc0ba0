"""Writes tables.tsv: what the English tokenizer and tagger know beside their weights.

Usage: python tables.py MISAKI_RS_DIR > tables.tsv, with spaCy 3.8.18 installed. MISAKI_RS_DIR is the
unpacked crate misaki-rs 0.8.0, whose src/norms.rs carries the lexeme norms of en_core_web_sm.
Read by `cargo xtask lexicon`, which compiles the result into english.bin.
"""
import json
import re
import sys
import unicodedata

import spacy
from spacy.lang import char_classes
from spacy.lang.norm_exceptions import BASE_NORMS
from spacy.strings import hash_string
from spacy.symbols import IDS
from spacy.tokenizer import Tokenizer


def escape(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def row(*fields):
    print("\t".join(escape(str(field)) for field in fields))


def ranges(chosen):
    """Runs of code points for which `chosen` holds, as FIRST-LAST in hexadecimal."""
    runs = []
    for c in range(0x110000):
        if 0xD800 <= c <= 0xDFFF or not chosen(chr(c)):
            continue
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return " ".join(f"{first:x}-{last:x}" for first, last in runs)


nlp = spacy.blank("en")
tokenizer = nlp.tokenizer
bare = Tokenizer(
    nlp.vocab,
    rules={},
    prefix_search=tokenizer.prefix_search,
    suffix_search=tokenizer.suffix_search,
    infix_finditer=tokenizer.infix_finditer,
    token_match=tokenizer.token_match,
    url_match=tokenizer.url_match,
)

# A special case: the text, then each of its tokens with its norm (empty: the norm of the word).
for text, pieces in sorted(tokenizer.rules.items()):
    fields = [field for piece in pieces for field in (piece[65], piece.get(67, ""))]
    row("special", text, *fields)
# Special cases that affixes may tear apart: the tokens they are put together from again.
for text in sorted(tokenizer.rules):
    if tokenizer.find_prefix(text) or tokenizer.find_infix(text) or tokenizer.find_suffix(text) or " " in text:
        row("rejoin", text, *[token.text for token in bare(text)])

norms = {}
source = open(sys.argv[1] + "/src/norms.rs").read()
source = source[source.index("LEXEME_NORMS:"):]
for key, norm in re.findall(r'\((\d+|0x[0-9a-f_]+)(?:u64)?, ("(?:[^"\\]|\\.)*")\)', source):
    norm = re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: "\\u%04x" % int(m.group(1), 16), norm)
    norms[int(key.replace("_", ""), 0)] = json.loads(norm.replace("\\'", "'"))
for orth, norm in BASE_NORMS.items():
    norms.setdefault(hash_string(orth), norm)
for key, norm in sorted(norms.items()):
    row("norm", f"{key:016x}", norm)

# Strings that spaCy numbers instead of hashing.
for name, number in sorted(IDS.items()):
    if name:
        row("symbol", f"{hash_string(name):016x}", number)

for name in ["ALPHA", "ALPHA_LOWER", "ALPHA_UPPER", "ICONS"]:
    pattern = re.compile(f"[{getattr(char_classes, name)}]")
    row("class", name.lower(), ranges(pattern.match))
row("class", "letter", ranges(str.isalpha))
row("class", "upper_letter", ranges(lambda c: unicodedata.category(c) == "Lu"))
row("class", "lower_letter", ranges(lambda c: unicodedata.category(c) == "Ll"))
row("class", "decimal", ranges(str.isdecimal))
row("class", "digit", ranges(str.isdigit))
