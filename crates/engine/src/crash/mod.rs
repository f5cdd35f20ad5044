//! Power failures and kills, at any moment of a download: sessions on a modelled disk, and what a start finds afterwards.
//!
//! | module | does |
//! | --- | --- |
//! | `disk` | keeps payload and records of a session under one order of events, and logs them |
//! | `image` | makes of a log what may be on the disk after the power went |
//! | `judge` | looks at an image as a start does, and says which promise is broken |
//! | `world` | real sessions that download to such a disk over loopback, are paused, killed, ended |
//!
//! The sessions run in real time, so no two logs are the same; what is made of a log follows from a seed. Some hundreds of images
//! are tried with each `cargo test`; more of them, and other ones, with
//!
//! ```text
//! SAMARA_CRASH_IMAGES=10000 SAMARA_CRASH_SEED=7 cargo test --release -p samara-engine --lib crash -- --nocapture
//! ```

mod disk;
mod image;
mod judge;
mod view;
mod world;

use disk::{Event, Flaw};
use image::{PowerLoss, after_kill, pick};
use judge::{Broken, Case, Mistake, Verdict, assert_records_in_time, judge};
use samara_disk::Allocation;
use samara_swarm::rng::Rng;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use view::View;
use world::{BUFFERS, Story, World};

/// Images made at one moment.
const AT_ONCE: usize = 8;

/// Images that each flaw or mistake is given to show itself.
const TO_FAIL: usize = 400;

/// Images in all, over the stories.
fn images() -> usize {
    number("SAMARA_CRASH_IMAGES").unwrap_or(400)
}

fn seed() -> u64 {
    number("SAMARA_CRASH_SEED").map_or(1, |n| n as u64)
}

fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// What images came to, together.
#[derive(Default, Debug)]
struct Tally {
    power_losses: usize,
    kills: usize,
    recorded: usize,
    set_aside: usize,
    unchanged: usize,
    claimed: u64,
    to_check: u64,
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.power_losses += other.power_losses;
        self.kills += other.kills;
        self.recorded += other.recorded;
        self.set_aside += other.set_aside;
        self.unchanged += other.unchanged;
        self.claimed += other.claimed;
        self.to_check += other.to_check;
    }

    fn add(&mut self, verdict: Verdict) {
        self.recorded += usize::from(verdict.recorded);
        self.set_aside += usize::from(verdict.set_aside);
        self.unchanged += usize::from(verdict.unchanged);
        self.claimed += u64::from(verdict.claimed);
        self.to_check += u64::from(verdict.to_check);
    }
}

/// Makes `count` images of what the world went through; in `case`, calls `found` with what is broken.
fn try_images(
    world: &World,
    count: usize,
    rng: &mut Rng,
    case: Case,
    mut found: impl FnMut(Broken, &[Event], &View),
) -> Tally {
    let log = world.disk.log();
    let mut tally = Tally::default();
    for _ in 0..count.div_ceil(AT_ONCE) {
        let past = &log[..moment(&log, rng)];
        let loss = PowerLoss::after(past);
        for n in 0..AT_ONCE {
            let kill = n == 0;
            let mut view = if kill { after_kill(past) } else { loss.image(rng) };
            let damaged = case.damaged && damage(world, &mut view, rng);
            if case.foreign {
                edit(world, &mut view, rng);
            }
            tally.kills += usize::from(kill);
            tally.power_losses += usize::from(!kill);
            match judge(world, &view, past, Case { damaged, ..case }) {
                Ok(verdict) => tally.add(verdict),
                Err(broken) => found(broken, past, &view),
            }
        }
    }
    tally
}

/// A moment at which the power goes: any, or one soon after a kill, when a session has found what another one left.
fn moment(log: &[Event], rng: &mut Rng) -> usize {
    let kill = log.iter().position(|event| matches!(event, Event::Killed));
    match kill.filter(|_| rng.below(2) == 0) {
        Some(at) => pick(at, log.len().min(at + 60), rng),
        None => {
            let found = log.iter().position(|event| matches!(event, Event::Found));
            pick(found.map_or(0, |at| at + 1), log.len() + 1, rng)
        }
    }
}

/// Changes a byte of the record.
fn damage(world: &World, view: &mut View, rng: &mut Rng) -> bool {
    let Some(inode) = view.names.get(&world.record_path) else { return false };
    let bytes = &mut view.inodes.get_mut(inode).unwrap().bytes;
    let at = pick(0, bytes.len(), rng);
    bytes.get_mut(at).map(|byte| *byte ^= 0x10).is_some()
}

/// Has somebody else write to a file.
fn edit(world: &World, view: &mut View, rng: &mut Rng) {
    let (path, _) = &world.files[pick(0, world.files.len(), rng)];
    let Some(inode) = view.names.get(path) else { return };
    let file = view.inodes.get_mut(inode).unwrap();
    file.mtime += 1_000_000_000_000;
    let at = pick(0, file.bytes.len(), rng);
    file.bytes.iter_mut().skip(at).for_each(|byte| *byte ^= 0x77);
}

fn complain(broken: Broken, past: &[Event], view: &View) {
    let names: Vec<_> = view.names.iter().map(|(p, &i)| (p, i, view.identity(i))).collect();
    let tail: Vec<_> = past.iter().rev().take(30).rev().map(short).collect();
    panic!(
        "{broken:?} after {} events, the last of them\n{}\nin\n{names:#?}",
        past.len(),
        tail.join("\n")
    );
}

/// An event without the bytes.
fn short(event: &Event) -> String {
    match event {
        Event::Change(view::Change::Write { inode, offset, bytes, mtime }) => {
            format!("write {inode} {offset}+{} at {mtime}", bytes.len())
        }
        Event::Recorded(bytes) => format!("recorded {} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// A world in which all of the story has happened.
async fn lived(story: Story) -> World {
    let world = World::new(story);
    world.live().await;
    world
}

/// Tries images of a story, and lets sessions go on from some of them, of which there are images again.
async fn keeps_its_promises(story: Story, share: usize) {
    let world = lived(story).await;
    let mut rng = Rng::new(seed());
    let count = images() / share;
    let mut tally = try_images(&world, count * 3 / 4, &mut rng, Case::default(), complain);
    assert!(tally.recorded > count / 8 && tally.unchanged > 0 && tally.claimed > 0, "{tally:?}");
    let again = (count / 400).max(1);
    let log = world.disk.log();
    for _ in 0..again {
        let past = &log[..pick(log.len() / 4, log.len(), &mut rng)];
        let view = PowerLoss::after(past).image(&mut rng);
        let next = world.on(disk::CrashDisk::holding(&view));
        next.finish().await;
        tally.merge(&try_images(&next, count / 4 / again, &mut rng, Case::default(), complain));
    }
    println!(
        "{story:?}: {} events, {again} sessions after a power failure\n  {tally:?}",
        log.len()
    );
}

#[test]
fn a_download_of_several_files() {
    run(keeps_its_promises(Story::default(), 4));
}

#[test]
fn a_download_to_files_allocated_in_full() {
    let story = Story { allocation: Allocation::Full, ..Story::default() };
    run(keeps_its_promises(story, 4));
}

#[test]
fn a_download_of_which_a_sync_fails() {
    let story = Story { failing_sync: Some(7), ..Story::default() };
    run(keeps_its_promises(story, 4));
}

#[test]
fn a_download_that_is_killed_when_a_sync_has_failed() {
    let story = Story { failing_sync: Some(5), killed_then: true, ..Story::default() };
    run(keeps_its_promises(story, 4));
}

#[test]
fn records_lag_behind_by_no_more_than_they_may() {
    run(async {
        let bytes = 300_000;
        let story = Story { bytes, interval: Duration::from_secs(3600), ..Story::default() };
        let world = lived(story).await;
        let records =
            |log: &[Event]| log.iter().filter(|e| matches!(e, Event::Recorded(_))).count();
        assert!(records(&world.disk.log()) >= 6);
        assert_records_in_time(&world, &world.disk.log(), bytes + BUFFERS as u64);
    });
}

#[test]
fn a_damaged_record_is_set_aside_and_all_is_checked() {
    run(async {
        let world = lived(Story::default()).await;
        let case = Case { damaged: true, ..Case::default() };
        let tally = try_images(&world, 100, &mut Rng::new(seed()), case, complain);
        assert!(tally.set_aside > 50, "{tally:?}");
        let case = Case { flaw: Some(Flaw::AsideDeleted), ..case };
        assert!(broken_by(&world, case).contains_key("Deleted"));
    });
}

/// What is broken in `case`, and how often.
fn broken_by(world: &World, case: Case) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    try_images(world, TO_FAIL, &mut Rng::new(seed()), case, |broken, _, _| {
        let name = format!("{broken:?}");
        let name = name.split('(').next().unwrap().to_owned();
        *seen.entry(name).or_default() += 1;
    });
    println!("{:?} {case:?}: {seen:?}", world.story.flaw);
    seen
}

/// What a record that claims too much looks like: to who believes it, and to who checks because a file has changed.
const FALSE: &[&str] = &["FalseClaim", "Lost"];

/// A disk that does not do what it says: the judge must see what comes of it.
async fn assert_noticed(flaw: Flaw, broken: &[&str]) {
    let story = Story { flaw: Some(flaw), ..Story::default() };
    let fails = [Flaw::FailureUnnoticed, Flaw::GivenUpKept].contains(&flaw);
    let mut story = Story { failing_sync: fails.then_some(7), ..story };
    story.killed_then = flaw == Flaw::GivenUpKept;
    if flaw == Flaw::FoundUnsynced {
        // So that there is much in memory when it is killed.
        story.interval = Duration::from_secs(3600);
    }
    let world = lived(story).await;
    let seen = broken_by(&world, Case::default());
    assert!(broken.iter().any(|name| seen.contains_key(*name)), "{flaw:?} broke only {seen:?}");
}

#[test]
fn payload_that_is_not_synced_is_noticed() {
    run(assert_noticed(Flaw::PayloadUnsynced, FALSE));
}

#[test]
fn a_record_before_its_payload_is_noticed() {
    run(assert_noticed(Flaw::RecordFirst, FALSE));
}

#[test]
fn pieces_found_in_memory_after_a_kill_and_not_synced_are_noticed() {
    run(assert_noticed(Flaw::FoundUnsynced, FALSE));
}

#[test]
fn a_failed_sync_that_is_not_heeded_is_noticed() {
    run(assert_noticed(Flaw::FailureUnnoticed, FALSE));
}

#[test]
fn a_record_whose_content_is_not_synced_is_noticed() {
    run(assert_noticed(Flaw::RecordUnsynced, &["Forgotten"]));
}

#[test]
fn a_record_whose_name_is_not_synced_is_noticed() {
    run(assert_noticed(Flaw::NamesUnsynced, &["Forgotten"]));
}

#[test]
fn what_a_failed_sync_gave_up_and_is_read_from_memory_is_noticed() {
    run(assert_noticed(Flaw::GivenUpKept, FALSE));
}

#[test]
fn a_start_that_believes_or_overwrites_too_much_is_noticed() {
    run(async {
        let world = lived(Story::default()).await;
        let foreign = Case { foreign: true, ..Case::default() };
        try_images(&world, 100, &mut Rng::new(seed()), foreign, complain);
        for (mistake, broken, case) in [
            (Mistake::AllBelieved, "FalseClaim", foreign),
            (Mistake::UnclaimedIgnored, "Overwritten", Case::default()),
            (Mistake::ChangedIgnored, "Overwritten", Case::default()),
        ] {
            let seen = broken_by(&world, Case { mistake: Some(mistake), ..case });
            assert!(seen.contains_key(broken), "{mistake:?} broke only {seen:?}");
        }
    });
}
