//! Tells at once that interfaces, addresses or routes have changed, where the system says so. What has changed is then looked at;
//! the messages themselves are not read.

use std::io;

/// Rings when something has changed.
pub(super) struct Alarm(imp::Alarm);

impl Alarm {
    /// Without one, changes are seen a little later.
    pub(super) fn new() -> io::Result<Self> {
        imp::Alarm::new().map(Self)
    }

    /// Waits for a change.
    pub(super) async fn rings(&mut self) -> io::Result<()> {
        self.0.rings().await
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use std::io;
    use tokio::net::UdpSocket;

    /// Links, addresses and routes, IPv4 and IPv6 (`RTMGRP_*` of rtnetlink).
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// A socket of rtnetlink. It is no UDP socket, but is waited for and read like one.
    pub(super) struct Alarm(UdpSocket);

    impl Alarm {
        pub(super) fn new() -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // Without a protocol it is that of routing.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            UdpSocket::from_std(socket.into()).map(Self)
        }

        pub(super) async fn rings(&self) -> io::Result<()> {
            let mut scratch = [0u8; 4096];
            loop {
                self.0.readable().await?;
                match self.0.try_recv(&mut scratch) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // Also if so many came that some were lost, which is told as an error once.
                    _ => break,
                }
            }
            while self.0.try_recv(&mut scratch).is_ok() {}
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    pub(super) struct Alarm;

    impl Alarm {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn rings(&self) -> io::Result<()> {
            std::future::pending().await
        }
    }
}
