//! The kernel's buffers of a connection.

use std::{io, net::TcpListener};

use socket2::SockRef;

/// The kernel's memory for a connection (socket(7), tcp(7)), in bytes. What all connections of the
/// machine have is bounded by `net.ipv4.tcp_mem`; at its end packets are dropped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketBuffers {
    /// What is sent and not acknowledged (`SO_SNDBUF`; the kernel doubles it). `None`: the kernel
    /// chooses, up to `net.ipv4.tcp_wmem`.
    pub send_bytes: Option<usize>,
    /// What has arrived and was not received (`SO_RCVBUF`; the kernel doubles it). `None`: the kernel
    /// chooses, up to `net.ipv4.tcp_rmem`.
    pub receive_bytes: Option<usize>,
    /// What may wait in the kernel before it can be sent, because the peer does not take it
    /// (`TCP_NOTSENT_LOWAT`): 128 KiB. `None`: as much as it is able to keep. Connections that send
    /// long messages may have 1 MiB, up to 32 of each worker at a time.
    pub unsent_bytes: Option<u32>,
}

impl Default for SocketBuffers {
    fn default() -> Self {
        Self { send_bytes: None, receive_bytes: None, unsent_bytes: Some(128 << 10) }
    }
}

impl SocketBuffers {
    /// Sets the buffers of the connections that a listener accepts, which inherit them.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(crate) fn set(&self, listener: &TcpListener) -> io::Result<()> {
        let socket = SockRef::from(listener);
        if let Some(bytes) = self.send_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.unsent_bytes {
            socket.set_tcp_notsent_lowat(bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// What the kernel grants a connection of a listener with these buffers.
    fn granted(buffers: &SocketBuffers) -> [usize; 3] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        buffers.set(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let socket = SockRef::from(&stream);
        [
            socket.send_buffer_size().unwrap(),
            socket.recv_buffer_size().unwrap(),
            socket.tcp_notsent_lowat().unwrap() as usize,
        ]
    }

    #[test]
    fn connections_have_the_buffers_of_their_listener() {
        let unlimited = SocketBuffers { unsent_bytes: None, ..SocketBuffers::default() };
        let [send, receive, unsent] = granted(&unlimited);
        assert_eq!(granted(&SocketBuffers::default()), [send, receive, 128 << 10]);
        assert_ne!(unsent, 128 << 10);
        let small = SocketBuffers {
            send_bytes: Some(20_000),
            receive_bytes: Some(30_000),
            unsent_bytes: Some(10_000),
        };
        assert_eq!(granted(&small), [40_000, 60_000, 10_000], "the kernel doubles two of them");
    }
}
