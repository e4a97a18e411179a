//! The messages of comparisons, the same in each run.

/// A message; each number gives another one.
pub fn message(number: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut text = format!(
        "Message-ID: <{number}.{}@example.org>\nFrom: a{}@example.org\nTo: b@example.org\n\
         Date: Mon, 1 Jan 2024 00:00:00 +0000\nSubject: number {number}\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\n",
        random.u64(..),
        number % 97,
    );
    // Most are small, a few large; what compresses as text does.
    let length = if random.u8(..10) == 0 { random.usize(20_000..60_000) } else { random.usize(500..6_000) };
    const WORDS: [&str; 12] =
        ["mail", "letter", "the", "of", "answer", "question", "and", "meeting", "to", "tomorrow", "was", "is"];
    let (mut column, end) = (0, text.len() + length);
    while text.len() < end {
        let word = if random.u8(..4) == 0 { &format!("{:x}", random.u32(..)) } else { WORDS[random.usize(..12)] };
        column += word.len() + 1;
        text.push_str(word);
        text.push(if column > 70 { '\n' } else { ' ' });
        column %= 71;
    }
    text.push('\n');
    text.into_bytes()
}
