//! Texts put together at random, but always the same ones, from parts that are hard to read aloud.
//! For the tests that check what must hold for every text.

/// Awkward parts of texts. All markup among them is well formed.
const PARTS: &[&str] = &[
    "Hello",
    "world",
    "the",
    "a",
    "I",
    "U.S.",
    "e.g.",
    "Dr.",
    "St.",
    "No.",
    "etc.",
    "Gen.",
    "café",
    "ﬁne",
    "ｆｕｌｌ",
    "naïve",
    "o'clock",
    "don’t",
    "rock'n'roll",
    "well-known",
    "WORLD",
    "iPhone",
    "NASA",
    "x",
    "C++",
    "3:30pm",
    "3:30 p.m.",
    "12/25/2023",
    "2024-01-15",
    "1,234.5",
    "007",
    "½",
    "2½",
    "3/4",
    "5km",
    "10 kg",
    "25°C",
    "−5",
    "$5.99",
    "$2.5bn",
    "US$100",
    "100€",
    "¥500",
    "5–10",
    "1990-95",
    "50%",
    "5th",
    "1980s",
    "'90s",
    "24/7",
    "192.168.1.1",
    "v1.2.3",
    "john@example.com",
    "https://example.com/a?b=c",
    "main.rs",
    "@bob",
    "#tag",
    "#5",
    "Chapter IV",
    "Henry VIII",
    "(555) 123-4567",
    "+44 20 7946 0958",
    "x²",
    "10⁶",
    "α",
    "2+2=4",
    "a<b",
    "×",
    "5'10\"",
    "2h30m",
    "Sept. 5",
    "Mon.,",
    "p.m.",
    "16:9",
    "[1]",
    "word.[2]",
    "**bold**",
    "_it_",
    "`code`",
    "[Kokoro](/kˈOkəɹO/)",
    "[word](+1)",
    "[word](-2)",
    "[read](0.5)",
    "[pause:0.5s]",
    "[two words](/tˈu/)",
    "[link](https://example.com)",
    "[bad](no such)",
    "[pause:x]",
    "[你好](/nihˈaʊ/)",
    "[x](/ʔʘ/)",
    "你好",
    "Привет",
    "ελληνικά",
    "שלום",
    "مرحبا",
    "٣",
    "🙂",
    "👍🏽",
    "👨‍👩‍👧",
    "🇬🇧",
    "1️⃣",
    "e\u{301}",
    "\u{301}",
    "\u{200b}",
    "\u{0}",
    "\u{7}",
    "\u{feff}",
    "\u{fffd}",
    "\u{e000}",
    "\u{1d400}",
    "\u{2028}",
    "…",
    "—",
    "–",
    "--",
    "-",
    ".",
    ",",
    ";",
    ":",
    "!",
    "?",
    "?!",
    "\"",
    "“",
    "”",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "/",
    "\\",
    "|",
    "&",
    "~",
    "=",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "99999999999999999999999999999999999",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ",
];
const JOINTS: &[&str] =
    &[" ", " ", " ", " ", " ", " ", " ", "  ", "", "", "\n", "\n\n", ". ", ", ", "? ", "—", "\n- "];

/// A small generator of our own (xorshift64*), so that every run checks the same texts.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn text(&mut self) -> String {
        let n_parts = 1 + self.below(30);
        let mut text = String::new();
        for _ in 0..n_parts {
            text += PARTS[self.below(PARTS.len())];
            text += JOINTS[self.below(JOINTS.len())];
        }
        text
    }
}

pub(crate) fn texts(n: usize) -> impl Iterator<Item = (usize, String)> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..n).map(move |idx| (idx, random.text()))
}
