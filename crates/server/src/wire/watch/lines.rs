//! Which lines the watch writes. It is pure: what is observed and the time are arguments.
//!
//! What is bad is told when it has lasted for 3 s, then once a minute, and once more when it is over. What goes and comes within 3 s,
//! as an election or the restart of a member may, is not told at all.

use std::collections::BTreeMap;

use dyad_raft::{CLOCK_OFF_MS, Disk, DiskRoom};
use dyad_types::{MemberId, Millis};

/// What is bad for so long is told.
pub(super) const TOLD_AFTER_MS: u64 = 3_000;
/// And told again after this.
pub(super) const AGAIN_MS: u64 = 60_000;

/// What is observed in one look.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Observed {
    /// This member was removed from the cluster: how the others are is no matter of it any more.
    pub(super) removed: bool,
    /// The membership, in the order of the ids. Empty before the member belongs to a cluster.
    pub(super) seats: Vec<Seat>,
    pub(super) silent: Vec<Silent>,
    /// What finds room on the disks of the other members, as they said.
    pub(super) rooms: Vec<(MemberId, DiskRoom)>,
    /// The leader that is alive, and its term.
    pub(super) leader: Option<(MemberId, u64)>,
    /// By how many milliseconds the clock of each member is ahead of the others'.
    pub(super) clocks: Vec<(MemberId, i64)>,
    /// Of this member.
    pub(super) disk: Disk,
}

/// A place in the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) member: MemberId,
    /// `host:http_port`.
    pub(super) address: String,
    pub(super) voter: bool,
}

/// A member that does not answer.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    pub(super) member: MemberId,
    pub(super) for_ms: u64,
    pub(super) answered_before: bool,
    pub(super) why: String,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Warn(String),
    Info(String),
}

/// What may be bad, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Silent(MemberId),
    NoLeader,
    Reserve,
    NoEntries,
    /// Of another member.
    ReserveOf(MemberId),
    /// Of another member.
    Refuses(MemberId),
    Clock(MemberId),
}

#[derive(Clone, Copy, Debug)]
struct Since {
    began: Millis,
    told: Option<Millis>,
}

/// What was told before.
#[derive(Debug)]
pub(super) struct Watch {
    me: MemberId,
    seats: Vec<Seat>,
    /// The last leader and its term.
    leader: Option<(MemberId, u64)>,
    troubles: BTreeMap<Trouble, Since>,
}

impl Watch {
    pub(super) fn new(me: MemberId) -> Watch {
        Watch { me, seats: Vec::new(), leader: None, troubles: BTreeMap::new() }
    }

    /// The lines that are due. It is called about once a second.
    pub(super) fn look(&mut self, seen: &Observed, now: Millis) -> Vec<Line> {
        let mut lines = self.moved(&seen.seats);
        lines.extend(self.led(seen));
        let found = self.found(seen);
        let over: Vec<Trouble> =
            self.troubles.keys().filter(|known| !found.contains_key(known)).copied().collect();
        for trouble in over {
            let since = self.troubles.remove(&trouble);
            if let Some(since) = since.filter(|since| since.told.is_some()) {
                lines.extend(self.over(trouble, now.since(since.began), seen));
            }
        }
        for (trouble, (for_ms, text)) in found {
            let began = Millis(now.0.saturating_sub(for_ms));
            let since = self.troubles.entry(trouble).or_insert(Since { began, told: None });
            let lasts = now.since(since.began);
            let due = match since.told {
                None => lasts >= TOLD_AFTER_MS,
                Some(told) => now.since(told) >= AGAIN_MS,
            };
            if due {
                since.told = Some(now);
                lines.push(Line::Warn(format!("{text} (for {})", Time(lasts))));
            }
        }
        lines
    }

    /// Who came into the membership and who went out of it. What is there at the first look is no news.
    fn moved(&mut self, seats: &[Seat]) -> Vec<Line> {
        if self.seats == seats {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.seats, seats.to_vec());
        if before.is_empty() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for seat in seats {
            let name = self.name(seat.member);
            let what = match (before.iter().find(|old| old.member == seat.member), seat.voter) {
                (None, true) => format!("{name} is a new voter of the membership"),
                (None, false) => format!("{name} is a new learner of the membership: it catches up"),
                (Some(old), true) if !old.voter => format!("{name} is a voter now"),
                (Some(old), false) if old.voter => format!("{name} is a learner now, and votes no more"),
                (Some(old), _) if old.address != seat.address => {
                    format!("{name} has moved from {}", old.address)
                }
                _ => continue,
            };
            lines.push(Line::Info(what));
        }
        for old in before.iter().filter(|old| seats.iter().all(|seat| seat.member != old.member)) {
            let name = format!("member {} ({})", old.address, old.member);
            lines.push(Line::Info(format!("{name} was removed from the membership")));
        }
        lines
    }

    /// A new leader. A member that is alone always leads.
    fn led(&mut self, seen: &Observed) -> Option<Line> {
        let (leader, term) = seen.leader.filter(|leader| self.leader != Some(*leader))?;
        self.leader = seen.leader;
        let name = self.name(leader);
        (seen.seats.len() > 1).then(|| Line::Info(format!("{name} leads from now on, in term {term}")))
    }

    /// What is bad with disks and clocks, in words, the gravest first.
    pub(super) fn of_machines(me: MemberId, seen: &Observed) -> Vec<String> {
        let watch = Watch { seats: seen.seats.clone(), ..Watch::new(me) };
        let mut found = watch.found(seen);
        if found.contains_key(&Trouble::NoEntries) {
            // It says the same and more.
            found.remove(&Trouble::Reserve);
        }
        let found = found.into_iter();
        let of_machines =
            found.filter(|(trouble, _)| !matches!(trouble, Trouble::Silent(_) | Trouble::NoLeader));
        of_machines.map(|(_, (_, text))| text).collect()
    }

    /// All that is bad now, in words, and for how many milliseconds it has been so; 0 if that is not known better.
    fn found(&self, seen: &Observed) -> BTreeMap<Trouble, (u64, String)> {
        let mut found = BTreeMap::new();
        if seen.removed {
            return found;
        }
        for silent in &seen.silent {
            let name = self.name(silent.member);
            let what = if silent.answered_before { "does not answer" } else { "has never answered" };
            let text = format!("{name} {what}: {}", silent.why);
            found.insert(Trouble::Silent(silent.member), (silent.for_ms, text));
        }
        if seen.leader.is_none() && !seen.seats.is_empty() {
            let (voters, answer) = self.answering(seen);
            let text = format!(
                "no leader is heard, and {answer} of {voters} voters answer: writes of configurations and of persistent instances \
                 are refused, and reads are served from the last state"
            );
            found.insert(Trouble::NoLeader, (0, text));
        }
        self.disks(seen, &mut found);
        for (member, ms) in seen.clocks.iter().filter(|(_, ms)| ms.unsigned_abs() > CLOCK_OFF_MS) {
            let side = if *ms < 0 { "behind" } else { "ahead of" };
            let than = if seen.clocks.len() > 2 { "the other members'" } else { "the other member's" };
            let (name, by) = (self.name(*member), Time(ms.unsigned_abs()));
            found.insert(Trouble::Clock(*member), (0, format!("the clock of {name} is {by} {side} {than}")));
        }
        found
    }

    fn disks(&self, seen: &Observed, found: &mut BTreeMap<Trouble, (u64, String)>) {
        let disk = &seen.disk;
        let figures = match disk.free_bytes {
            Some(free) => {
                format!("{} of {} that shall be left are free", Bytes(free), Bytes(disk.reserve_bytes))
            }
            None => "it cannot be asked how much is free".to_owned(),
        };
        if disk.room != DiskRoom::All {
            let text = format!(
                "the reserve of this member's disk is reached: {figures} ({}). While this member leads, only removals are taken",
                disk.file
            );
            found.insert(Trouble::Reserve, (0, text));
        }
        if disk.room == DiskRoom::NoEntries {
            let text = format!(
                "this member's disk is nearly full: {figures} ({}). It takes no entries of the log, and falls behind the others",
                disk.file
            );
            found.insert(Trouble::NoEntries, (0, text));
        }
        for (member, room) in &seen.rooms {
            let name = self.name(*member);
            let leads = seen.leader.is_some_and(|(leader, _)| leader == *member);
            let (trouble, text) = match room {
                DiskRoom::All => continue,
                DiskRoom::NoWrites if leads => (
                    Trouble::ReserveOf(*member),
                    format!(
                        "the reserve of the disk of {name} is reached: it leads, and only removals are taken"
                    ),
                ),
                DiskRoom::NoWrites => {
                    (Trouble::ReserveOf(*member), format!("the reserve of the disk of {name} is reached"))
                }
                DiskRoom::NoEntries => (
                    Trouble::Refuses(*member),
                    format!("the disk of {name} is nearly full: it takes no entries of the log"),
                ),
            };
            found.insert(trouble, (0, text));
        }
    }

    /// The number of voters, and of those that answer; this member does.
    fn answering(&self, seen: &Observed) -> (usize, usize) {
        let voters = seen.seats.iter().filter(|seat| seat.voter);
        let answers = |seat: &&Seat| seen.silent.iter().all(|silent| silent.member != seat.member);
        (voters.clone().count(), voters.filter(answers).count())
    }

    /// How it is told that something bad is over. `None` for a member that is none any more.
    fn over(&self, trouble: Trouble, lasted: u64, seen: &Observed) -> Option<Line> {
        let lasted = Time(lasted);
        let member = |member: MemberId| {
            let is_there = seen.seats.iter().any(|seat| seat.member == member);
            is_there.then(|| self.name(member))
        };
        let text = match trouble {
            Trouble::Silent(id) => format!("{} answers again, after {lasted}", member(id)?),
            Trouble::NoLeader => format!("there is a majority with a leader again, after {lasted}"),
            Trouble::Reserve => {
                let free = seen
                    .disk
                    .free_bytes
                    .map_or_else(String::new, |free| format!(": {} are free", Bytes(free)));
                format!("this member's disk has its reserve again, after {lasted}{free}")
            }
            Trouble::NoEntries => format!("this member takes entries of the log again, after {lasted}"),
            Trouble::ReserveOf(id) => {
                format!("the disk of {} has its reserve again, after {lasted}", member(id)?)
            }
            Trouble::Refuses(id) => format!("{} takes entries of the log again, after {lasted}", member(id)?),
            Trouble::Clock(id) => format!("the clock of {} is right again, after {lasted}", member(id)?),
        };
        Some(Line::Info(text))
    }

    /// A member as `dyad cluster status` shows it.
    fn name(&self, member: MemberId) -> String {
        if member == self.me {
            return "this member".to_owned();
        }
        match self.seats.iter().find(|seat| seat.member == member) {
            Some(seat) => format!("member {} ({member})", seat.address),
            None => format!("member {member}"),
        }
    }
}

/// A time as people read it.
struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Clocks are known to half a second: what is 400 days ahead must not be called 399.
        let whole = |unit: u64| self.0.saturating_add(unit / 2) / unit;
        match whole(1_000) {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", whole(60_000)),
            7_200..172_800 => write!(f, "{} h", whole(3_600_000)),
            _ => write!(f, "{} days", whole(86_400_000)),
        }
    }
}

struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 10 << 20 { write!(f, "{} KiB", self.0 >> 10) } else { write!(f, "{} MiB", self.0 >> 20) }
    }
}
