//! The exhaustive model of mailboxes: made, renamed, deleted, copied on either side, beside messages, and a LIST that leaves
//! one out; a crash at any durable step, one more edit, and a crash at any durable step again.
//!
//! The judgement is the program's own: identify, judge, arrange, adopt, reconcile, settle. What is done in one mailbox with
//! its messages is one step here, for the crashes in it are those of the model next door.

use super::{Died, Fuel, print};
use mailtwin::mail::{BaseName, Flags, MailboxName, Storable, Uid, UidValidity};
use mailtwin::sync::{
    Action, Cause, Directory, HeaderLook, Hold, Limits, Listed, LocalView, LooksHere, LooksThere, MailboxAction,
    MailboxId, MailboxRecord, MailboxVerdict, Mailboxes, Outcome, Parked, Picture, Policy, RemoteView, Route, Rules,
    Scope, Side, Sides, Standing, There as Found, Word, adopt, arrange, fits, identify, identity_questions, is_proven,
    judge, reconcile, scope, settle,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mutation {
    None,
    /// A mailbox that one LIST does not show counts as gone.
    BelievesOneList,
    /// A mailbox is what it is called.
    GoesByNames,
    /// What is to be done with mailboxes is remembered as done, and then done.
    SettlesFirst,
}

/// What kind of server it is, and what the owner wants.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Setting {
    /// It tells mailboxes apart whatever their names.
    identifies: bool,
    delete: Sides,
}

/// A mailbox of the server.
#[derive(Clone, Debug)]
struct There {
    identity: u32,
    epoch: UidValidity,
    next: Uid,
    messages: BTreeMap<Uid, u8>,
}

/// A directory of the Maildir.
#[derive(Clone, Default, Debug)]
struct Here {
    marker: Option<MailboxId>,
    inode: u64,
    files: BTreeMap<BaseName, u8>,
}

/// What the users did and saw, to judge by.
#[derive(Clone, Default)]
struct Past {
    seen_there: BTreeSet<u8>,
    seen_here: BTreeSet<u8>,
    /// What was in mailboxes that somebody deleted, by the side.
    dropped_there: BTreeSet<u8>,
    dropped_here: BTreeSet<u8>,
    /// The body is in the retention area.
    retained: BTreeSet<u8>,
    /// What is there twice, for its directory was copied.
    copied: BTreeSet<u8>,
}

#[derive(Clone)]
struct World {
    setting: Setting,
    server: BTreeMap<String, There>,
    maildir: BTreeMap<String, Here>,
    records: BTreeMap<MailboxId, MailboxRecord>,
    pictures: BTreeMap<MailboxId, Picture>,
    /// Actions that were begun and are not settled.
    journal: Vec<Vec<MailboxAction>>,
    /// The next LIST leaves this one out, and says OK.
    hidden: Option<String>,
    next: u32,
    next_body: u8,
    /// Somebody was told to do something first, in the last pass.
    left_out: bool,
    past: Past,
}

fn name(text: &str) -> MailboxName {
    MailboxName::encode(text).expect("a name")
}

fn text(name: &MailboxName) -> String {
    name.decoded().expect("it was encoded")
}

/// Mailboxes that were made or renamed, and those that are gone.
#[derive(Default)]
struct Made {
    records: Vec<MailboxRecord>,
    forgotten: Vec<MailboxId>,
}

impl World {
    fn new(setting: Setting) -> Self {
        let mut world = Self {
            setting,
            server: BTreeMap::new(),
            maildir: BTreeMap::new(),
            records: BTreeMap::new(),
            pictures: BTreeMap::new(),
            journal: vec![],
            hidden: None,
            next: 1,
            next_body: 1,
            left_out: false,
            past: Past::default(),
        };
        for mailbox in ["INBOX", "Trash", "A", "B"] {
            world.make_there(mailbox);
        }
        world.add_there("A");
        world.add_there("B");
        world
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn make_there(&mut self, at: &str) {
        let (identity, epoch) = (self.number(), self.number());
        let epoch = UidValidity::new(epoch).expect("not zero");
        let made = There { identity, epoch, next: Uid::MIN, messages: BTreeMap::new() };
        self.server.entry(at.to_owned()).or_insert(made);
    }

    fn add_there(&mut self, at: &str) {
        let body = self.next_body;
        if let Some(there) = self.server.get_mut(at) {
            self.next_body += 1;
            there.append(body);
        }
    }

    fn add_here(&mut self, at: &str) {
        let file = self.file();
        if let Some(here) = self.maildir.get_mut(at) {
            here.files.insert(file, self.next_body);
            self.next_body += 1;
        }
    }

    fn file(&mut self) -> BaseName {
        BaseName::new(format!("n{}", self.number()).as_bytes()).expect("a name")
    }

    fn directory(&mut self, at: &str, marker: Option<MailboxId>) -> &mut Here {
        let inode = u64::from(self.number());
        let here = self.maildir.entry(at.to_owned()).or_insert_with(|| Here { inode, ..Here::default() });
        here.marker = here.marker.or(marker);
        here
    }

    /// Takes in what is where.
    fn look_back(&mut self) {
        self.past.seen_there.extend(self.server.values().flat_map(|there| there.messages.values()));
        self.past.seen_here.extend(self.maildir.values().flat_map(|here| here.files.values()));
    }

    /// One LIST, of all that can be mirrored.
    fn list(&mut self) -> Vec<Listed> {
        let hidden = self.hidden.take();
        let shown = self.server.iter().filter(|(at, _)| Some(*at) != hidden.as_ref());
        let listed = |(at, there): (&String, &There)| Listed {
            name: name(at),
            role: None,
            place: Ok(at.clone()),
            identity: self.setting.identifies.then(|| format!("F{}", there.identity)),
            uid_validity: Some(there.epoch),
            standing: if at == "Trash" { Standing::Unwanted } else { Standing::Wanted },
        };
        shown.map(listed).collect()
    }

    fn run(&mut self, fuel: &mut Fuel, mutation: Mutation) -> Result<(), Died> {
        for _round in 0..5 {
            let before = fuel.0;
            let done = self.pass(fuel, mutation);
            self.look_back();
            done?;
            if fuel.0 == before {
                return Ok(());
            }
        }
        Ok(())
    }

    fn pass(&mut self, fuel: &mut Fuel, mutation: Mutation) -> Result<(), Died> {
        self.left_out = false;
        while let Some(actions) = self.journal.first().cloned() {
            let actions: Vec<_> =
                actions.into_iter().filter(|a| !matches!(a, MailboxAction::DeleteRemote { .. })).collect();
            let made = self.carry_out(&actions, fuel)?;
            fuel.step()?;
            self.journal.remove(0);
            self.remember_made(made);
        }
        let listed = self.list();
        let mut records: Vec<MailboxRecord> = self.records.values().cloned().collect();
        let there = self.find(&records, &listed, mutation);
        self.learn_places(&listed, &there, fuel)?;
        records = self.records.values().cloned().collect();
        let directories = self.directories();
        let verdicts = judge(&Mailboxes {
            records: &records,
            listed: &listed,
            directories: &directories,
            broken: &BTreeMap::new(),
            there: &there,
            wanted: &self.records.keys().copied().collect(),
            create: Sides::BOTH,
            delete: self.setting.delete,
        });
        let (mut mirrored, mut emptying, mut actions) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for verdict in verdicts {
            self.heed(verdict, (&mut mirrored, &mut emptying), &mut actions, fuel, mutation)?;
        }
        let (deletions, others): (Vec<_>, Vec<_>) =
            arrange(actions, &records).into_iter().partition(|a| matches!(a, MailboxAction::DeleteRemote { .. }));
        mirrored.extend(self.make(others, fuel, mutation)?);
        self.make(deletions, fuel, mutation)?;
        for id in mirrored {
            self.messages(id, emptying.contains(&id), fuel)?;
        }
        let emptied = emptying.into_iter().filter_map(|id| {
            let record = self.records.get(&id)?;
            let path = record.path.clone()?;
            let is_empty = self.maildir.get(&path).is_none_or(|here| here.files.is_empty());
            let name = record.name.clone();
            let is_settled = self.pictures.get(&id).is_none_or(|picture| picture.pairs().next().is_none());
            (is_empty && is_settled).then_some(MailboxAction::DeleteLocal { mailbox: id, name, path })
        });
        let emptied = emptied.collect();
        self.make(emptied, fuel, mutation)?;
        Ok(())
    }

    fn find(&self, records: &[MailboxRecord], listed: &[Listed], mutation: Mutation) -> BTreeMap<MailboxId, Found> {
        if mutation == Mutation::GoesByNames {
            let is_listed = |record: &MailboxRecord| listed.iter().any(|l| l.name == record.name);
            let found = |record: &MailboxRecord| if is_listed(record) { Found::Same } else { Found::Gone };
            return records.iter().map(|record| (record.id, found(record))).collect();
        }
        let proven = identity_questions(records, listed).into_iter().filter(|(id, name)| {
            let Some(there) = self.server.get(&text(name)) else { return false };
            let Some(picture) = self.pictures.get(id) else { return false };
            let remembered: Vec<Uid> = picture.remote_side().map(|(uid, _)| uid).collect();
            let found = remembered.iter().filter(|uid| there.messages.contains_key(uid)).count() as u64;
            self.records[id].uid_validity == Some(there.epoch) && is_proven(remembered.len() as u64, found)
        });
        identify(records, listed, &proven.collect())
    }

    fn learn_places(
        &mut self,
        listed: &[Listed],
        there: &BTreeMap<MailboxId, Found>,
        fuel: &mut Fuel,
    ) -> Result<(), Died> {
        let mut learnt = self.records.clone();
        for record in learnt.values_mut() {
            let named = listed.iter().find(|l| l.name == record.name);
            if let Some(seen) = named.filter(|_| record.identity.is_none() && there[&record.id] == Found::Same)
                && fits(record, None, seen.uid_validity)
            {
                record.identity.clone_from(&seen.identity);
            }
            let marked = || self.maildir.iter().filter(|(_, here)| here.marker == Some(record.id));
            let moved = marked().any(|(at, here)| Some(at) != record.path.as_ref() && record.inode == Some(here.inode));
            let inode = marked().find(|(at, _)| Some(*at) == record.path.as_ref()).map(|(_, here)| here.inode);
            record.inode = inode.filter(|_| !moved).or(record.inode);
        }
        if learnt != self.records {
            fuel.step()?;
            self.records = learnt;
        }
        Ok(())
    }

    fn directories(&self) -> BTreeMap<String, Directory> {
        let directory = |(at, here): (&String, &Here)| {
            let (marker, inode) = (here.marker, here.inode);
            (at.clone(), Directory { marker, inode, name: Ok(name(at)), is_wanted: true })
        };
        self.maildir.iter().map(directory).collect()
    }

    /// A second LIST and STATUS.
    fn is_gone(&mut self, id: MailboxId, mutation: Mutation) -> bool {
        let record = self.records[&id].clone();
        if mutation == Mutation::BelievesOneList {
            return true;
        }
        let again = self.list();
        let found = again.iter().find(|l| l.name == record.name);
        let moved = again.iter().any(|l| l.identity.is_some() && l.identity == record.identity);
        let is_another = found.is_some_and(|l| !fits(&record, l.identity.as_deref(), None));
        let is_gone = !moved && (is_another || found.is_none() && !self.server.contains_key(&text(&record.name)));
        self.left_out |= !is_gone;
        is_gone
    }

    /// Changes what is remembered of a mailbox as a whole.
    fn remember(
        &mut self,
        id: MailboxId,
        fuel: &mut Fuel,
        change: impl FnOnce(&mut MailboxRecord),
    ) -> Result<(), Died> {
        let mut record = self.records[&id].clone();
        change(&mut record);
        if record != self.records[&id] {
            fuel.step()?;
            self.records.insert(id, record);
        }
        Ok(())
    }

    fn fresh_id(&mut self) -> MailboxId {
        MailboxId(self.number())
    }

    fn heed(
        &mut self,
        verdict: MailboxVerdict,
        (mirrored, emptying): (&mut BTreeSet<MailboxId>, &mut BTreeSet<MailboxId>),
        actions: &mut Vec<MailboxAction>,
        fuel: &mut Fuel,
        mutation: Mutation,
    ) -> Result<(), Died> {
        match verdict {
            MailboxVerdict::Mirror(id) => {
                self.remember(id, fuel, |record| record.hold = None)?;
                mirrored.insert(id);
            }
            MailboxVerdict::CreateLocal { name, path, .. } | MailboxVerdict::Meet { name, path, .. } => {
                actions.push(MailboxAction::CreateLocal { mailbox: self.fresh_id(), name, path });
            }
            MailboxVerdict::CreateRemote { name, path, copy_of } => {
                let mailbox = self.fresh_id();
                if let Some(copy_of) = copy_of {
                    let (name, path) = (name.clone(), path.clone());
                    actions.push(MailboxAction::MarkCopy { mailbox, name, path, copy_of });
                }
                actions.push(MailboxAction::CreateRemote { mailbox, name, path: Some(path) });
            }
            MailboxVerdict::RenameLocal { mailbox, name, from, to, .. } => {
                actions.push(MailboxAction::RenameLocal { mailbox, name, from, to, whole: false });
            }
            MailboxVerdict::RenameRemote { mailbox, from, to, path } => {
                actions.push(MailboxAction::RenameRemote { mailbox, from, to, path });
            }
            MailboxVerdict::Park(id) => {
                if self.is_gone(id, mutation) {
                    self.remember(id, fuel, |record| record.parked = Some(Parked::GoneFromServer))?;
                }
            }
            MailboxVerdict::Empty(id) => {
                if self.is_gone(id, mutation) {
                    self.remember(id, fuel, |record| record.parked = Some(Parked::GoneFromServer))?;
                    emptying.insert(id);
                    mirrored.insert(id);
                }
            }
            MailboxVerdict::Forget(id) => {
                if self.is_gone(id, mutation) {
                    fuel.step()?;
                    self.records.remove(&id);
                    self.pictures.remove(&id);
                }
            }
            MailboxVerdict::BackOnServer(id, here) => {
                let record = self.records[&id].clone();
                let there = self.server.get(&text(&record.name));
                let is_same = there.is_some_and(|there| {
                    let told = self.setting.identifies.then(|| format!("F{}", there.identity));
                    record.identity.is_some() && told == record.identity || record.uid_validity == Some(there.epoch)
                });
                match (here, is_same) {
                    (true, true) => {
                        self.remember(id, fuel, |record| record.parked = None)?;
                        mirrored.insert(id);
                    }
                    (true, false) => self.left_out = true,
                    (false, _) => {
                        let path = record.path.expect("it has a place");
                        actions.push(self.begin_afresh(id, record.name, path, fuel)?);
                    }
                }
            }
            MailboxVerdict::Restore { mailbox, name, path } => {
                actions.push(self.begin_afresh(mailbox, name, path, fuel)?);
            }
            MailboxVerdict::GoneHere { mailbox, name } => self.ask(mailbox, name, fuel)?,
            MailboxVerdict::DeleteRemote { mailbox, name, approved } => {
                let is_empty = self.server.get(&text(&name)).is_some_and(|there| there.messages.is_empty());
                if approved || is_empty {
                    actions.push(MailboxAction::DeleteRemote { mailbox, name, approved });
                } else {
                    self.ask(mailbox, name, fuel)?;
                }
            }
            MailboxVerdict::Parked(_) => {}
            MailboxVerdict::Unavailable { .. } | MailboxVerdict::LeftOut { .. } => self.left_out = true,
            MailboxVerdict::Unsubscribed(_) | MailboxVerdict::Unpark(_) => unreachable!("all are subscribed to"),
        }
        Ok(())
    }

    fn ask(&mut self, id: MailboxId, name: MailboxName, fuel: &mut Fuel) -> Result<(), Died> {
        let hold = Hold { gone: Side::Local, set: 1, word: Word::Waiting };
        self.remember(id, fuel, |record| {
            record.name = name;
            record.hold = record.hold.or(Some(hold));
        })
    }

    /// What was known of the messages is forgotten, and they are fetched.
    fn begin_afresh(
        &mut self,
        id: MailboxId,
        name: MailboxName,
        path: String,
        fuel: &mut Fuel,
    ) -> Result<MailboxAction, Died> {
        fuel.step()?;
        self.records.insert(id, MailboxRecord::new(id, name.clone(), None));
        self.pictures.remove(&id);
        Ok(MailboxAction::CreateLocal { mailbox: id, name, path })
    }

    /// A batch of actions on mailboxes; tells which are there now.
    fn make(
        &mut self,
        actions: Vec<MailboxAction>,
        fuel: &mut Fuel,
        mutation: Mutation,
    ) -> Result<Vec<MailboxId>, Died> {
        if actions.is_empty() {
            return Ok(vec![]);
        }
        if mutation == Mutation::SettlesFirst {
            fuel.step()?;
            let mut pretended = self.clone();
            let made = pretended.carry_out(&actions, &mut Fuel(1000)).unwrap_or_default();
            self.remember_made(made);
            return self.carry_out(&actions, fuel).map(|made| made.records.iter().map(|record| record.id).collect());
        }
        fuel.step()?;
        self.journal.push(actions.clone());
        let made = self.carry_out(&actions, fuel)?;
        fuel.step()?;
        self.journal.pop();
        let ids = made.records.iter().map(|record| record.id).collect();
        self.remember_made(made);
        Ok(ids)
    }

    fn remember_made(&mut self, made: Made) {
        for record in made.records {
            self.records.insert(record.id, record);
        }
        for id in made.forgotten {
            self.records.remove(&id);
            self.pictures.remove(&id);
        }
    }

    /// The effect of actions on the sides. Each may be repeated.
    fn carry_out(&mut self, actions: &[MailboxAction], fuel: &mut Fuel) -> Result<Made, Died> {
        let mut made = Made::default();
        for action in actions {
            let id = action.mailbox();
            let known = made.records.iter().rev().find(|r| r.id == id).or_else(|| self.records.get(&id)).cloned();
            let record = match action {
                MailboxAction::CreateLocal { name, path, .. } => self.make_here(id, name, path, fuel)?,
                MailboxAction::CreateRemote { name, path, .. } => {
                    fuel.step()?;
                    self.make_there(&text(name));
                    self.make_here(id, name, path.as_ref().expect("all are mirrored"), fuel)?
                }
                MailboxAction::RenameLocal { name, from, to, .. } => self.rename_here(known, name, (from, to), fuel)?,
                MailboxAction::RenameRemote { from, to, path, .. } => {
                    let last = actions.iter().rev().find_map(|action| match action {
                        MailboxAction::RenameRemote { mailbox, to, .. } if *mailbox == id => Some(to),
                        _ => None,
                    });
                    self.rename_there(known, (from, to, last.unwrap_or(to)), path, fuel)?
                }
                MailboxAction::MarkCopy { path, copy_of, .. } => {
                    if let Some(here) = self.maildir.get_mut(path).filter(|here| here.marker == Some(*copy_of)) {
                        fuel.step()?;
                        here.marker = Some(id);
                    }
                    None
                }
                MailboxAction::DeleteLocal { path, .. } => {
                    let is_ours = |here: &&Here| here.marker == Some(id) && here.files.is_empty();
                    if self.maildir.get(path).filter(is_ours).is_some() {
                        fuel.step()?;
                        self.maildir.remove(path);
                    }
                    if !self.maildir.contains_key(path) {
                        made.forgotten.push(id);
                    }
                    None
                }
                MailboxAction::DeleteRemote { name, .. } => {
                    if self.delete_there(&known, name, fuel)? {
                        made.forgotten.push(id);
                    }
                    None
                }
            };
            made.records.extend(record);
        }
        Ok(made)
    }

    fn make_here(
        &mut self,
        id: MailboxId,
        at: &MailboxName,
        path: &str,
        fuel: &mut Fuel,
    ) -> Result<Option<MailboxRecord>, Died> {
        if self.maildir.get(path).is_some_and(|here| here.marker.is_some_and(|marker| marker != id)) {
            self.left_out = true;
            return Ok(None);
        }
        if self.maildir.get(path).is_none_or(|here| here.marker.is_none()) {
            fuel.step()?;
        }
        let inode = Some(self.directory(path, Some(id)).inode);
        let identity = self.server.get(&text(at)).filter(|_| self.setting.identifies);
        let identity = identity.map(|there| format!("F{}", there.identity));
        Ok(Some(MailboxRecord { identity, inode, ..MailboxRecord::new(id, at.clone(), Some(path.to_owned())) }))
    }

    fn rename_here(
        &mut self,
        known: Option<MailboxRecord>,
        at: &MailboxName,
        (from, to): (&str, &str),
        fuel: &mut Fuel,
    ) -> Result<Option<MailboxRecord>, Died> {
        let Some(record) = known else { return Ok(None) };
        let is_it = |here: Option<&Here>| here.is_some_and(|here| here.marker == Some(record.id));
        if from != to && !is_it(self.maildir.get(to)) {
            if !is_it(self.maildir.get(from)) {
                self.left_out = true;
                return Ok(None);
            }
            fuel.step()?;
            let moved = self.maildir.remove(from).expect("it is there");
            // What lies in its way leaves it in the same batch: they are exchanged.
            if let Some(other) = self.maildir.insert(to.to_owned(), moved) {
                self.maildir.insert(from.to_owned(), other);
            }
        }
        let inode = self.maildir.get(to).map(|here| here.inode);
        let (name, path) = (at.clone(), Some(to.to_owned()));
        Ok(Some(MailboxRecord { name, path, inode, parked: None, hold: None, ..record }))
    }

    fn rename_there(
        &mut self,
        known: Option<MailboxRecord>,
        (from, to, last): (&MailboxName, &MailboxName, &MailboxName),
        path: &str,
        fuel: &mut Fuel,
    ) -> Result<Option<MailboxRecord>, Died> {
        let Some(record) = known else { return Ok(None) };
        let may_be = |world: &Self, at: &MailboxName| {
            let there = world.server.get(&text(at));
            let told = |there: &There| world.setting.identifies.then(|| format!("F{}", there.identity));
            there.is_some_and(|there| fits(&record, told(there).as_deref(), Some(there.epoch)))
        };
        if !(may_be(self, last) || may_be(self, to)) {
            if self.server.contains_key(&text(to)) || !may_be(self, from) {
                self.left_out = true;
                return Ok(None);
            }
            fuel.step()?;
            let moved = self.server.remove(&text(from)).expect("it is there");
            self.server.insert(text(to), moved);
        }
        let is_ours = self.maildir.get(path).filter(|here| here.marker == Some(record.id));
        let Some(inode) = is_ours.filter(|_| to == last).map(|here| here.inode) else { return Ok(None) };
        let (name, path, inode) = (to.clone(), Some(path.to_owned()), Some(inode));
        Ok(Some(MailboxRecord { name, path, inode, hold: None, ..record }))
    }

    /// Everything in it goes to the Trash, and then the mailbox.
    fn delete_there(&mut self, known: &Option<MailboxRecord>, at: &MailboxName, fuel: &mut Fuel) -> Result<bool, Died> {
        let (Some(record), Some(there)) = (known, self.server.get(&text(at))) else { return Ok(false) };
        let told = self.setting.identifies.then(|| format!("F{}", there.identity));
        let lies = record.path.as_ref().and_then(|path| self.maildir.get(path));
        let is_back = lies.is_some_and(|here| here.marker.is_none_or(|marker| marker == record.id));
        if is_back || !fits(record, told.as_deref(), Some(there.epoch)) || record.uid_validity.is_none() {
            self.left_out = true;
            return Ok(false);
        }
        fuel.step()?;
        let messages = std::mem::take(&mut self.server.get_mut(&text(at)).expect("it is there").messages);
        let trash = self.server.get_mut("Trash").expect("every server has one");
        messages.into_values().for_each(|body| trash.append(body));
        fuel.step()?;
        self.server.remove(&text(at));
        Ok(true)
    }

    /// Brings the messages of a mailbox together, in one step each time.
    fn messages(&mut self, id: MailboxId, emptying: bool, fuel: &mut Fuel) -> Result<(), Died> {
        let Some(record) = self.records.get(&id).cloned() else { return Ok(()) };
        let (at, path) = (text(&record.name), record.path.clone().expect("it has a place"));
        let there = if emptying { None } else { self.server.get(&at).cloned() };
        let here = self.maildir.get(&path).filter(|here| here.marker == Some(id)).cloned();
        let (Some(here), false) = (here, there.is_none() && !emptying) else { return Ok(()) };
        let epoch = there.as_ref().map(|there| there.epoch).or(record.uid_validity);
        let Some(epoch) = epoch else { return Ok(()) };
        let picture = self.pictures.get(&id).cloned().unwrap_or_default();
        let messages = there.map(|there| there.messages).unwrap_or_default();
        let shown = messages.keys().map(|uid| (*uid, Flags::new())).collect();
        let remote = RemoteView::listed(shown, messages.len() as u32).expect("it adds up");
        let local = LocalView::of_new(here.files.keys().map(|name| (name.clone(), Flags::new())).collect());
        let cause = match record.uid_validity {
            None => Some(Cause::Met),
            Some(was) => (was != epoch).then_some(Cause::NewEpoch),
        };
        let mut next = picture.clone();
        if let Some(cause) = cause {
            let Scope { uids, names, gone } = scope(cause, &picture, &remote, &local);
            let look = |uid: Uid| {
                let (body, header) = (messages[&uid], Some(HeaderLook { digest: [messages[&uid]; 16], volatile: 0 }));
                LooksThere { message_id: Some([body; 8]), size: Some(1), header, ..LooksThere::default() }
            };
            let mut looks: BTreeMap<BaseName, LooksHere> = gone;
            looks.extend(names.into_iter().map(|name| {
                let (flags, print) = (Flags::new(), print(here.files[&name]));
                (name, LooksHere { flags, print, octets: Some(1), unended: false, date: None, gone: false })
            }));
            let there = uids.into_iter().map(|uid| (uid, look(uid))).collect();
            let done = adopt(cause, &picture, (&remote, &local), &there, &looks, 0);
            if done.is_doubtful() {
                // A person is asked first.
                self.left_out = true;
                return Ok(());
            }
            if cause == Cause::NewEpoch {
                next = Picture::new();
            }
            done.changes.into_iter().for_each(|change| next.apply(change));
        }
        let all = Storable::everything();
        let (policy, route, limits) = (Policy::TWO_WAY, Route::Expunge, Limits::default());
        let rules = Rules { policy, remote_flags: all.clone(), local_flags: all, route, limits, now: 0 };
        let mut names: Vec<BaseName> = (0..9).map(|_| self.file()).collect();
        let done = reconcile(&next, &remote, &local, &rules, &mut || names.pop().expect("few messages"));
        done.notes.into_iter().for_each(|note| next.apply(note.change));
        let is_allowed = |action: &Action| !emptying || matches!(action, Action::DeleteLocal { .. });
        let mut world = self.clone();
        for action in done.actions.iter().filter(|action| is_allowed(action)) {
            let outcome = world.execute((&at, &path), action, &messages);
            settle(&next, action, &outcome, 0).into_iter().for_each(|change| next.apply(change));
        }
        let agreed = MailboxRecord { uid_validity: Some(epoch), ..record };
        if next != picture || self.records[&id] != agreed {
            fuel.step()?;
            *self = world;
            self.pictures.insert(id, next);
            self.records.insert(id, agreed);
        }
        Ok(())
    }

    fn execute(&mut self, (at, path): (&str, &str), action: &Action, messages: &BTreeMap<Uid, u8>) -> Outcome {
        let here = self.maildir.get_mut(path).expect("it is there");
        match action {
            Action::Fetch { uid, name, .. } => {
                here.files.insert(name.clone(), messages[uid]);
                Outcome::Fetched(print(messages[uid]))
            }
            Action::DeleteLocal { name, .. } => {
                self.past.retained.extend(here.files.remove(name));
                Outcome::Removed
            }
            Action::Append { name, .. } => {
                let body = here.files[name];
                let there = self.server.get_mut(at).expect("it is there");
                let uid = there.next;
                there.append(body);
                Outcome::Appended(uid, Some(print(body)))
            }
            Action::DeleteRemote { uid, .. } => {
                self.server.get_mut(at).expect("it is there").messages.remove(uid);
                Outcome::Removed
            }
            other => unreachable!("nobody flags, moves or brings back anything here: {other}"),
        }
    }

    fn edit(&mut self, edit: Edit) {
        let first = |mut names: Box<dyn Iterator<Item = String> + '_>| names.find(|at| at != "INBOX" && at != "Trash");
        let there = first(Box::new(self.server.keys().cloned()));
        let here = first(Box::new(self.maildir.keys().cloned()));
        match (edit, there, here) {
            (Edit::Nothing, ..) => {}
            (Edit::MakeThere, ..) => {
                self.make_there("C");
                self.add_there("C");
            }
            (Edit::MakeHere, ..) => {
                self.directory("C", None);
                self.add_here("C");
            }
            (Edit::AddThere, Some(at), _) => self.add_there(&at),
            (Edit::AddHere, _, Some(at)) => self.add_here(&at),
            (Edit::RenameThere, Some(at), _) if !self.server.contains_key("D") => {
                let moved = self.server.remove(&at).expect("it is there");
                self.server.insert("D".to_owned(), moved);
            }
            (Edit::RenameHere(to), _, Some(at)) if !self.maildir.contains_key(to) => {
                let moved = self.maildir.remove(&at).expect("it is there");
                self.maildir.insert(to.to_owned(), moved);
            }
            (Edit::SwapThere, ..) if ["A", "B"].iter().all(|at| self.server.contains_key(*at)) => {
                let [a, b] = ["A", "B"].map(|at| self.server.remove(at).expect("it is there"));
                self.server.extend([("A".to_owned(), b), ("B".to_owned(), a)]);
            }
            (Edit::SwapHere, ..) if ["A", "B"].iter().all(|at| self.maildir.contains_key(*at)) => {
                let [a, b] = ["A", "B"].map(|at| self.maildir.remove(at).expect("it is there"));
                self.maildir.extend([("A".to_owned(), b), ("B".to_owned(), a)]);
            }
            (Edit::DeleteThere { remake }, Some(at), _) => {
                let gone = self.server.remove(&at).expect("it is there");
                self.past.dropped_there.extend(gone.messages.values());
                if remake {
                    self.make_there(&at);
                    self.add_there(&at);
                }
            }
            (Edit::DeleteHere, _, Some(at)) => {
                let gone = self.maildir.remove(&at).expect("it is there");
                self.past.dropped_here.extend(gone.files.values());
            }
            (Edit::CopyHere, _, Some(at)) if !self.maildir.contains_key("E") => {
                let copy = Here { inode: u64::from(self.number()), ..self.maildir[&at].clone() };
                self.past.copied.extend(copy.files.values());
                self.maildir.insert("E".to_owned(), copy);
            }
            (Edit::Hide, Some(at), _) => self.hidden = Some(at),
            (Edit::Say(word), ..) => {
                let waiting = self.records.values_mut().filter_map(|record| record.hold.as_mut());
                waiting.for_each(|hold| hold.word = word);
            }
            _ => {}
        }
        self.look_back();
    }

    /// How often a message is on each side.
    fn count(&self, body: u8) -> (usize, usize) {
        let there = self.server.values().flat_map(|there| there.messages.values()).filter(|b| **b == body).count();
        let here = self.maildir.values().flat_map(|here| here.files.values()).filter(|b| **b == body).count();
        (there, here)
    }

    /// Holds at any moment: what a side had, and nobody deleted there, it has.
    fn never_away(&self) -> Result<(), &'static str> {
        let Past { seen_there, seen_here, dropped_there, dropped_here, retained, copied } = &self.past;
        for body in 1..self.next_body {
            let (there, here) = self.count(body);
            if seen_there.contains(&body) && !dropped_there.contains(&body) && there == 0 {
                return Err("a message was away from the server");
            }
            let may_go = dropped_there.contains(&body) && self.setting.delete.local && retained.contains(&body);
            if seen_here.contains(&body) && !dropped_here.contains(&body) && here == 0 && !may_go {
                return Err("a message was away from the Maildir");
            }
            let most = if copied.contains(&body) { 2 } else { 1 };
            if there > most || here > most {
                return Err("a message was doubled");
            }
        }
        Ok(())
    }

    /// Holds at rest. `did` tells of each edit whether it was made.
    fn at_rest(&mut self, did: impl Fn(fn(&Edit) -> bool) -> bool, mutation: Mutation) -> Result<(), &'static str> {
        let deleted_there = did(|edit| matches!(edit, Edit::DeleteThere { .. }));
        let is_parked = self.records.values().any(|record| record.parked.is_some());
        // A directory that was made a moment before a crash, for what is called otherwise by now, is empty and stays so.
        let has_mail = |record: &MailboxRecord| {
            let here = record.path.as_ref().and_then(|path| self.maildir.get(path));
            here.is_some_and(|here| !here.files.is_empty())
        };
        if !deleted_there && self.records.values().any(|record| record.parked.is_some() && has_mail(record)) {
            return Err("a mailbox with mail was parked that nobody deleted");
        }
        let is_asked = self.records.values().any(|record| record.hold.is_some());
        if is_asked && !did(|edit| *edit == Edit::DeleteHere) {
            return Err("a mailbox was asked about that nobody deleted");
        }
        // A copy of its directory is new mail.
        let mut dropped = self.past.dropped_there.difference(&self.past.copied);
        if dropped.any(|body| self.count(*body).0 > 0) {
            return Err("a deleted mailbox came back");
        }
        let sides_of = |body: u8| {
            let there = self.server.iter().filter(|(_, there)| there.messages.values().any(|b| *b == body));
            let here = self.maildir.iter().filter(|(_, here)| here.files.values().any(|b| *b == body));
            (there.map(|(at, _)| at).collect::<Vec<_>>(), here.map(|(at, _)| at).collect::<Vec<_>>())
        };
        // What was in a mailbox that somebody deleted may be on one side only, or in the Trash.
        let untouched = |body: &u8| {
            let went = self.server["Trash"].messages.values().any(|b| b == body);
            !(went || self.past.dropped_there.contains(body) || self.past.dropped_here.contains(body))
        };
        if !(self.left_out || is_parked || is_asked) {
            for body in (1..self.next_body).filter(untouched) {
                let (there, here) = sides_of(body);
                if there != here {
                    return Err("the sides differ");
                }
            }
        }
        let before = self.next;
        let mut fuel = Fuel(1000);
        let done = self.pass(&mut fuel, mutation);
        self.next = before;
        if done.is_err() || fuel.0 != 1000 {
            return Err("a second run has something to do");
        }
        Ok(())
    }
}

impl There {
    fn append(&mut self, body: u8) {
        self.messages.insert(self.next, body);
        self.next = self.next.next().expect("few messages");
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Edit {
    Nothing,
    MakeThere,
    MakeHere,
    AddThere,
    AddHere,
    RenameThere,
    RenameHere(&'static str),
    SwapThere,
    SwapHere,
    DeleteThere {
        remake: bool,
    },
    DeleteHere,
    CopyHere,
    /// The next LIST leaves a mailbox out.
    Hide,
    /// A person decides about what is asked.
    Say(Word),
}

const EDITS: [Edit; 14] = [
    Edit::MakeThere,
    Edit::MakeHere,
    Edit::AddThere,
    Edit::AddHere,
    Edit::RenameThere,
    Edit::RenameHere("D"),
    Edit::RenameHere("F"),
    Edit::SwapThere,
    Edit::SwapHere,
    Edit::DeleteThere { remake: false },
    Edit::DeleteThere { remake: true },
    Edit::DeleteHere,
    Edit::CopyHere,
    Edit::Hide,
];

/// What a second edit can be besides.
const SECOND: [Edit; 3] = [Edit::Nothing, Edit::Say(Word::Approved), Edit::Say(Word::Rejected)];

/// What comes after a crash.
const THIRD: [Edit; 4] =
    [Edit::RenameThere, Edit::DeleteThere { remake: false }, Edit::DeleteHere, Edit::Say(Word::Approved)];

/// Runs every schedule; stops at the first violation.
fn every_schedule(setting: Setting, mutation: Mutation) -> Result<u64, String> {
    const FULL: u32 = 1000;
    let mut start = World::new(setting);
    assert!(start.run(&mut Fuel(FULL), Mutation::None).is_ok());
    start.never_away().map_err(|error| format!("{error} to begin with"))?;
    let mut count = 0;
    for first in EDITS {
        for second in EDITS.into_iter().chain(SECOND) {
            let mut edited = start.clone();
            edited.edit(first);
            if matches!(second, Edit::Say(_)) {
                // Nothing is asked before a run.
                assert!(edited.run(&mut Fuel(FULL), mutation).is_ok());
            }
            edited.edit(second);
            for crash in 0.. {
                let mut crashed = edited.clone();
                let finished = crashed.run(&mut Fuel(crash), mutation).is_ok();
                let told = |world: &World, third: Edit, error: &str| {
                    let sides = (&world.server, &world.maildir);
                    format!("{error}: {setting:?}, {first:?}, {second:?}, crash at {crash}, {third:?}: {sides:?}")
                };
                crashed.never_away().map_err(|error| told(&crashed, Edit::Nothing, error))?;
                for third in THIRD {
                    let mut again = crashed.clone();
                    again.edit(third);
                    for fuel in 0.. {
                        let mut end = again.clone();
                        let finished = end.run(&mut Fuel(fuel), mutation).is_ok();
                        end.never_away().map_err(|error| told(&end, third, error))?;
                        for _ in 0..3 {
                            assert!(end.run(&mut Fuel(FULL), mutation).is_ok());
                        }
                        count += 1;
                        end.never_away().map_err(|error| told(&end, third, error))?;
                        let did = |is: fn(&Edit) -> bool| [first, second, third].iter().any(is);
                        end.at_rest(did, mutation)
                            .map_err(|error| format!("{} again at {fuel}", told(&end, third, error)))?;
                        if finished {
                            break;
                        }
                    }
                }
                if finished {
                    break;
                }
            }
        }
    }
    Ok(count)
}

const SETTINGS: [Setting; 3] = [
    Setting { identifies: true, delete: Sides::BOTH },
    Setting { identifies: true, delete: Sides::NONE },
    Setting { identifies: false, delete: Sides::NONE },
];

#[test]
fn no_schedule_of_mailboxes_made_renamed_and_deleted_loses_doubles_or_diverges() {
    let runs = SETTINGS.map(|setting| std::thread::spawn(move || every_schedule(setting, Mutation::None)));
    let counts: Vec<u64> = runs.into_iter().map(|r| r.join().expect("no panic").expect("no violation")).collect();
    println!("{} schedules of mailboxes: {counts:?}", counts.iter().sum::<u64>());
    assert!(counts.iter().all(|count| *count >= 10_000), "too few schedules");
}

fn caught(mutation: Mutation) {
    let found = SETTINGS.into_iter().find_map(|setting| every_schedule(setting, mutation).err());
    println!("{mutation:?}: {}", found.expect("the model does not notice this mutation"));
}

#[test]
fn a_program_that_believes_one_list_is_caught() {
    caught(Mutation::BelievesOneList);
}

#[test]
fn a_program_that_goes_by_names_is_caught() {
    caught(Mutation::GoesByNames);
}

#[test]
fn a_program_that_settles_what_it_does_with_mailboxes_first_is_caught() {
    caught(Mutation::SettlesFirst);
}
