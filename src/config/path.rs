//! Paths in the configuration: `~` and variables are replaced, and the result is absolute and plain.

use super::environment::Environment;
use super::problem::Fault;
use super::raw::Value;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Reads a path: `~`, `$VAR` and `${VAR}` are replaced; it must be absolute then, and without `..`.
pub(super) fn read(value: &Value<'_>, environment: &Environment) -> Result<PathBuf, Fault> {
    let text = value.text("a path such as \"~/Mail/work\"")?;
    let path = expand(text, environment).map_err(|(what, remedy)| value.fault(what, remedy))?;
    if !path.is_absolute() {
        return Err(value.fault("the path is relative", "begin it with / or ~/"));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(value.fault("the path has .. in it", "write it without"));
    }
    // Collecting the components takes out `.`, doubled and trailing slashes.
    Ok(path.components().collect())
}

type Complaint = (String, &'static str);

fn expand(text: &str, environment: &Environment) -> Result<PathBuf, Complaint> {
    let mut expanded = OsString::new();
    let rest = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = environment.home();
            expanded.push(home.ok_or_else(|| ("`~` has no meaning: HOME is not set".into(), "write the whole path"))?);
            rest
        }
        Some(_) => return Err(("`~` with a name is not understood".into(), "write the whole path")),
        None => text,
    };
    let mut pieces = rest.split('$');
    expanded.push(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, after) = variable(piece).ok_or_else(|| {
            (
                "`$` without the name of a variable".to_owned(),
                "write $NAME or ${NAME}; a path with a $ of its own cannot be named",
            )
        })?;
        let set = environment.get(name);
        expanded
            .push(set.ok_or_else(|| (format!("the variable `{name}` is not set"), "set it, or write the whole path"))?);
        expanded.push(after);
    }
    Ok(PathBuf::from(expanded))
}

/// Splits what follows a `$` into the name of the variable and the rest.
fn variable(piece: &str) -> Option<(&str, &str)> {
    let (name, rest) = match piece.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => piece.split_at(piece.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(piece.len())),
    };
    let legal = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    legal.then_some((name, rest))
}

/// Tells whether one of two directories is the other or lies in it.
pub(super) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Tells whether a directory is too wide to be a Maildir: the root, the home directory, or one above it.
pub(super) fn is_too_wide(path: &Path, environment: &Environment) -> bool {
    let bytes = OsStr::as_bytes(path.as_os_str());
    bytes == b"/" || environment.home().is_some_and(|home| home.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_and_variables_are_replaced() {
        let environment = Environment::of([("HOME", "/home/me"), ("MAIL", "/var/mail"), ("EMPTY", "")]);
        let expanded =
            |text| expand(text, &environment).map(|path| path.display().to_string()).map_err(|(what, _)| what);
        assert_eq!(expanded("~/Mail"), Ok("/home/me/Mail".into()));
        assert_eq!(expanded("~"), Ok("/home/me".into()));
        assert_eq!(expanded("$MAIL/work"), Ok("/var/mail/work".into()));
        assert_eq!(expanded("${MAIL}-2/~"), Ok("/var/mail-2/~".into()));
        assert_eq!(expanded("$NOPE/work"), Err("the variable `NOPE` is not set".into()));
        assert_eq!(expanded("$EMPTY/work"), Err("the variable `EMPTY` is not set".into()));
        assert_eq!(expanded("/a$/b"), Err("`$` without the name of a variable".into()));
        assert_eq!(expanded("~you/Mail"), Err("`~` with a name is not understood".into()));
    }

    #[test]
    fn the_home_directory_and_what_is_above_are_too_wide() {
        let environment = Environment::of([("HOME", "/home/me")]);
        for wide in ["/", "/home", "/home/me"] {
            assert!(is_too_wide(Path::new(wide), &environment), "{wide}");
        }
        assert!(!is_too_wide(Path::new("/home/me/Mail"), &environment));
    }

    #[test]
    fn directories_overlap_by_whole_names() {
        assert!(overlap(Path::new("/m/a"), Path::new("/m/a/b")));
        assert!(!overlap(Path::new("/m/a"), Path::new("/m/ab")));
    }
}
