//! The world around the program, as a value: variables and places, taken once, so that reading a configuration
//! depends on nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variables that paths may name.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Takes the variables of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Makes an environment of given variables.
    pub fn of<K: Into<OsString>, V: Into<OsString>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// The home directory, if `HOME` names one.
    pub fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new).filter(|home| home.is_absolute())
    }

    /// The places where a configuration is looked for, best first.
    pub fn configuration_files(&self) -> Vec<PathBuf> {
        let personal = self.xdg("XDG_CONFIG_HOME", ".config").map(|base| base.join("mailtwin/daemon.toml"));
        personal.into_iter().chain([PathBuf::from("/etc/mailtwin/daemon.toml")]).collect()
    }

    /// Where the state is kept if the configuration does not say; `None` without a home directory.
    pub fn state_dir(&self) -> Option<PathBuf> {
        // systemd names several directories with colons between them; the first is ours.
        let given = self.get("STATE_DIRECTORY").and_then(|directories| std::env::split_paths(directories).next());
        given.or_else(|| self.xdg("XDG_STATE_HOME", ".local/state").map(|base| base.join("mailtwin")))
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // The XDG specification has relative paths ignored.
        let given = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| self.home().map(|home| home.join(below_home)))
    }
}

impl std::fmt::Debug for Environment {
    /// Shows the names only: a variable may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
