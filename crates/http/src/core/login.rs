//! The login, as long as there are no users. A client with a user name asks for a token before anything else, and gives
//! up if it gets none.

use std::sync::Arc;

use serde_json::json;

use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;

/// What Nacos gives as a token while authentication is off. It grants nothing.
const TOKEN: &str = "AUTH_DISABLED";
/// Seconds after which clients log in again; Nacos's default.
const TTL_S: u32 = 18_000;

/// `POST /v1/auth/login`, `/v1/auth/users/login` and `/v3/auth/user/login`. Whatever the password, since nothing asks for a
/// token.
pub(crate) fn login(_: &Arc<App>, params: &Params) -> Step {
    let name = params.get(Key::Username).unwrap_or_default();
    let body = json!({ "accessToken": TOKEN, "tokenTtl": TTL_S, "globalAdmin": true, "username": name });
    Step::Done(Ok(Reply::json(body.to_string())))
}
