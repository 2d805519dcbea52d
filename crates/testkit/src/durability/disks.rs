//! Disks that promise nothing, and disks that fail.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Check;
use super::shim::{Disk, Shim};
use super::writers::{Acked, Load, Thing, WRITERS, Writers, missing, too_early};
use crate::fleet::{Fleet, MEMBERS, POLL};
use crate::load::EPHEMERAL_TIMEOUT;
use crate::nacos::Config;

/// Promises that were on their way when disks were blocked are through after this.
const SETTLED: Duration = Duration::from_millis(500);
/// How long blocked disks are watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Longest time for writes to go on after disks are good again, or after a member with a broken disk is gone.
const GO_ON: Duration = Duration::from_secs(10);
/// A member with a broken disk ends within this.
const ENDS: Duration = Duration::from_secs(10);
/// The exit code for a disk error.
const EXIT_DISK: i32 = 5;
/// A write that cannot be acknowledged is refused within this: the server's own limit and some time.
const REFUSED_WITHIN: Duration = Duration::from_secs(8);
/// The status of such a refusal.
const UNAVAILABLE: u16 = 503;
/// Configurations that are read at each member while disks are bad.
const READ_SOME: usize = 500;
/// Ephemeral writers beside the persistent ones.
const EPHEMERAL_WRITERS: usize = 4;

/// All checks with bad disks; `acknowledged` is what must still be there in the end.
pub(super) async fn play(fleet: &mut Fleet, shim: &Shim, mut acknowledged: Vec<Acked>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let everyone: Vec<usize> = (0..MEMBERS).collect();
    checks.push(blocked(fleet, shim, "db-all", &everyone, &mut acknowledged).await?);
    for out in 0..MEMBERS {
        let pair: Vec<usize> = (0..MEMBERS).filter(|&at| at != out).collect();
        checks.push(blocked(fleet, shim, &format!("db-pair-{out}"), &pair, &mut acknowledged).await?);
    }
    let follower = (leader(fleet).await? + 1) % MEMBERS;
    checks.push(one_blocked(fleet, shim, follower, &mut acknowledged).await?);
    let follower = (leader(fleet).await? + 1) % MEMBERS;
    checks.push(broken(fleet, shim, "follower", follower, Disk::Broken, &mut acknowledged).await?);
    let at = leader(fleet).await?;
    checks.push(broken(fleet, shim, "leader", at, Disk::Broken, &mut acknowledged).await?);
    let follower = (leader(fleet).await? + 1) % MEMBERS;
    checks.push(broken(fleet, shim, "follower", follower, Disk::Full, &mut acknowledged).await?);
    let at = leader(fleet).await?;
    checks.push(broken(fleet, shim, "leader", at, Disk::Full, &mut acknowledged).await?);
    checks.push(in_the_end(fleet, shim, &acknowledged).await?);
    Ok(checks)
}

/// A majority of disks promises nothing: nothing persistent may be acknowledged, everything ephemeral must be.
async fn blocked(
    fleet: &Fleet,
    shim: &Shim,
    label: &str,
    which: &[usize],
    acknowledged: &mut Vec<Acked>,
) -> Result<Check> {
    let mut check = Check::new(&format!("fdatasync blocked on {}", list(which)));
    let earlier = Writers::start(&fleet.members, label, Load::Mixed, WRITERS);
    let flows = earlier.until(1, GO_ON).await;
    check.promise(flows, || "no writes before".into());
    which.iter().try_for_each(|&at| shim.set(at, Disk::Blocked))?;
    tokio::time::sleep(SETTLED).await;
    // What a majority had promised before may still be acknowledged; only writes that are sent now tell.
    // A member whose disk is held may lack the newest of them, but nothing that is older.
    let settled = acknowledged.len();
    acknowledged.extend(earlier.stop().await.0);
    let writers = Writers::start(&fleet.members, &format!("{label}-late"), Load::Mixed, WRITERS);
    let ephemeral = Writers::start(&fleet.members, &format!("{label}-e"), Load::Ephemeral, EPHEMERAL_WRITERS);
    let refusals = refused_cleanly(fleet, label);
    let reads = still_read(fleet, &acknowledged[..settled]);
    let ((), clean, read) = tokio::join!(tokio::time::sleep(WATCHED), refusals, reads);
    let meanwhile = writers.count();
    let (taken, refused) = ephemeral.stop().await;
    shim.set_all(Disk::Good)?;
    let goes_on = writers.until(meanwhile + 1, GO_ON).await;
    check.promise(goes_on, || format!("no writes within {GO_ON:?} after the disks were good again"));
    acknowledged.extend(writers.stop().await.0);
    check.figures.push(format!(
        "{meanwhile} persistent and {} ephemeral writes acknowledged in {WATCHED:?}, {refused} ephemeral refused",
        taken.len()
    ));
    match read {
        Ok(read) => check.figures.push(format!("{read} configurations read")),
        Err(what) => check.promise(false, || format!("reads did not go on: {what}")),
    }
    clean.into_iter().for_each(|what| check.promise(false, || what));
    check.promise(meanwhile == 0, || {
        format!("{meanwhile} writes were acknowledged without a majority's disks")
    });
    check.promise(refused == 0 && !taken.is_empty(), || "ephemeral writes did not go on".into());
    Ok(check)
}

/// One follower's disk promises nothing: writes go on.
async fn one_blocked(fleet: &Fleet, shim: &Shim, at: usize, acknowledged: &mut Vec<Acked>) -> Result<Check> {
    let mut check = Check::new(&format!("fdatasync blocked on follower {}", at + 1));
    shim.set(at, Disk::Blocked)?;
    tokio::time::sleep(SETTLED).await;
    let others: Vec<_> = fleet.members.iter().filter(|member| member.index != at).cloned().collect();
    let writers = Writers::start(&others, "db-one", Load::Mixed, WRITERS);
    tokio::time::sleep(WATCHED).await;
    let during = writers.count();
    shim.set_all(Disk::Good)?;
    let (acked, refused) = writers.stop().await;
    check.figures.push(format!("{during} writes acknowledged in {WATCHED:?}, {refused} refused"));
    check.promise(during > 0 && refused == 0, || "writes at the other members did not go on".into());
    acknowledged.extend(acked);
    Ok(check)
}

/// A disk fails: its member ends with the code for that and names the file, the others go on; with a good disk it
/// comes back.
async fn broken(
    fleet: &mut Fleet,
    shim: &Shim,
    role: &str,
    at: usize,
    disk: Disk,
    acknowledged: &mut Vec<Acked>,
) -> Result<Check> {
    let error = if disk == Disk::Full { "ENOSPC" } else { "EIO" };
    let mut check = Check::new(&format!("{error} on {role} {}", at + 1));
    let others: Vec<_> = fleet.members.iter().filter(|member| member.index != at).cloned().collect();
    let writers = Writers::start(&others, &format!("db-{error}-{role}"), Load::Mixed, WRITERS);
    check.promise(writers.until(1, GO_ON).await, || "no writes before".into());
    let before = fleet.log(at).await.len();
    shim.set(at, disk)?;
    let began = Instant::now();
    let mut code = None;
    while code.is_none() && began.elapsed() < ENDS {
        tokio::time::sleep(POLL).await;
        code = fleet.exited(at)?;
    }
    check.figures.push(format!("ended with {code:?} after {:.2} s", began.elapsed().as_secs_f64()));
    check.promise(code == Some(EXIT_DISK), || format!("ended with {code:?}, not {EXIT_DISK}"));
    fleet.mark_down(at);
    let log = fleet.log(at).await;
    let last_words = log.get(before..).unwrap_or_default();
    check.promise(last_words.contains(&format!("/{}/raft/", at + 1)), || {
        "the log names no file of its raft directory".into()
    });
    let gone = writers.count();
    check.promise(writers.until(gone + WRITERS, GO_ON).await, || "the others did not go on".into());
    shim.set(at, Disk::Good)?;
    fleet.kill(&[at]).await?;
    fleet.start(&[at]).await?;
    let ready = fleet.ready(at).await?;
    check.figures.push(format!("ready {:.2} s after its restart", ready.as_secs_f64()));
    let (acked, refused) = writers.stop().await;
    check.figures.push(format!("{} writes acknowledged by the others, {refused} refused", acked.len()));
    acknowledged.extend(acked);
    Ok(check)
}

/// Nothing was lost, and nothing was acknowledged before its time.
async fn in_the_end(fleet: &Fleet, shim: &Shim, acknowledged: &[Acked]) -> Result<Check> {
    let mut check = Check::new("after all bad disks");
    let promises = (0..MEMBERS).map(|at| shim.promises(at)).collect::<Result<Vec<_>>>()?;
    let early = too_early(acknowledged, &promises);
    check.promise(early.is_empty(), || {
        format!("{} writes were acknowledged too early: {:?}", early.len(), early[0])
    });
    for member in &fleet.members {
        let began = Instant::now();
        let mut lost = missing(member, acknowledged).await;
        // A member whose disk was bad until now is still catching up.
        while lost.as_ref().is_none_or(|lost| !lost.is_empty()) && began.elapsed() < EPHEMERAL_TIMEOUT {
            tokio::time::sleep(POLL).await;
            lost = missing(member, acknowledged).await;
        }
        let first = lost.as_ref().and_then(|lost| Some(lost.first()?.thing.to_string())).unwrap_or_default();
        let lost = lost.map_or(usize::MAX, |lost| lost.len());
        check.promise(lost == 0, || format!("member {} lost {lost}, {first}", member.index + 1));
    }
    let calls: Vec<usize> = (0..MEMBERS).map(|at| shim.calls(at)).collect();
    check
        .figures
        .push(format!("{} acknowledged writes; calls that the shim saw: {calls:?}", acknowledged.len()));
    Ok(check)
}

/// A publish at each member that cannot be acknowledged: what is wrong with the answers. None may be missing, or be
/// anything but "not now".
async fn refused_cleanly(fleet: &Fleet, label: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let asked = fleet.members.iter().map(|member| async move {
        let config = Config::new(format!("{label}-clean-{}", member.index), 0);
        member.http.call(&config.publish(), REFUSED_WITHIN).await
    });
    for (at, answer) in futures::future::join_all(asked).await.into_iter().enumerate() {
        match answer {
            Ok(answer) if answer.status == UNAVAILABLE => {}
            other => faults.push(format!("member {} did not refuse a publish cleanly: {other:?}", at + 1)),
        }
    }
    faults
}

/// Reads the newest acknowledged configurations at each member: how many, or which is missing.
async fn still_read(fleet: &Fleet, acknowledged: &[Acked]) -> Result<usize, String> {
    let configs = acknowledged.iter().rev().filter(|write| matches!(write.thing, Thing::Config(_)));
    let some: Vec<Acked> = configs.take(READ_SOME).cloned().collect();
    for member in &fleet.members {
        match missing(member, &some).await {
            Some(missing) if missing.is_empty() => {}
            Some(missing) => return Err(format!("{} at member {}", missing[0].thing, member.index + 1)),
            None => return Err(format!("member {} does not answer", member.index + 1)),
        }
    }
    Ok(some.len() * fleet.members.len())
}

async fn leader(fleet: &Fleet) -> Result<usize> {
    let began = Instant::now();
    let mut leader = fleet.leader().await;
    while leader.is_none() && began.elapsed() < GO_ON {
        tokio::time::sleep(POLL).await;
        leader = fleet.leader().await;
    }
    leader.context("no member says that it leads")
}

fn list(which: &[usize]) -> String {
    which.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(", ")
}
