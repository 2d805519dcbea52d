//! The CP state as a sequence of records with a version: a header with the retirements, each service in the order of the
//! keys, the configurations, and the remembered requests.

use dyad_config::record::StatePart;
use dyad_naming::cp::record::ServicePart;
use dyad_types::{BadRecord, Origin};
use prost::Message;

use crate::codec::{FORMAT, RetireRecord, cluster_id_of, frame, level_of, unframe};
use crate::state::CpState;

/// The format of the header of a cluster above level 1. A build that knows no levels would apply what follows by other
/// rules than the other members: it must refuse the snapshot.
const LEVELED: u8 = 2;

impl CpState {
    /// The state as records with a version, in a fixed order. Each record is much smaller than 256 KiB.
    pub fn snapshot(&self) -> impl Iterator<Item = Vec<u8>> {
        let head = std::iter::once(self.header());
        let services = self.naming.snapshot().map(RecordKind::Service);
        let config = self.config.snapshot();
        let requests = self.requests.snapshot().map(StatePart::of_requests);
        let config = config.chain(requests).map(RecordKind::Config);
        let leveled = self.cluster.level > 1;
        head.chain(services).chain(config).map(move |kind| {
            let header = matches!(kind, RecordKind::Header(_));
            let format = if header && leveled { LEVELED } else { FORMAT };
            frame(format, &SnapshotRecord { kind: Some(kind) })
        })
    }

    /// Makes the state from what [`CpState::snapshot`] gave.
    ///
    /// # Errors
    /// A record cannot be decoded.
    pub fn restore(records: impl IntoIterator<Item = Vec<u8>>) -> Result<CpState, BadRecord> {
        let mut state = CpState::default();
        let mut headed = false;
        for bytes in records {
            let record: SnapshotRecord = unframe("snapshot record", LEVELED, &bytes)?;
            match record.kind {
                Some(RecordKind::Header(header)) if !headed => {
                    headed = true;
                    state.restore_header(header)?;
                }
                Some(RecordKind::Service(part)) if headed => state.naming.restore(part)?,
                Some(RecordKind::Config(part)) if headed => match part.requests() {
                    Some(requests) => state.requests.restore(requests)?,
                    None => state.config.restore(part)?,
                },
                Some(_) => return Err(BadRecord("a snapshot must begin with one header".into())),
                None => return Err(BadRecord("a snapshot record that this build does not know".into())),
            }
        }
        if headed { Ok(state) } else { Err(BadRecord("an empty snapshot".into())) }
    }

    fn header(&self) -> RecordKind {
        RecordKind::Header(HeaderRecord {
            now_ms: self.now_ms,
            cluster_id: self.cluster.id.map(|id| id.to_be_bytes().to_vec()),
            switches: self.naming.switches().to_json(),
            retired: self.cluster.retired().map(Into::into).collect(),
            level: if self.cluster.level > 1 { self.cluster.level } else { 0 },
            excluded: self.cluster.excluded().map(str::to_owned).collect(),
        })
    }

    fn restore_header(&mut self, header: HeaderRecord) -> Result<(), BadRecord> {
        self.now_ms = header.now_ms;
        self.cluster.id = header.cluster_id.as_deref().map(cluster_id_of).transpose()?;
        self.cluster.level = level_of(header.level)?;
        self.cluster.excluded = header.excluded.into_iter().collect();
        self.naming.restore_switches(&header.switches)?;
        for retired in header.retired {
            let Origin { member, incarnation } = retired.into();
            self.cluster.retired.insert(member, incarnation);
        }
        Ok(())
    }
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotRecord {
    #[prost(oneof = "RecordKind", tags = "1, 2, 3")]
    kind: Option<RecordKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum RecordKind {
    #[prost(message, tag = "1")]
    Header(HeaderRecord),
    #[prost(message, tag = "2")]
    Service(ServicePart),
    #[prost(message, tag = "3")]
    Config(StatePart),
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(uint64, tag = "1")]
    now_ms: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    cluster_id: Option<Vec<u8>>,
    /// The switches as JSON, the form in which they are shown too.
    #[prost(bytes = "vec", tag = "3")]
    switches: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    retired: Vec<RetireRecord>,
    /// 0 is level 1, which was not written.
    #[prost(uint32, tag = "5")]
    level: u32,
    /// Only from level 3 on.
    #[prost(string, repeated, tag = "6")]
    excluded: Vec<String>,
}
