//! openraft's own suite for log stores and state machines, on each backend.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::backend::{LogBackend, MemBackend, SledBackend};
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::types::TypeConfig;

struct Build(fn(&TempDir) -> Arc<dyn LogBackend>);

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine, _) = super::open((self.0)(&dir), dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn suite_on_sled() {
    let build = Build(|dir| Arc::new(SledBackend::open(&dir.path().join("raft")).unwrap()));
    Suite::test_all(build).await.unwrap();
}

#[tokio::test]
async fn suite_in_memory() {
    Suite::test_all(Build(|_| Arc::new(MemBackend::new()))).await.unwrap();
}
