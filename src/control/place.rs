//! Where the control socket is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The name of the socket.
const NAME: &str = "control.sock";
/// The name of the link to it in the state directory: whoever knows the state finds the daemon, in whatever environment.
pub const LINK: &str = "control.sock";
/// The longest path that a socket can have, less a margin.
const LONGEST: usize = 100;

/// The variables that count.
#[derive(Clone, Default, Debug)]
pub struct Variables {
    /// `RUNTIME_DIRECTORY`, which systemd sets for a service.
    pub runtime_directory: Option<OsString>,
    /// `XDG_RUNTIME_DIR`, which a login sets.
    pub xdg_runtime_dir: Option<OsString>,
    /// The user is root.
    pub is_root: bool,
}

impl Variables {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            runtime_directory: std::env::var_os("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: std::env::var_os("XDG_RUNTIME_DIR"),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    fn runtime(&self) -> Option<PathBuf> {
        // systemd names several with colons between them; the first is ours.
        let first = self.runtime_directory.as_ref().and_then(|all| std::env::split_paths(all).next());
        first.filter(|path| path.is_absolute())
    }

    fn xdg(&self) -> Option<PathBuf> {
        let xdg = self.xdg_runtime_dir.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
        xdg.map(|path| path.join("mailtwin"))
    }
}

/// Where a daemon puts its socket: where the service manager says, else where the login says, else, for root, below `/run`,
/// else beside its state. None: all of these are too long for a socket.
pub fn place(variables: &Variables, state_dir: &Path) -> Option<PathBuf> {
    let system = variables.is_root.then(|| PathBuf::from("/run/mailtwin"));
    let directories = [variables.runtime(), variables.xdg(), system, Some(state_dir.to_owned())];
    let places = directories.into_iter().flatten().map(|directory| directory.join(NAME));
    places.into_iter().find(|place| place.as_os_str().len() <= LONGEST)
}

/// Where a client looks for the socket, best first.
pub fn places(variables: &Variables, state_dir: &Path) -> Vec<PathBuf> {
    // The link is read, not followed: its own path may be too long for a socket.
    let link = state_dir.join(LINK);
    let linked = std::fs::read_link(&link).unwrap_or(link);
    let system = Some(PathBuf::from("/run/mailtwin"));
    let directories = [variables.runtime(), system, variables.xdg()].into_iter().flatten();
    let mut places = vec![linked];
    places.extend(directories.map(|directory| directory.join(NAME)));
    places.retain(|place| place.as_os_str().len() <= LONGEST);
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(runtime: &str, xdg: &str, is_root: bool) -> Variables {
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        Variables { runtime_directory: some(runtime), xdg_runtime_dir: some(xdg), is_root }
    }

    #[test]
    fn the_service_manager_decides_then_the_login_then_who_one_is() {
        let state = Path::new("/s");
        for (runtime, xdg, is_root, expected) in [
            ("/run/a:/run/b", "/run/user/7", false, "/run/a/control.sock"),
            ("", "/run/user/7", true, "/run/user/7/mailtwin/control.sock"),
            ("relative", "relative", true, "/run/mailtwin/control.sock"),
            ("", "", false, "/s/control.sock"),
        ] {
            let place = place(&variables(runtime, xdg, is_root), state).expect("a place");
            assert_eq!(place, Path::new(expected));
        }
        assert_eq!(place(&variables("", "", false), Path::new(&format!("/{}", "x".repeat(100)))), None);
    }

    #[test]
    fn a_client_follows_the_link_beside_the_state_first() {
        let state = tempfile::tempdir().expect("a directory");
        let found = places(&variables("", "/run/user/7", false), state.path());
        let usual = ["/run/mailtwin/control.sock", "/run/user/7/mailtwin/control.sock"].map(PathBuf::from);
        assert_eq!(found[1..], usual);
        std::os::unix::fs::symlink("/elsewhere/control.sock", state.path().join(LINK)).expect("a link");
        let found = places(&variables("", "/run/user/7", false), state.path());
        assert_eq!(found[0], Path::new("/elsewhere/control.sock"));
        assert_eq!(found[1..], usual);
    }
}
