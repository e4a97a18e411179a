//! Commands as the client writes them: pieces of line and literal in, tag, verb and arguments out (RFC 3501 9).
//!
//! Generous where no meaning depends on it: an argument is an atom, a string or a list, and each command reads of that
//! what it needs. An atom runs through its brackets, so that `BODY.PEEK[HEADER.FIELDS (DATE)]` is one atom.

/// What stood on the wire, without line ends: text, or the bytes of a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    Literal(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    Atom(String),
    Quoted(Vec<u8>),
    Literal(Vec<u8>),
    List(Vec<Self>),
}

impl Arg {
    /// The argument as an astring, bytes outside UTF-8 replaced.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Atom(atom) => Some(atom.clone()),
            Self::Quoted(bytes) | Self::Literal(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::List(_) => None,
        }
    }

    /// An atom in upper case.
    pub fn word(&self) -> Option<String> {
        if let Self::Atom(atom) = self { Some(atom.to_ascii_uppercase()) } else { None }
    }

    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The items of a list, or the argument itself.
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { std::slice::from_ref(self) }
    }

    /// The atoms of a list in upper case; strings and lists are left out.
    pub fn words(&self) -> Vec<String> {
        self.items().iter().filter_map(Self::word).collect()
    }

    pub fn number<N: std::str::FromStr>(&self) -> Option<N> {
        if let Self::Atom(atom) = self { atom.parse().ok() } else { None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub tag: String,
    /// In upper case, `UID` included: `UID FETCH`.
    pub verb: String,
    pub args: Vec<Arg>,
    /// The command without tag, literals as `{length}`, secrets as `***`: what the log shows.
    pub shown: String,
}

impl Command {
    /// Reads a complete command; `Err` holds the tag to answer BAD to, `*` where there is none.
    pub fn parse(pieces: &[Piece]) -> Result<Self, String> {
        let mut reader = Reader { pieces, piece: 0, at: 0 };
        let tag = reader.bare().ok_or("*")?;
        let mut verb = reader.space().and_then(|()| reader.bare()).ok_or(&tag)?.to_ascii_uppercase();
        if verb == "UID" {
            let what = reader.space().and_then(|()| reader.bare()).ok_or(&tag)?;
            verb = format!("UID {}", what.to_ascii_uppercase());
        }
        let mut args = Vec::new();
        while !reader.finished() {
            args.push(reader.space().and_then(|()| reader.arg(0)).ok_or(&tag)?);
        }
        let shown = show(pieces, &tag, &verb, &args);
        Ok(Self { tag, verb, args, shown })
    }

    /// The mailbox that the command names, as opposed to the selected one it works on.
    pub fn named_mailbox(&self) -> Option<String> {
        let at = match self.verb.as_str() {
            "UID COPY" | "UID MOVE" | "COPY" | "MOVE" => 1,
            "APPEND" | "STATUS" | "SELECT" | "EXAMINE" | "CREATE" | "DELETE" | "RENAME" | "SUBSCRIBE"
            | "UNSUBSCRIBE" => 0,
            _ => return None,
        };
        self.args.get(at)?.text().map(|name| canonical(&name))
    }

    /// The bytes of strings and literals.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Quoted(bytes) | Arg::Literal(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }
}

/// INBOX in any case is INBOX (RFC 3501 5.1).
pub fn canonical(name: &str) -> String {
    if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name.to_owned() }
}

/// The length in `{n}` or `{n+}` at the end of a line, where it starts, and whether the client waits for "+".
pub fn literal_at_end(line: &[u8]) -> Option<(usize, usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let number = &inner[open + 1..];
    let (number, waits) = number.strip_suffix(b"+").map_or((number, true), |number| (number, false));
    let length = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((length, open, waits))
}

fn show(pieces: &[Piece], tag: &str, verb: &str, args: &[Arg]) -> String {
    let first = args.first().and_then(Arg::text).unwrap_or_default();
    match verb {
        "LOGIN" => return format!("LOGIN {first} ***"),
        "AUTHENTICATE" if args.len() > 1 => return format!("AUTHENTICATE {first} ***"),
        _ => {}
    }
    let mut shown = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => shown.push_str(&String::from_utf8_lossy(text)),
            Piece::Literal(bytes) => shown.push_str(&format!("{{{}}}", bytes.len())),
        }
    }
    shown.get(tag.len() + 1..).unwrap_or_default().to_owned()
}

struct Reader<'a> {
    pieces: &'a [Piece],
    piece: usize,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        match self.pieces.get(self.piece) {
            Some(Piece::Text(text)) => &text[self.at..],
            _ => &[],
        }
    }

    fn finished(&self) -> bool {
        self.rest().is_empty() && self.pieces[self.piece.min(self.pieces.len())..].len() <= 1
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) -> Option<()> {
        self.eat(b' ').then_some(())
    }

    /// A tag or a verb.
    fn bare(&mut self) -> Option<String> {
        let end = self.rest().iter().position(|byte| *byte == b' ').unwrap_or(self.rest().len());
        let word = std::str::from_utf8(&self.rest()[..end]).ok().filter(|word| !word.is_empty())?.to_owned();
        self.at += end;
        Some(word)
    }

    fn arg(&mut self, depth: usize) -> Option<Arg> {
        if self.rest().is_empty() {
            let Some(Piece::Literal(bytes)) = self.pieces.get(self.piece + 1) else { return None };
            let literal = Arg::Literal(bytes.clone());
            (self.piece, self.at) = (self.piece + 2, 0);
            return Some(literal);
        }
        match self.rest()[0] {
            b'(' if depth < 16 => self.items(depth),
            b'"' => self.quoted(),
            _ => self.atom(),
        }
    }

    fn items(&mut self, depth: usize) -> Option<Arg> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.eat(b')') {
            if !items.is_empty() {
                self.space()?;
            }
            items.push(self.arg(depth + 1)?);
        }
        Some(Arg::List(items))
    }

    fn quoted(&mut self) -> Option<Arg> {
        let mut text = Vec::new();
        let mut bytes = self.rest()[1..].iter();
        let mut used = 1;
        loop {
            used += 1;
            match bytes.next()? {
                b'"' => break,
                b'\\' => {
                    used += 1;
                    text.push(*bytes.next()?);
                }
                byte => text.push(*byte),
            }
        }
        self.at += used;
        Some(Arg::Quoted(text))
    }

    fn atom(&mut self) -> Option<Arg> {
        let mut brackets = 0_u32;
        let mut end = 0;
        for byte in self.rest() {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b' ' | b'(' | b')' | b'"' if brackets == 0 => break,
                _ => {}
            }
            end += 1;
        }
        let atom = String::from_utf8_lossy(&self.rest()[..end]).into_owned();
        self.at += end;
        (!atom.is_empty()).then_some(Arg::Atom(atom))
    }
}

/// A sequence set (RFC 3501 9): ranges with both ends, `None` for `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(pub Vec<(Option<u32>, Option<u32>)>);

impl SequenceSet {
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| match text {
            "*" => Some(None),
            text => text.parse().ok().filter(|number| *number > 0).map(Some),
        };
        let range = |text: &str| match text.split_once(':') {
            Some((from, to)) => Some((number(from)?, number(to)?)),
            None => number(text).map(|one| (one, one)),
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self)
    }

    /// The ranges with `*` as `star`, sorted, for many questions.
    pub fn at(&self, star: u32) -> Ranges {
        let range = |(from, to): &(Option<u32>, Option<u32>)| {
            let (from, to) = (from.unwrap_or(star), to.unwrap_or(star));
            (from.min(to), from.max(to))
        };
        let mut sorted: Vec<(u32, u32)> = self.0.iter().map(range).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (from, to) in sorted {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        Ranges(merged)
    }

    /// The members of `numbers`, which are sorted, in the order in which the set names them, each once.
    pub fn in_order(&self, numbers: &[u32]) -> Vec<u32> {
        let star = numbers.last().copied().unwrap_or(0);
        let mut named: Vec<u32> = Vec::new();
        for (from, to) in &self.0 {
            let (from, to) = (from.unwrap_or(star), to.unwrap_or(star));
            let start = numbers.partition_point(|number| *number < from.min(to));
            let end = numbers.partition_point(|number| *number <= from.max(to));
            named.extend(&numbers[start..end]);
        }
        let mut seen = std::collections::BTreeSet::new();
        named.retain(|number| seen.insert(*number));
        named
    }
}

/// Ranges that neither overlap nor go backwards.
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    pub fn hold(&self, number: u32) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= number);
        after > 0 && number <= self.0[after - 1].1
    }
}
