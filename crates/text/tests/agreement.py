"""Fills in what the reference says: misaki 0.9.4, set up as `oracle.py` tells.

Reads `category<TAB>text` (further columns are dropped) or bare lines of text, writes
`category<TAB>text<TAB>American<TAB>British`. A word that the reference cannot say is written `❓`;
a run of white space is one space, and none stands at the ends. Lines on which the reference fails
are left out and told on standard error.

    python agreement.py < data/agreement/rows.tsv > new.tsv
"""

import sys

from oracle import speakers


def main():
    both = list(speakers())
    for line in sys.stdin:
        fields = line.rstrip("\n").split("\t")
        category, text = fields[:2] if len(fields) > 1 else ("prose", fields[0])
        if not text.strip():
            continue
        try:
            said = [" ".join(speaker(text)[0].split()) for speaker in both]
        except Exception as error:  # The reference has bugs of its own.
            print(f"{text}: {error!r}", file=sys.stderr)
            continue
        print("\t".join([category, text, *said]))


main()
