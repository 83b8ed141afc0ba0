// The notation of mixed voices, `af_bella(2)+af_sky(1)`: from text to parts and back.
// The server has the last word on what it accepts; here it is only read as far as sliders need it.

// [{ name, weight }], or null where the text is no mixture (yet, while it is being typed).
export function parseMix(text) {
  const parts = text.split("+").map((part) => {
    const match = /^\s*([A-Za-z][\w-]*)\s*(?:\(\s*(\d*\.?\d+)\s*\)|(\.\d+))?\s*$/.exec(part);
    const weight = Number(match?.[2] ?? match?.[3] ?? 1);
    return match && weight > 0 ? { name: match[1], weight } : null;
  });
  return parts.includes(null) ? null : parts;
}

// One voice needs no weight: only proportions matter.
export function formatMix(parts) {
  if (parts.length === 1) return parts[0].name;
  return parts.map(({ name, weight }) => `${name}(${Number(weight.toFixed(2))})`).join("+");
}
