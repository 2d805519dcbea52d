//! What the metrics say of the backups that the clock makes.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The last success may be one of an earlier process: then its time and bytes are those of the file, and the duration is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackupMetrics {
    /// Seconds since the epoch.
    pub(super) last_success: Gauge,
    pub(super) bytes: Gauge,
    /// Seconds.
    pub(super) duration: Gauge<f64, AtomicU64>,
    pub(super) failures: Counter,
    /// Seconds; 0 without a schedule.
    pub(super) every: Gauge<f64, AtomicU64>,
}

impl BackupMetrics {
    pub(crate) fn register(registry: &mut Registry) -> BackupMetrics {
        let metrics = BackupMetrics::default();
        registry.register(
            "backup_last_success_seconds",
            "Time of the last backup that backup.every made, in seconds since the epoch; 0 before the first",
            metrics.last_success.clone(),
        );
        registry.register("backup_last_bytes", "Bytes of the file of that backup", metrics.bytes.clone());
        registry.register(
            "backup_last_duration_seconds",
            "How long that backup took",
            metrics.duration.clone(),
        );
        registry.register(
            "backup_every_seconds",
            "How often backup.every makes a backup; 0 while it is off",
            metrics.every.clone(),
        );
        registry.register("backup_failures", "Backups of backup.every that failed", metrics.failures.clone());
        metrics
    }
}
