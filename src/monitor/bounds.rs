//! What the daemon may touch: its Maildirs and its state, and to read what the system needs (landlock(7)).
//!
//! The kernel holds it against the *directories* that were there at the start, not against their names: a disk that is
//! mounted anew is another one. So what was there is noted, and held against what is there now.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the resolver, TLS and the C library read, where such a thing is there.
const READABLE: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/netconfig",
    "/run/connman",
    "/run/nscd",
    "/var/lib/ca-certificates",
    "/var/lib/sss",
    "/proc",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
];

/// Files that may be links to anywhere, and are replaced there.
const LINKED: &[&str] = &["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/localtime"];

/// Which directory a name leads to: its device and inode, and whether it can be opened; none: to nothing.
type Identity = Option<((u64, u64), bool)>;

/// The Maildirs that this process may touch.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// None: nothing is out of bounds.
    set: Option<Arc<Set>>,
}

#[derive(PartialEq, Eq, Debug)]
struct Set {
    maildirs: BTreeMap<PathBuf, Identity>,
    state_dir: PathBuf,
}

impl Bounds {
    /// Gives up, for this thread and all that it starts from now on, everything but these Maildirs, the state directory,
    /// and reading `readable`; listening on TCP is for `port` alone. There is no way back.
    ///
    /// Nothing is given up, and the error says why, where the kernel cannot do it in a way in which mail can still be moved
    /// from one directory to another (ABI 2, Linux 5.19).
    pub fn set<'p>(
        maildirs: impl IntoIterator<Item = &'p Path>,
        state_dir: &Path,
        readable: &[PathBuf],
        port: Option<u16>,
    ) -> Result<Self, RulesetError> {
        let maildirs: BTreeMap<PathBuf, Identity> =
            maildirs.into_iter().map(|path| (path.to_owned(), identity(path))).collect();
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V2))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::BindTcp)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?;
        let all = AccessFs::from_all(ABI::V6);
        // Nor does it make symbolic links, which the monitor would follow where a file that it opens lies in reach.
        let devices = AccessFs::IoctlDev | AccessFs::MakeBlock | AccessFs::MakeChar;
        let write = all & !AccessFs::Execute & !devices & !AccessFs::MakeSym;
        for path in maildirs.keys().map(PathBuf::as_path).chain([state_dir]) {
            rules = allow(rules, path, write)?;
        }
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        for path in READABLE.iter().map(Path::new).chain(readable.iter().map(PathBuf::as_path)) {
            rules = allow(rules, path, read)?;
        }
        rules = allow(rules, Path::new("/dev/null"), read | AccessFs::WriteFile)?;
        if let Some(port) = port {
            rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
        }
        rules.restrict_self()?;
        Ok(Self { set: Some(Arc::new(Set { maildirs, state_dir: state_dir.to_owned() })) })
    }

    /// Whether a Maildir was named at the start.
    pub fn name(&self, maildir: &Path) -> bool {
        let named = |set: &Arc<Set>| maildir.starts_with(&set.state_dir) || set.maildirs.contains_key(maildir);
        self.set.as_ref().is_none_or(named)
    }

    /// Whether a Maildir can be reached as well as it could be from outside: what its name leads to was there at the start,
    /// or it is not there now and was not then. A disk that was taken out and mounted again is the same one, and yet out of
    /// reach: that it could be opened then, and cannot now, tells it. Blocking, for a moment.
    pub fn cover(&self, maildir: &Path) -> bool {
        self.covers(maildir, || identity(maildir))
    }

    fn covers(&self, maildir: &Path, now: impl FnOnce() -> Identity) -> bool {
        let Some(set) = self.set.as_ref().filter(|set| !maildir.starts_with(&set.state_dir)) else { return true };
        let Some(then) = set.maildirs.get(maildir) else { return false };
        let is_as_then = |(now, opens)| then.is_some_and(|(then, opened)| then == now && (opens || !opened));
        now().is_none_or(is_as_then)
    }
}

/// What else is read: certificates and credentials, where the environment says that they are, and what files of the system
/// are links to. `variable` gives the value of a variable of the environment.
pub fn readable<'e>(variable: impl Fn(&str) -> Option<&'e OsStr>) -> Vec<PathBuf> {
    let lists = ["SSL_CERT_DIR", "SSL_CERT_FILE", "CREDENTIALS_DIRECTORY"];
    let named = lists.iter().filter_map(|&name| variable(name)).flat_map(std::env::split_paths);
    let linked = LINKED.iter().filter_map(|file| std::fs::canonicalize(file).ok()?.parent().map(Path::to_owned));
    named.chain(linked).filter(|path| path.is_absolute() && path.parent().is_some()).collect()
}

fn identity(path: &Path) -> Identity {
    let found = std::fs::metadata(path).ok()?;
    Some(((found.dev(), found.ino()), std::fs::read_dir(path).is_ok()))
}

/// Allows something below a path; what is not there, or cannot be opened, needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let is_directory = std::fs::metadata(path).is_ok_and(|found| found.is_dir());
    let access = if is_directory { access } else { access & AccessFs::from_file(ABI::V6) };
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maildir_is_covered_while_its_name_leads_where_it_led() {
        let [there, missing, other] = ["/mail/there", "/mail/missing", "/mail/other"].map(Path::new);
        let maildirs = [(there.to_owned(), Some(((1, 7), true))), (missing.to_owned(), None)];
        let bounds = Bounds { set: Some(Arc::new(Set { maildirs: maildirs.into(), state_dir: "/state".into() })) };
        assert!(bounds.covers(there, || Some(((1, 7), true))));
        assert!(!bounds.covers(there, || Some(((1, 7), false))), "the same disk is mounted again");
        assert!(bounds.covers(there, || None), "a disk that went away is not found by a new start");
        assert!(!bounds.covers(there, || Some(((2, 7), true))), "another disk is mounted there");
        assert!(bounds.covers(missing, || None));
        assert!(!bounds.covers(missing, || Some(((1, 9), false))), "it was made, or came");
        assert!(bounds.name(missing) && !bounds.name(other) && bounds.name(Path::new("/state/queues/work")));
        assert!(!bounds.covers(other, || None), "the configuration has it now");
        assert!(
            bounds.covers(Path::new("/state/queues/work"), || Some(((1, 3), true))),
            "it is within what it may touch"
        );
        assert!(Bounds::default().covers(other, || Some(((1, 1), true))));
        let closed = [(there.to_owned(), Some(((1, 7), false)))];
        let bounds = Bounds { set: Some(Arc::new(Set { maildirs: closed.into(), state_dir: "/state".into() })) };
        assert!(bounds.covers(there, || Some(((1, 7), false))), "nobody could open it then: a new start finds no more");
    }

    #[test]
    fn what_the_environment_names_is_readable_and_a_root_is_not() {
        let variable = |name: &str| match name {
            "SSL_CERT_DIR" => Some(OsStr::new("/opt/certs:/srv/certs:relative:/")),
            "CREDENTIALS_DIRECTORY" => Some(OsStr::new("/run/credentials/mailtwin.service")),
            _ => None,
        };
        let found = readable(variable);
        for path in ["/opt/certs", "/srv/certs", "/run/credentials/mailtwin.service"] {
            assert!(found.contains(&path.into()), "{path} in {found:?}");
        }
        assert!(!found.contains(&"/".into()) && !found.contains(&"relative".into()), "{found:?}");
    }
}
