//! The limits of the HTTP front end.

use std::time::Duration;

/// The limits of the HTTP front end. Those that a user may need to change are settings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a request body; a larger one is refused with 413. Default 10 MiB.
    pub body: usize,
    /// Most bytes of a request body below `/nacos/v1/ns`; a larger one is refused with 413. Default 64 KiB.
    pub naming_body: usize,
    /// Most bytes of a request body to the configuration center, since a content in a form can take three times its
    /// size; a larger one is refused with 413. Default 40 MiB.
    pub config_body: usize,
    /// Most bytes of the request line (otherwise 414), and of the request line and the headers together (otherwise
    /// 431). Default 16 KiB.
    pub head: usize,
    /// The longest time from the first byte of a request to the end of its headers; then the answer is 408. Default 10 s.
    pub head_read: Duration,
    /// The longest time for the whole body; then the answer is 408. Default 30 s.
    pub body_read: Duration,
    /// The longest time for which a connection may rest between two requests. Default 75 s, which is longer than any
    /// client waits between polls.
    pub idle: Duration,
    /// The longest time for which a client may take nothing of an answer. Then the connection is closed. Default 30 s.
    pub unread: Duration,
    /// The longest time for requests that are under way when the server stops. Default 5 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 10 * 1024 * 1024,
            naming_body: 64 * 1024,
            config_body: 40 * 1024 * 1024,
            head: 16 * 1024,
            head_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}
