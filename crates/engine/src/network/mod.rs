//! This machine's network: which interfaces, addresses and gateways there are, and what of it the session may use.
//!
//! | file | does |
//! | --- | --- |
//! | `bind` | what the user chose: addresses, interfaces |
//! | `binding` | what that means now: the addresses and devices that sockets are opened at |
//! | `proxy` | what everything goes through, if the user wants that |
//! | `association` | a relay for datagrams there |
//! | `routes` | the gateways |
//! | `alarm` | tells that something has changed, where the system does |
//! | `moves` | whether we are where we were |
//! | `watch` | looks again and again, and tells who wants to know |
//!
//! **Failing closed.** Whoever opens a socket asks the [`Binding`] from where. If the session is bound and there is no address
//! of the family wanted, the answer is an error and nothing is sent. A socket at an interface is bound to the device itself
//! where the system allows it (Linux, Apple's), so that not even a wrong route leads elsewhere, and to an address of it besides.
//! The one exception are look-ups of names, which the system's resolver does in its own way; while the
//! interface is away none are made.
//!
//! **With a proxy** the [`Binding`] has no address for anybody but the proxy's own dialler: who does not know of proxies gets an
//! error. Names are left to the proxy; its own name is looked up by the system. Datagrams go by a socket that is connected to the
//! proxy's relay for them.

mod alarm;
mod association;
mod bind;
mod binding;
mod moves;
mod proxy;
mod routes;
mod watch;

pub(crate) use association::Association;
pub use bind::{Bind, BindError, Egress};
pub(crate) use binding::{Binding, Source, connect_tcp};
pub(crate) use moves::Move;
pub(crate) use proxy::{Proxy, ProxyError};
pub(crate) use routes::{Gateway, guess};
pub(crate) use watch::{Network, Situation, Subnet, run};

#[cfg(test)]
pub(crate) use watch::tests;
