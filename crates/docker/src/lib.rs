//! Talks to a local Docker over its socket.
//!
//! [`socket`] finds it, a [`Connection`] is one request. What the requests mean is for those who make
//! them: images go into Docker from the exporter and come out of it into the importer.
//!
//! Source: <https://docs.docker.com/reference/api/engine/>

mod body;
mod http;
mod socket;

pub use body::BodyReader;
pub use http::{Answer, Body, Connection, Response};
pub use socket::{HostError, socket};
