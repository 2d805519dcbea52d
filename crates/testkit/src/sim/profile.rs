//! What a run does to the members: the profiles of the simulator.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    Calm,
    Kill,
    Pause,
    Cut,
    Member,
    Three,
    Cap,
    All,
}

pub const PROFILES: [Profile; 8] = [
    Profile::Calm,
    Profile::Kill,
    Profile::Pause,
    Profile::Cut,
    Profile::Member,
    Profile::Three,
    Profile::Cap,
    Profile::All,
];

/// The knobs of a profile. Times in ms.
#[derive(Clone, Debug)]
pub struct Plan {
    pub members: usize,
    pub clients: usize,
    /// Clients with a connection.
    pub sdks: usize,
    pub chaos: u64,
    pub quiet: u64,
    pub kill: bool,
    pub pause: bool,
    pub cut: bool,
    pub member: bool,
    pub noise: bool,
    pub loss: bool,
    pub corrupt: bool,
    /// This share of the clients (per mille) dies at once in the middle.
    pub mass_death: u64,
    pub cap_least: usize,
}

impl Profile {
    pub fn plan(self) -> Plan {
        let base = Plan {
            members: 5,
            clients: 30,
            sdks: 12,
            chaos: 120_000,
            quiet: 40_000,
            kill: false,
            pause: false,
            cut: false,
            member: false,
            noise: true,
            loss: false,
            corrupt: false,
            mass_death: 0,
            cap_least: 1_000,
        };
        match self {
            Profile::Calm => Plan { noise: false, ..base },
            Profile::Kill => Plan { kill: true, ..base },
            Profile::Pause => Plan { pause: true, ..base },
            Profile::Cut => Plan { cut: true, ..base },
            Profile::Member => Plan { member: true, kill: true, corrupt: true, ..base },
            Profile::Three => Plan { members: 3, kill: true, pause: true, cut: true, loss: true, ..base },
            Profile::Cap => {
                Plan { clients: 60, chaos: 60_000, quiet: 260_000, mass_death: 600, cap_least: 5, ..base }
            }
            Profile::All => {
                Plan { kill: true, pause: true, cut: true, member: true, loss: true, corrupt: true, ..base }
            }
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Profile::Calm => "calm",
            Profile::Kill => "kill",
            Profile::Pause => "pause",
            Profile::Cut => "cut",
            Profile::Member => "member",
            Profile::Three => "three",
            Profile::Cap => "cap",
            Profile::All => "all",
        }
    }

    /// The counters that must not stay at 0 over a run of this profile.
    pub fn coverage(self) -> Vec<&'static str> {
        let plan = self.plan();
        let mut names = vec!["register", "deregister", "change", "death", "unhealthy", "expired"];
        names.extend(["sdk-register", "sdk-deregister", "sdk-change", "sdk-death", "sdk-close", "sdk-reset"]);
        names.extend([
            "sdk-move",
            "sdk-twin",
            "sdk-freeze",
            "half-open",
            "sdk-timeout",
            "probe",
            "dead-probe",
        ]);
        if plan.noise {
            names.extend(["delay", "duplicate", "adoption"]);
        }
        if plan.kill {
            names.extend(["kill", "restart", "lost-disk", "leave", "claim", "retirement", "hand-over"]);
        }
        if plan.pause {
            names.extend(["pause", "freeze", "hand-over"]);
        }
        if plan.cut {
            names.extend(["cut", "one-way", "hand-over", "forward-failed", "relay-failed"]);
        }
        if plan.member {
            names.extend(["remove", "add", "retirement", "hand-over"]);
        }
        if plan.corrupt {
            names.extend(["lost-record", "hash-mismatch", "reset"]);
        }
        if plan.loss {
            names.push("loss");
        }
        if plan.pause && plan.cut {
            names.extend(["refute", "reset"]);
        }
        if plan.mass_death > 0 {
            names.push("removals-delayed");
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        let found = PROFILES.into_iter().find(|p| p.name() == text);
        found.ok_or_else(|| {
            format!("'{text}' is not a profile; there are {}", PROFILES.map(Profile::name).join(", "))
        })
    }
}
