"""Writes prose to compare with the reference on: one line each, from two Debian packages.

    apt-get install bible-kjv bible-kjv-text fortunes fortunes-min
    python agreement_prose.py > prose.txt

Takes every twelfth verse of the King James Bible and every second fortune of the files below that
is prose (no verse, no table, 20 to 400 characters). The same packages give the same lines.
"""

import re
import subprocess
from pathlib import Path

FORTUNES = Path("/usr/share/games/fortunes")
FILES = "cookie education food fortunes humorists kids law literature medicine men-women " \
    "miscellaneous news people pets politics science sports wisdom work zippy".split()


def verses():
    lines = subprocess.run(
        ["bible", "-f", "Gen1:1-Rev22:21"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line.split(" ", 1)[1].strip() for line in lines[::12]]


def fortunes():
    for name in FILES:
        path = FORTUNES / name
        if not path.exists():
            continue
        every = path.read_text(encoding="utf-8", errors="replace").split("\n%\n")
        for fortune in every[::2]:
            body = re.sub(r"\n\s+-- .*", "", fortune, flags=re.S).strip("%\n ")
            # Indented lines are verse, dialogue tables or drawings.
            if re.search(r"\n[ \t]", body) or re.search(r"[|_*\\<>=^~\x00-\x08]|  {2}", body):
                continue
            text = " ".join(body.split())
            if 20 <= len(text) <= 400 and "\ufffd" not in text:
                yield text


for line in dict.fromkeys([*verses(), *fortunes()]):
    print(line)
