//! What must hold of every image: tried with the engine's own reading of records, identities and its plan of what to trust.

use super::disk::{CrashDisk, Event, Flaw};
use super::view::View;
use super::world::World;
use crate::resume::{Record, ResumeData};
use crate::shell::plan::Plan;
use samara_disk::{FileIdentity, Storage};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use std::sync::Arc;

/// A promise that is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// N1: a piece is claimed and not there.
    FalseClaim(PieceIndex),
    /// N5, and N4 after a kill: a piece is there, and would be overwritten without a look.
    Overwritten(PieceIndex),
    /// N4: a piece was in a record that the engine took to be durable, and is gone.
    Lost(PieceIndex),
    /// N3: trackers that the owner was told are kept are not.
    Forgotten(Option<Vec<Vec<String>>>),
    /// N11: a record that cannot be understood is not set aside.
    Deleted,
}

/// A start of the engine with a mistake in it, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mistake {
    /// All that the record claims is believed, whatever became of the files.
    AllBelieved,
    /// What the record calls unsettled is not checked, and files that look unchanged hold nothing new.
    UnclaimedIgnored,
    /// Files that changed are not checked.
    ChangedIgnored,
}

/// How an image is looked at.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Case {
    /// What is wrong with the disk.
    pub(super) flaw: Option<Flaw>,
    /// What is wrong with the engine.
    pub(super) mistake: Option<Mistake>,
    /// The medium has damaged the record: nothing in it need be kept.
    pub(super) damaged: bool,
    /// Somebody else has written to the files.
    pub(super) foreign: bool,
}

/// What an image came to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Verdict {
    pub(super) claimed: u32,
    pub(super) to_check: u32,
    /// Whether there was a record that could be used, and one that could not.
    pub(super) recorded: bool,
    pub(super) set_aside: bool,
    /// Whether every file seemed to be as recorded though something of it is not certain.
    pub(super) unchanged: bool,
}

/// Looks at an image as the engine does at a start. `log` is what happened before.
pub(super) fn judge(
    world: &World,
    view: &View,
    log: &[Event],
    case: Case,
) -> Result<Verdict, Broken> {
    let Case { flaw, mistake, damaged, foreign } = case;
    let disk = CrashDisk::showing(view.clone(), flaw);
    let handle = disk.handle(&world.files);
    let record = world.record(Arc::clone(&handle) as _);
    let before = view.content(&world.record_path).map(<[u8]>::to_vec);
    let loaded = record.load();
    let set_aside = before.is_some() && loaded.is_none();
    if set_aside && disk.view().content(&world.aside_path()) != before.as_deref() {
        return Err(Broken::Deleted);
    }
    let identity = |index| handle.identity(FileIndex(index)).unwrap().unwrap_or_default();
    let count = u32::try_from(world.files.len()).unwrap();
    let files: Vec<FileIdentity> = (0..count).map(identity).collect();
    let info = &world.metainfo.info;
    let mut plan = Plan::new(info, &files, loaded.as_ref());
    make(mistake, &mut plan, loaded.as_ref());
    let right = |piece: PieceIndex| world.is_right(view, piece);
    if let Some(piece) = plan.have.iter().find(|&piece| !right(piece)) {
        return Err(Broken::FalseClaim(piece));
    }
    let known = |piece: PieceIndex| {
        plan.have.has(piece) || plan.check.has(piece) || plan.unclaimed.has(piece)
    };
    if let Some(piece) = info.layout().pieces().find(|&piece| right(piece) && !known(piece)) {
        return Err(Broken::Overwritten(piece));
    }
    if let Some(data) = last_record(&record, log).filter(|_| !damaged && !foreign)
        && let Some(piece) = data.have.iter().find(|&piece| !right(piece) || !known(piece))
    {
        return Err(Broken::Lost(piece));
    }
    if !damaged {
        trackers(log, loaded.as_ref())?;
    }
    Ok(Verdict {
        claimed: plan.have.count(),
        to_check: plan.check.count() + plan.unclaimed.count(),
        recorded: loaded.is_some(),
        set_aside,
        unchanged: loaded.is_some_and(|data| data.files == files),
    })
}

fn make(mistake: Option<Mistake>, plan: &mut Plan, data: Option<&ResumeData>) {
    let none = Bitfield::empty(plan.have.len());
    match mistake {
        None => {}
        Some(Mistake::AllBelieved) => {
            if let Some(data) = data {
                plan.have = data.have.clone();
            }
        }
        Some(Mistake::UnclaimedIgnored) => {
            plan.unclaimed = none;
            for piece in data.iter().flat_map(|data| &data.unsettled) {
                plan.check.remove(*piece);
            }
        }
        Some(Mistake::ChangedIgnored) => plan.check = none,
    }
}

/// The last record that the engine took to be durable.
fn last_record(record: &Record, log: &[Event]) -> Option<ResumeData> {
    let bytes = log.iter().rev().find_map(|event| match event {
        Event::Recorded(bytes) => Some(bytes),
        _ => None,
    })?;
    record.parse(bytes).ok()
}

/// The trackers are those last kept, or others that the owner has asked for since.
fn trackers(log: &[Event], loaded: Option<&ResumeData>) -> Result<(), Broken> {
    let Some(at) = log.iter().rposition(|event| matches!(event, Event::Kept(_))) else {
        return Ok(());
    };
    let found = loaded.and_then(|data| data.trackers.clone());
    let allowed = log[at..].iter().any(|event| match event {
        Event::Kept(tiers) | Event::Asked(tiers) => Some(tiers) == found.as_ref(),
        _ => false,
    });
    if allowed { Ok(()) } else { Err(Broken::Forgotten(found)) }
}

/// N4: of what was written, what no record had yet when the next one was begun is bounded.
pub(super) fn assert_records_in_time(world: &World, log: &[Event], most: u64) {
    let record = world.record(CrashDisk::new(None).handle(&world.files));
    let layout = world.metainfo.info.layout();
    let mut before = Bitfield::empty(layout.count());
    let mut written_at_last = Bitfield::empty(layout.count());
    let mut view = View::default();
    let len = |set: &Bitfield, than: &Bitfield| -> u64 {
        set.iter_difference(than).map(|piece| u64::from(layout.len_of(piece))).sum()
    };
    for event in log {
        match event {
            Event::Change(change) => view.apply(change),
            Event::Killed => {}
            Event::Recorded(bytes) => {
                let data = record.parse(bytes).expect("the engine reads what it writes");
                let late = len(&data.have, &before);
                let during = len(&written_at_last, &before);
                assert!(
                    late <= most + during,
                    "{late} bytes, {during} of them during the last save"
                );
                before = data.have;
                written_at_last = world.right_in(&view);
            }
            _ => {}
        }
    }
}
