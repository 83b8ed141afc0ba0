#!/usr/bin/env python3
"""Draws the series of a `koe bench … --json FILE` measurement as one SVG each; needs Python alone.

    python bench/plot.py FILE.json OUT_PREFIX
"""

import json
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 300, 70, 20, 40, 45


def ticks(low, high, n=5):
    """About n round numbers from low to high."""
    if high <= low:
        high = low + 1
    rough = (high - low) / n
    power = 10 ** len(str(int(rough))) / 10 if rough >= 1 else 10 ** -len(str(int(1 / rough)))
    step = next(power * m for m in (0.5, 1, 2, 5, 10) if power * m >= rough)
    first = int(low / step) * step
    return [first + i * step for i in range(int((high - first) / step) + 2)]


def draw(series, title):
    points = series["points"]
    x_name, y_name = series["name"].split(", ", 1)
    xs, ys = ticks(0, max(x for x, _ in points)), ticks(0, max(y for _, y in points))
    across = lambda x: LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT)
    up = lambda y: HEIGHT - BOTTOM - (y - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM)
    text = lambda x, y, words, anchor="middle": (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#444">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(WIDTH / 2, 20, title),
        text(WIDTH / 2, HEIGHT - 8, x_name),
        text(LEFT, TOP - 8, y_name),
    ]
    for y in ys:
        parts.append(f'<path d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, up(y) + 4, f"{y:g}", "end"))
    for x in xs:
        parts.append(text(across(x), HEIGHT - BOTTOM + 18, f"{x:g}"))
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0a6" stroke-width="1.5"/></svg>')
    return "\n".join(parts) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    report = json.load(open(sys.argv[1]))
    if not report.get("series"):
        sys.exit("there is no series in it; koe bench idle --minutes and koe bench memory make some")
    for i, series in enumerate(report["series"]):
        path = f"{sys.argv[2]}-{i + 1}.svg" if len(report["series"]) > 1 else f"{sys.argv[2]}.svg"
        with open(path, "w") as out:
            out.write(draw(series, f"{report['bench']}: {report['model']}, {report['machine']}"))
        print(path)


if __name__ == "__main__":
    main()
