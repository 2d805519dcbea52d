//! The metrics that are read when Prometheus asks for them: how the cluster is, raft, contents and configurations, Distro,
//! clients, registry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dyad_cli::status::MemberStatus;
use dyad_config::Scope;
use dyad_raft::{BOUNDS_US, Disk, DiskRoom, Standing, Timings};
use dyad_state::ports::Propose;
use dyad_types::{Part, Place, Room};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::headline::{WELL, is_away, lacks};
use super::members::cluster_status;
use super::parts::Parts;

pub(crate) fn register(registry: &mut Registry, parts: Arc<Parts>) {
    registry.register_collector(Box::new(Collected(parts)));
}

struct Collected(Arc<Parts>);

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        self.cluster(&mut out)?;
        self.raft(&mut out)?;
        self.configs(&mut out)?;
        self.distro(&mut out)?;
        self.clients(&mut out)?;
        self.budget(&mut out)?;
        self.registry(&mut out)
    }
}

struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) -> fmt::Result {
        let counter = ConstCounter::new(value.load(Ordering::Relaxed));
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn family(&mut self, name: &str, help: &str, values: Vec<(String, i64)>) -> fmt::Result {
        let labelled = values.into_iter().map(|(member, value)| ([("member", member)], value));
        self.labelled(name, help, labelled)
    }

    /// A gauge for each set of labels.
    fn labelled<V: EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What is taken of each room, how large it is, and how many were refused. `unit` is the end of the first two names.
    fn rooms(
        &mut self,
        (name, unit): (&str, &str),
        (label, what): (&str, &str),
        rooms: &[(&'static str, &Room)],
    ) -> fmt::Result {
        type Value = fn(&Room) -> u64;
        let values: [(String, String, MetricType, Value); 3] = [
            (format!("{name}{unit}"), format!("{what} now"), MetricType::Gauge, |room| room.used() as u64),
            (format!("{name}_limit{unit}"), format!("{what} at most"), MetricType::Gauge, |room| {
                room.max() as u64
            }),
            (
                format!("{name}_refused"),
                format!("{what}: times that there was no room"),
                MetricType::Counter,
                Room::refused,
            ),
        ];
        for (name, help, kind, of) in values {
            let mut family = self.0.encode_descriptor(&name, &help, None, kind)?;
            for (value, room) in rooms {
                let labels = [(label, *value)];
                let mut encoder = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&of(room), None)?,
                    _ => encoder.encode_gauge(&of(room))?,
                }
            }
        }
        Ok(())
    }
}

fn index(value: Option<u64>) -> i64 {
    value.map_or(-1, |value| value as i64)
}

impl Collected {
    /// The facts of the first line of `dyad cluster status`, each by itself: what is worse does not hide the rest.
    fn cluster(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let (parts, raft) = (&self.0, &self.0.raft);
        let (status, silent) = cluster_status(parts);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        out.labelled("build_info", "Always 1; the version of this build", [([("version", version)], 1i64)])?;
        let ready = parts.not_ready.lock().is_empty();
        out.gauge("ready", "1 while this member is ready, by the rule of the readiness check", ready.into())?;
        let help = "1 while the first line of dyad cluster status says that all is well";
        out.gauge("healthy", help, status.healthy.into())?;
        let standing = raft.standing();
        let removed = standing == Standing::Removed;
        out.gauge("removed", "1 when this member was removed from its cluster", removed.into())?;
        let barred = matches!(standing, Standing::Barred(_));
        let help = "1 while this member may not speak for its cluster; the readiness check says why";
        out.gauge("barred", help, barred.into())?;
        let level = raft.state().cluster().level();
        out.gauge("state_level", "Level of the replicated state", level.into())?;
        out.gauge("state_level_newest", "Highest level that this build knows", dyad_state::LEVEL.into())?;
        let agreed = raft.known_level();
        out.gauge("state_level_agreed", "Highest level to which this member agrees", agreed.into())?;
        // Whoever is no member any more hears nobody, which says nothing about the others.
        let members: &[MemberStatus] = if standing == Standing::Member { &status.members } else { &[] };
        let there: Vec<&MemberStatus> = members.iter().filter(|member| !is_away(member, &silent)).collect();
        let up = there.iter().filter(|member| member.voter).count();
        out.gauge("raft_voters_up", "Voters that are heard, this member included", up as i64)?;
        let is_ready = |member: &MemberStatus| member.not_ready.is_empty() && member.state == WELL;
        let labels = |member: &MemberStatus| {
            [("member", member.member_id.clone()), ("address", member.address.clone())]
        };
        out.labelled(
            "member_up",
            "1 while the member, this one included, is heard",
            members.iter().map(|member| (labels(member), i64::from(!is_away(member, &silent)))),
        )?;
        out.labelled(
            "member_ready",
            "1 while the member says that it is ready, and nobody knows otherwise",
            there.iter().map(|member| (labels(member), i64::from(is_ready(member)))),
        )?;
        out.labelled(
            "member_lag_entries",
            "Committed entries of the log that the member has not applied",
            there.iter().map(|member| (labels(member), lacks(members, member) as i64)),
        )
    }

    fn raft(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let raft = self.0.raft.status();
        let leader = self.0.raft.leader();
        let leads = leader.as_ref().is_some_and(|leader| leader.member == self.0.me);
        out.gauge("raft_term", "Term of the raft log", raft.term as i64)?;
        out.gauge("raft_is_leader", "1 while this member leads", leads.into())?;
        out.gauge("raft_has_leader", "1 while a leader is heard", leader.is_some().into())?;
        out.gauge("raft_last_index", "Index of the last log entry, -1 without one", index(raft.last_log))?;
        out.gauge("raft_committed_index", "Index known to be on a majority", index(raft.committed))?;
        out.gauge("raft_applied_index", "Index applied here", index(raft.applied))?;
        out.gauge("raft_snapshot_index", "Index that the last snapshot covers", index(raft.snapshot))?;
        out.gauge("raft_voters", "Voters of the membership", raft.voters.len() as i64)?;
        out.gauge("raft_proposals", "Writes under way", raft.proposals as i64)?;
        out.gauge("raft_proposals_limit", "Writes that may be under way", dyad_raft::PROPOSALS_MAX as i64)?;
        out.gauge("raft_queue_depth", "Operations waiting for the log's writer", raft.queue as i64)?;
        out.gauge("raft_queue_limit", "Operations that may wait", dyad_raft::QUEUE_MAX as i64)?;
        out.gauge(
            "raft_log_bytes",
            "Bytes of entries in the log, to within a mebibyte and one entry",
            raft.log_bytes as i64,
        )?;
        let clocks = self.0.raft.clock_differences();
        out.labelled(
            "raft_clock_difference_seconds",
            "Seconds by which the member's clock is ahead of the others'",
            clocks.into_iter().map(|(member, ms)| ([("member", member.to_string())], ms as f64 / 1e3)),
        )?;
        let others = self.0.raft.others();
        out.family(
            "raft_member_answers",
            "1 while the member answered the last question",
            others.iter().map(|o| (o.member.to_string(), o.silence.is_none().into())).collect(),
        )?;
        out.family(
            "raft_member_refuses_entries",
            "1 while the member's disk takes no entries of the log",
            others.iter().map(|o| (o.member.to_string(), o.refuses_entries().into())).collect(),
        )?;
        self.disk(out, &raft.disk)?;
        out.gauge("raft_tail_bytes", "Bytes of log entries in memory", raft.tail_bytes as i64)?;
        timings(
            out,
            "raft_fsync_seconds",
            "Duration of one flush and fdatasync of the log",
            &raft.fsync.timings,
        )
    }

    fn disk(&self, out: &mut Out<'_, '_>, disk: &Disk) -> fmt::Result {
        out.gauge(
            "disk_free_bytes",
            "Free bytes of the data directory's disk, -1 when it cannot be asked",
            disk.free_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        )?;
        out.gauge(
            "disk_reserve_bytes",
            "Free bytes below which writes are refused",
            i64::try_from(disk.reserve_bytes).unwrap_or(i64::MAX),
        )?;
        out.gauge("disk_refuses_writes", "1 below the reserve", (disk.room != DiskRoom::All).into())?;
        out.gauge(
            "disk_refuses_entries",
            "1 while this member takes no entries of the log",
            (disk.room == DiskRoom::NoEntries).into(),
        )
    }

    fn configs(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let (configs, contents) = (self.0.sink.configs().state(), self.0.raft.content_stats());
        let usage = configs.usage(&Scope::Cluster);
        out.gauge("config_configs", "Configurations with a formal release", usage.count as i64)?;
        out.gauge("config_content_bytes", "Bytes of their contents", usage.bytes as i64)?;
        out.gauge("config_namespaces", "Namespaces", configs.namespaces().len() as i64)?;
        out.gauge(
            "contents_disk_bytes",
            "Bytes of the store of contents on the disk, -1 when it cannot be asked",
            contents.disk_bytes.map_or(-1, |bytes| bytes as i64),
        )?;
        out.gauge(
            "contents_staged_bytes",
            "Bytes of contents waiting for their writer",
            contents.staged_bytes as i64,
        )?;
        out.counter(
            "contents_read_errors",
            "Contents that could not be read, or are damaged",
            &AtomicU64::new(contents.errors),
        )?;
        timings(
            out,
            "contents_read_seconds",
            "Duration of one read of a content that is not in memory",
            &contents.reads,
        )
    }

    fn distro(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let core = self.0.ap.inspect(|core, _| core.status());
        let (pending, limit) = self.0.ap.pending();
        let of = |value: &dyn Fn(&dyad_distro::PeerStatus) -> i64| {
            core.peers.iter().filter(|p| p.configured).map(|p| (p.member.to_string(), value(p))).collect()
        };
        out.family(
            "distro_lag_records",
            "Records of the own log that the peer lacks",
            of(&|p| p.behind as i64),
        )?;
        out.family(
            "distro_digest_equal",
            "1 when the peer is in step: it has what this member had one digest ago, and the same records",
            of(&|p| p.digest_equal.into()),
        )?;
        out.family("distro_peer_up", "1 while the peer is heard", of(&|p| (!p.down).into()))?;
        let counters = &self.0.counters;
        out.counter(
            "distro_digest_mismatches",
            "Copies found to differ from their owner's log",
            &counters.hash_mismatches,
        )?;
        out.counter("distro_expired", "Instances removed for missed beats", &counters.expired)?;
        out.counter("distro_adopted", "Records that this member began to time", &counters.adopted)?;
        out.counter("distro_handed_over", "Records that another member took over", &counters.handed_over)?;
        out.counter("distro_retired", "Origins retired", &counters.retired)?;
        out.counter("distro_refuted", "Times that this member was retired and came back", &counters.refuted)?;
        out.counter("distro_resets", "Copies fetched anew", &counters.resets)?;
        out.gauge("distro_incarnation", "Incarnation of this member", core.incarnation as i64)?;
        out.gauge("distro_held", "Instances that this member times", core.held as i64)?;
        out.gauge("distro_delayed_evictions", "Removals that the cap delays", core.delayed_removals as i64)?;
        out.gauge("self_preservation", "1 while removals are delayed", (core.delayed_removals > 0).into())?;
        out.gauge("distro_requests_waiting", "Requests waiting for a peer", pending as i64)?;
        out.gauge("distro_requests_limit", "Requests that may wait", limit as i64)?;
        out.counter(
            "distro_dropped_messages",
            "Messages dropped at full or missing queues",
            &AtomicU64::new(self.0.ap.dropped()),
        )
    }

    fn clients(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let connections = &self.0.connections;
        let used = |place| self.0.places.room(place).used() as i64;
        out.gauge("grpc_connections", "Open gRPC connections", used(Place::Grpc))?;
        out.gauge("config_listenings", "Pairs of listener and configuration", used(Place::Listenings))?;
        out.gauge("config_long_polls", "Long polls that wait", used(Place::Polls))?;
        let refused = [Place::Listenings, Place::Polls].map(|place| self.0.places.room(place).refused());
        let refused = AtomicU64::new(refused.iter().sum());
        out.counter("config_listen_refused", "Listeners refused for a limit", &refused)?;
        out.gauge("grpc_clients", "Registered gRPC clients", connections.len() as i64)?;
        out.gauge("push_subscriptions", "Subscriptions of this member", self.0.push.count() as i64)
    }

    fn budget(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let rooms = Part::ALL.map(|part| (part.name(), &**self.0.budget.room(part)));
        out.rooms(("budget", "_bytes"), ("part", "Bytes in flight"), &rooms)?;
        let rooms = Place::ALL.map(|place| (place.name(), &**self.0.places.room(place)));
        out.rooms(("places", ""), ("kind", "What clients hold"), &rooms)
    }

    fn registry(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let counts = self.0.registry.counts();
        out.gauge("naming_services", "Known services", counts.services as i64)?;
        out.gauge("naming_ephemeral_instances", "Ephemeral instances", counts.ephemeral_instances as i64)?;
        out.gauge("naming_persistent_instances", "Persistent instances", counts.persistent_instances as i64)?;
        out.gauge(
            "naming_lifetime_conflicts",
            "Services with instances of both lifetimes",
            counts.lifetime_conflicts as i64,
        )?;
        out.gauge(
            "naming_probed_instances",
            "Persistent instances that this member probes",
            self.0.probes.probed() as i64,
        )
    }
}

fn timings(out: &mut Out<'_, '_>, name: &str, help: &str, timings: &Timings) -> fmt::Result {
    let mut histogram = out.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let bounds = BOUNDS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(timings.counts).collect();
    histogram.encode_histogram::<[(&str, &str); 0]>(timings.sum_seconds, timings.count(), &buckets, None)
}
