//! What every implementation of `Propose` must do, whatever is behind it.

use dyad_naming::cp::NamingCommand;
use dyad_naming::cp::NamingReply;
use std::sync::Arc;

use dyad_naming::cp::ServiceRecord;
use dyad_state::CpState;
use dyad_state::ports::{COMMAND_MAX, Propose, ProposeError};
use dyad_types::Instance;
use dyad_types::ServiceKey;

use super::{has, register, service};

/// `state` is the applied state of the member that `propose` belongs to; `base` keeps runs apart.
pub async fn check<P: Propose>(propose: Arc<P>, state: fn(&P) -> CpState, base: u16) {
    assert!(propose.leader().is_some(), "a leader is known");

    assert_eq!(propose.propose(register(base)).await, Ok(NamingReply::Done.into()));
    assert!(has(&state(&propose), base), "a write is answered after it is applied here");
    assert_eq!(propose.propose(register(base)).await, Ok(NamingReply::Done.into()), "again changes nothing");

    let address = Instance::new("10.0.0.1", base).address();
    let deregister = NamingCommand::Deregister { service: service(), address };
    assert_eq!(propose.propose(deregister.clone().into()).await, Ok(NamingReply::Done.into()));
    assert!(!has(&state(&propose), base), "a removal too is applied here");
    assert_eq!(
        propose.propose(deregister.into()).await,
        Ok(NamingReply::NotFound.into()),
        "a refusal is a reply"
    );

    let key = ServiceKey::new("public", "DEFAULT_GROUP", &format!("created-{base}"));
    let create = NamingCommand::CreateService { service: key, record: ServiceRecord::default() };
    assert_eq!(propose.propose(create.clone().into()).await, Ok(NamingReply::Done.into()));
    assert_eq!(
        propose.propose(create.into()).await,
        Ok(NamingReply::Exists.into()),
        "each command has its own reply"
    );

    let value = "x".repeat(COMMAND_MAX);
    let big = NamingCommand::SetSwitch { entry: "big".into(), value };
    let refused = propose.propose(big.into()).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { len, max }) if len > max), "{refused:?}");

    let writers: Vec<_> = (1..33)
        .map(|n| {
            let propose = Arc::clone(&propose);
            tokio::spawn(async move {
                for k in 0..4 {
                    let port = base + n * 4 + k;
                    assert_eq!(propose.propose(register(port)).await, Ok(NamingReply::Done.into()));
                    assert!(has(&state(&propose), port), "every write is applied here when it is answered");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let state = state(&propose);
    assert!((base + 4..base + 132).all(|port| has(&state, port)), "concurrent writes all count");
}
