"""The reference English front end: misaki 0.9.4 on spaCy 3.8.18 with the weights of en_core_web_sm.

The spaCy model is in no package registry, so its tagger weights, labels and norm table are taken
from the source of the Rust crate misaki-rs 0.8.0, which ships them. For development only.

    python3 -m venv venv
    venv/bin/pip install misaki==0.9.4 spacy==3.8.18 num2words
    cargo fetch        # in any project that depends on misaki-rs 0.8.0
"""

import glob
import json
import os
import re

import numpy as np
import spacy
from misaki import en
from spacy.attrs import NORM
from spacy.lang.lex_attrs import LEX_ATTRS
from spacy.util import add_lookups

TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": 96,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "SPACY", "IS_SPACE"],
        "rows": [5000, 1000, 2500, 2500, 50, 50],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 96,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    },
}


def pipeline():
    """spaCy's tokenizer and tagger."""
    crate = glob.glob(os.path.expanduser("~/.cargo/registry/src/*/misaki-rs-0.8.0"))[0]
    nlp = spacy.blank("en")
    tagger = nlp.add_pipe(
        "tagger",
        config={
            "model": {
                "@architectures": "spacy.Tagger.v2",
                "nO": None,
                "normalize": False,
                "tok2vec": TOK2VEC,
            }
        },
    )
    labels = open(f"{crate}/data/tagger_labels.txt").read().splitlines()
    for label in labels:
        tagger.add_label(label)
    nlp.initialize()
    assert list(tagger.labels) == labels

    # The file holds the parameters as f32, layer by layer, in this order.
    weights = np.fromfile(f"{crate}/data/tagger.bin", dtype="<f4")
    at = 0

    def fill(node, *names):
        nonlocal at
        for name in names:
            shape = node.get_param(name).shape
            end = at + int(np.prod(shape))
            node.set_param(name, weights[at:end].reshape(shape).copy())
            at = end

    nodes = list(tagger.model.walk())
    tables = [node for node in nodes if node.name == "hashembed"]
    for i, table in enumerate(tables):
        fill(table, "E")
        table.attrs["seed"] = 8 + i
    layers = [node for node in nodes if node.name == "maxout"]
    norms = [node for node in nodes if node.name == "layernorm"]
    for layer, norm in zip(layers, norms, strict=True):
        fill(layer, "W", "b")
        fill(norm, "G", "b")
    fill(next(node for node in nodes if node.name.startswith("softmax")), "W", "b")
    assert at == len(weights)

    # spaCy's norms of single words come before its general rules.
    source = open(f"{crate}/src/norms.rs").read()
    source = source[source.index("LEXEME_NORMS:") :]
    table = {}
    for key, text in re.findall(r'\((\d+|0x[0-9a-f_]+)(?:u64)?, ("(?:[^"\\]|\\.)*")\)', source):
        text = re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: "\\u%04x" % int(m[1], 16), text)
        table[int(key.replace("_", ""), 0)] = json.loads(text.replace("\\'", "'"))
    lookups = nlp.vocab.lookups
    if lookups.has_table("lexeme_norm"):
        lookups.remove_table("lexeme_norm")
    norms = lookups.add_table("lexeme_norm", table)
    getters = nlp.vocab.lex_attr_getters
    getters[NORM] = add_lookups(getters.get(NORM, LEX_ATTRS[NORM]), norms)
    for lexeme in nlp.vocab:
        lexeme.norm_ = getters[NORM](lexeme.orth_)
    return nlp


def speakers():
    """misaki without fallback, American and British: text to (phonemes, tokens)."""
    nlp = pipeline()
    for british in (False, True):
        # The constructor would fetch the spaCy model.
        g2p = en.G2P.__new__(en.G2P)
        g2p.version, g2p.british, g2p.nlp = None, british, nlp
        g2p.lexicon, g2p.fallback, g2p.unk = en.Lexicon(british), None, "❓"
        yield g2p
