//! What an applied entry of the raft log changes outside of the replicated state: the registry, the Distro core, the
//! schedule of probes, and what readers and listeners see of the configurations.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use dyad_cluster::Ap;
use dyad_config::{Catalog, ConfigWatcher};
use dyad_distro::Input;
use dyad_naming::{Registry, Switches};
use dyad_push::naming::Push;
use dyad_state::ports::CpSink;
use dyad_state::{CpChanges, CpState};
use dyad_types::Origin;
use parking_lot::Mutex;

use super::clock::monotonic;
use super::log;
use super::probes::Probes;
use crate::telemetry::Lines;

/// Told of every applied entry, on raft's apply path.
pub(crate) struct Sink {
    registry: Arc<Registry>,
    probes: Arc<Probes>,
    lines: Arc<Lines>,
    expire_instance: bool,
    switches: Arc<ArcSwap<Switches>>,
    configs: Arc<Catalog>,
    /// Set once there are listeners; what was applied before, they find in the catalog.
    watcher: OnceLock<Arc<dyn ConfigWatcher>>,
    /// Set once there are subscriptions; what was applied before, it is told then.
    push: OnceLock<Arc<Push>>,
    /// Set once the Distro core exists; what was applied before is given to it then.
    ap: OnceLock<Arc<Ap>>,
    /// Its lock is the order in which everybody here hears of what was applied.
    kept: Mutex<Kept>,
}

/// What those who are connected later are told of the state. The state itself is not kept: with a second copy of it, each entry
/// would copy the nodes that it changes.
#[derive(Default)]
struct Kept {
    now_ms: u64,
    switches: Arc<Switches>,
    retired: Vec<Origin>,
}

impl Sink {
    pub(crate) fn new(
        registry: Arc<Registry>,
        probes: Arc<Probes>,
        lines: Arc<Lines>,
        expire_instance: bool,
    ) -> Arc<Sink> {
        Arc::new(Sink {
            registry,
            probes,
            lines,
            expire_instance,
            switches: Arc::default(),
            configs: Arc::default(),
            watcher: OnceLock::new(),
            push: OnceLock::new(),
            ap: OnceLock::new(),
            kept: Mutex::default(),
        })
    }

    /// Connects the Distro core. Called once, during start-up.
    pub(crate) fn connect(&self, ap: Arc<Ap>) {
        let kept = self.kept.lock();
        // A second call cannot happen; the first core would simply stay.
        let _ = self.ap.set(ap);
        self.tell(&kept, true, true);
    }

    /// The configurations as applied, for the front ends.
    pub(crate) fn configs(&self) -> Arc<Catalog> {
        self.configs.clone()
    }

    /// Connects the listeners. Called once, during start-up; what is applied from now on they are told.
    pub(crate) fn watch(&self, watcher: Arc<dyn ConfigWatcher>) {
        let _kept = self.kept.lock();
        // A second call cannot happen; the first watcher would simply stay.
        self.watcher.get_or_init(|| watcher).reloaded();
    }

    /// Connects the push. Called once, during start-up.
    pub(crate) fn push(&self, push: Arc<Push>) {
        let kept = self.kept.lock();
        push.applied(kept.now_ms);
        // A second call cannot happen; the first push would simply stay.
        let _ = self.push.set(push);
    }

    /// The present switches, for the front end.
    pub(crate) fn switches(&self) -> Arc<ArcSwap<Switches>> {
        self.switches.clone()
    }

    /// Before anybody can see what was applied.
    fn stamp(&self, kept: &mut Kept, state: &CpState) {
        kept.now_ms = state.now_ms();
        if let Some(push) = self.push.get() {
            push.applied(kept.now_ms);
        }
    }

    fn keep(&self, kept: &mut Kept, state: &CpState, switches: bool, retired: bool) {
        if switches {
            kept.switches = state.naming().switches().clone();
            self.switches.store(kept.switches.clone());
        }
        if retired {
            kept.retired = state.cluster().retired().collect();
        }
        self.tell(kept, switches, retired);
    }

    fn tell(&self, kept: &Kept, switches: bool, retired: bool) {
        let Some(ap) = self.ap.get() else { return };
        if switches {
            let health_check = kept.switches.health_check_enabled;
            ap.input(Input::Switches { health_check, expire_instance: self.expire_instance });
        }
        if retired {
            ap.input(Input::Retired(kept.retired.clone()));
        }
    }
}

impl CpSink for Sink {
    fn applied(&self, state: &CpState, changes: &CpChanges) {
        let mut kept = self.kept.lock();
        self.stamp(&mut kept, state);
        let now = monotonic();
        let seen = self.registry.apply_cp(state.naming(), &changes.naming, now);
        self.probes.apply(state.naming(), &changes.naming, now);
        log::changes(&self.lines, &seen);
        self.configs.applied(state.config(), &changes.config);
        if let (false, Some(watcher)) = (changes.config.changed.is_empty(), self.watcher.get()) {
            watcher.changed(&changes.config.changed);
        }
        self.keep(&mut kept, state, changes.naming.switches, changes.retired);
    }

    fn installed(&self, state: &CpState) {
        let mut kept = self.kept.lock();
        self.stamp(&mut kept, state);
        let now = monotonic();
        self.registry.install_cp(state.naming(), now);
        self.probes.install(state.naming(), now);
        self.configs.installed(state.config());
        if let Some(watcher) = self.watcher.get() {
            watcher.reloaded();
        }
        self.keep(&mut kept, state, true, true);
    }
}
