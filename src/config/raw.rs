//! The file as it is written: tables and values that know where they stand.
//!
//! There is no mirror of structs to deserialize into: a key may hold a string or a table (`password`), come from the
//! account or from `[defaults]`, and every message must name the key and its place. Reading the spanned tree by hand
//! is shorter than teaching a derived reader to say these things.

use super::keys;
use super::problem::{Fault, Faults};
use crate::mail::escape;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table, and the one that stands behind it.
pub(super) struct Section<'a> {
    /// How the table is called in messages, such as `[account.work]`.
    pub(super) place: String,
    /// Where its name stands.
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    fallback: Option<&'a DeTable<'a>>,
}

/// A value, with the key that it stands under.
#[derive(Clone)]
pub(super) struct Value<'a> {
    key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Section<'a> {
    /// A table with nothing behind it.
    pub(super) fn new(place: impl Into<String>, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self { place: place.into(), span, table, fallback: None }
    }

    /// The same table under a name of its own.
    pub(super) fn named(self, place: impl Into<String>, span: Range<usize>) -> Self {
        Self { place: place.into(), span, ..self }
    }

    /// The same table, with another that answers for the keys that it does not have.
    pub(super) fn or(self, fallback: Option<&Self>) -> Self {
        Self { fallback: fallback.map(|section| section.table), ..self }
    }

    /// The value of a key, here or in the table behind.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.own(key).or_else(|| find(self.fallback?, key))
    }

    /// The value of a key, here only.
    pub(super) fn own(&self, key: &str) -> Option<Value<'a>> {
        find(self.table, key)
    }

    /// The tables below, by name, each with the span of its name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Value<'a>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), entry(key, value)))
    }

    /// Refuses every key that is not `known`.
    pub(super) fn refuse_others(&self, known: &[&str], later: &[&str], faults: &mut Faults) {
        for (key, span, _) in self.entries() {
            if !known.contains(&key) {
                faults.push(keys::fault(key, span, &self.place, known, later));
            }
        }
    }

    /// The fault of a key that has to be here and is not.
    pub(super) fn lacks(&self, key: &str, remedy: &str) -> Fault {
        Fault::new(self.span.clone(), format!("`{key}` is missing in {}", self.place), remedy)
    }
}

fn find<'a>(table: &'a DeTable<'a>, key: &str) -> Option<Value<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| entry(name, value))
}

fn entry<'a>(key: &'a Spanned<toml::de::DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
    // A table that is opened by a header or a dotted key is where its name is.
    let span = if value.get_ref().is_table() { key.span() } else { value.span() };
    Value { key: escape(key.get_ref().as_ref()), span, value: value.get_ref() }
}

impl<'a> Value<'a> {
    /// A fault at this value: `expected` completes "write ...".
    ///
    /// What was found is told by its kind only, so that no secret is ever shown.
    pub(super) fn wrong(&self, expected: &str) -> Fault {
        let kind = match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "date",
            DeValue::Array(_) => "list",
            DeValue::Table(_) => "table",
        };
        Fault::new(self.span.clone(), format!("this {kind} cannot be `{}`", self.key), format!("write {expected}"))
    }

    /// A fault at this value, in words of one's own.
    pub(super) fn fault(&self, what: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault::new(self.span.clone(), what, remedy)
    }

    /// The fault of a key that means nothing in an account of this protocol.
    pub(super) fn senseless(&self, protocol: &str) -> Fault {
        let what = format!("`{}` means nothing for an account of type {protocol}", self.key);
        Fault::new(self.span.clone(), what, "take it out, or correct `type`")
    }

    /// The text, if the value is one.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A text that is not empty and is one line.
    pub(super) fn text(&self, expected: &str) -> Result<&'a str, Fault> {
        let legal = |text: &&str| !text.is_empty() && !text.chars().any(char::is_control);
        self.as_text().filter(legal).ok_or_else(|| self.wrong(expected))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let found = self.as_text().and_then(|text| choices.iter().find(|(word, _)| *word == text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(&words.join(" or "))
        })
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, bounds: RangeInclusive<u32>) -> Result<u32, Fault> {
        let integer = self.value.as_integer();
        let number = integer.and_then(|integer| u32::from_str_radix(integer.as_str(), integer.radix()).ok());
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| self.wrong(&format!("a number from {} to {}", bounds.start(), bounds.end())))
    }

    /// A duration such as "5m" or "1h 30m".
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let text = self.as_text().ok_or_else(|| self.wrong("a duration such as \"60s\", \"5m\" or \"14d\""))?;
        let duration = humantime::parse_duration(text).map_err(|error| {
            self.fault(
                format!("this text cannot be `{}`: {}", self.key, escape(error.to_string())),
                "write a duration such as \"60s\", \"5m\" or \"14d\"",
            )
        })?;
        if bounds.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (humantime::format_duration(*bounds.start()), humantime::format_duration(*bounds.end()));
        Err(self.wrong(&format!("a duration from {least} to {most}")))
    }

    /// A size such as "50 MiB", in octets; not zero.
    pub(super) fn size(&self) -> Result<u64, Fault> {
        let expected = "a size such as \"500 KiB\" or \"50 MiB\"";
        let text = self.as_text().ok_or_else(|| self.wrong(expected))?;
        octets(text).ok_or_else(|| self.wrong(expected))
    }

    /// A list of texts that is not empty; `example` shows one.
    pub(super) fn words(&self, example: &str) -> Result<Vec<String>, Fault> {
        let words: Vec<String> = self.items(example)?.iter().map(|item| item.text.to_owned()).collect();
        if words.is_empty() { Err(self.wrong(&format!("a list such as {example}"))) } else { Ok(words) }
    }

    /// A list of texts, each with its place.
    pub(super) fn items(&self, example: &str) -> Result<Vec<Item<'a>>, Fault> {
        let expected = format!("a list such as {example}");
        let array = self.value.as_array().ok_or_else(|| self.wrong(&expected))?;
        let item = |item: &'a Spanned<DeValue<'a>>| {
            let text = item.get_ref().as_str().filter(|text| !text.contains('\0'));
            text.map(|text| Item { text, span: item.span() }).ok_or_else(|| self.wrong(&expected))
        };
        array.iter().map(item).collect()
    }

    /// A table; `expected` says what one writes instead of anything else.
    pub(super) fn table(&self, expected: &str) -> Result<Section<'a>, Fault> {
        let table = self.value.as_table().ok_or_else(|| self.wrong(expected))?;
        Ok(Section::new(format!("`{}`", self.key), self.span.clone(), table))
    }
}

/// Reads a number with its unit.
fn octets(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim_start() {
        "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|octets| *octets > 0)
}

/// One text of a list.
pub(super) struct Item<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
}
